"""Checks of axis arguments."""

from __future__ import annotations

from typing import Any


def axis(owner: str, name: str, dim: Any, ndim: int) -> int:
    """Return axis `dim` of an array with `ndim` axes as a non-negative number; a scalar counts as one axis.

    Raises:
        TypeError: `dim` is not an integer.
        IndexError: there is no such axis.
    """
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise TypeError(f"{owner}: {name} must be an integer, got {dim!r}")
    count = max(ndim, 1)
    if not -count <= dim < count:
        raise IndexError(f"{owner}: {name} must lie in [{-count}, {count - 1}] for {ndim} axes, got {dim}")
    return dim % count
