"""``python -m jaxport``: the command line."""

import sys

from .start import main

sys.exit(main())
