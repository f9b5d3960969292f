"""``python -m jaxport.rosetta [FILE]``: print the page of all rows, or write it to a file."""

import sys
from pathlib import Path

from .page import page

if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
