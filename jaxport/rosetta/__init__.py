"""PyTorch expressions of the tutorials and their JAX counterparts: each was run on both sides and compared.

``find("gather")`` returns the rows that speak of it, `rows` all of them; docs/rosetta.md is the same table to read.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from jaxport.errors import UsageError

from .row import Row as Row

TOPICS = {
    "creation": "Making tensors",
    "dtypes": "Dtypes",
    "numpy_bridge": "NumPy and Python numbers",
    "shape": "Shapes",
    "joining": "Joining, splitting, broadcasting",
    "indexing": "Reading by index",
    "writing": "Writing, in place and not",
    "maths": "Element by element",
    "comparing": "Comparing and choosing",
    "reductions": "Reductions, scans, sorting",
    "linear_algebra": "Linear algebra",
    "random": "Random numbers",
    "autograd": "Gradients",
    "autograd_graph": "The graph, and what it lets through",
    "kinks": "Gradients at kinks",
    "modules": "Modules and parameters",
    "layers": "Layers",
    "layers_windows": "Layers over pictures and sequences",
    "activations": "Activations",
    "losses": "Losses",
    "training": "Optimisers and the loop",
    "data": "Data sets and loaders",
    "devices_save": "Devices, saving and loading",
}
"""Modules of rows, in the page's order, and the headings of their sections."""


@cache
def rows() -> tuple[Row, ...]:
    """Return every row, in the page's order."""
    return tuple(row for topic in TOPICS for row in import_module(f"{__name__}.{topic}").ROWS)


def find(text: str) -> tuple[Row, ...]:
    """Return the rows that have `text` in an expression, the note, the name or the topic; upper case does not matter.

    Raises:
        UsageError: `text` is empty.
    """
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"text must be a word to look for, as 'gather', got {text!r}")
    word = text.strip().lower()
    return tuple(row for row in rows() if word in _text(row))


def _text(row: Row) -> str:
    return "\n".join((row.id, TOPICS[row.topic], row.torch, row.jax, row.note)).lower()
