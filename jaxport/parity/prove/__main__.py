"""``python -m jaxport.parity.prove``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jaxport.errors import JaxportError

from .command import add_arguments, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="python -m jaxport.parity.prove", description="Which known mistakes does a suite of parity tests catch?"
    )
    add_arguments(parser)
    at = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:at])
    options.command = given[at + 1 :]
    try:
        return run(options)
    except JaxportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
