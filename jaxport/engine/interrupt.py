"""Ctrl-C that loses nothing: the first one asks the loop to stop between steps, the second one interrupts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Says whether the user asked to stop."""

    requested: bool = False

    def __bool__(self) -> bool:
        return self.requested


@contextmanager
def stop_on_interrupt() -> Iterator[StopRequest]:
    """Turn the first SIGINT inside into a request that the loop reads between steps.

    Outside the main thread, where Python allows no handlers, and where the program has a handler of its own, nothing
    is changed.
    """
    request = StopRequest()
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield request
        return

    def handler(number: int, frame: FrameType | None) -> None:
        if request.requested:
            signal.default_int_handler(number, frame)
        request.requested = True

    signal.signal(signal.SIGINT, handler)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
