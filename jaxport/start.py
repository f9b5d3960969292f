"""Where the command ``jaxport`` begins."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; a training has its memory in large pages, see `jaxport.large_pages`."""
    if sys.argv[1:2] == ["run"]:
        from . import large_pages

        large_pages.restart()
    from .cli import main

    return main()
