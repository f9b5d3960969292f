"""How a report is shown: in the terminal, as a page, and as a script that reproduces its first difference."""

from __future__ import annotations

from .html import html as html
from .html import write_html as write_html
from .repro import write_repro as write_repro
from .terminal import tree as tree
