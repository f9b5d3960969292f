"""How the long benchmarks end: done, refused in one line, or interrupted with everything kept."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from jaxport.errors import JaxportError


def exit_status(work: Callable[[], None], kept_in: str) -> int:
    """Do the work and return the exit status: 0 done, 2 wrong input or a failure, 130 interrupted or terminated.

    Terminated, Python would end at once, and the processes that it started would go on with what they are at.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        work()
    except (JaxportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; what was done is kept in {kept_in}", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0
