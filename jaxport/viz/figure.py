"""Figures that a notebook shows, also where pyplot was never imported."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_class() -> type[Figure]:
    """Return matplotlib's Figure with a PNG for notebooks.

    matplotlib gives its figures one when pyplot is imported; jaxport leaves pyplot and its global state alone.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib.figure

    return _with_png(matplotlib.figure.Figure)


@functools.cache
def _with_png(base: type[Figure]) -> type[Figure]:
    class Figure(base):
        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, format="png")
            return picture.getvalue()

    return Figure
