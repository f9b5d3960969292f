"""Where the windows of adaptive pooling lie."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .pooling_windows import Windows, sizes


class AdaptiveWindows(NamedTuple):
    """Windows of different lengths along one axis: number o covers [⌊o·size/output⌋, ⌈(o+1)·size/output⌉).

    They are read through a table of places, as many per window as the longest has; a shorter one repeats its last.
    """

    size: int
    output: int

    @property
    def padding(self) -> int:
        """Return 0."""
        return 0

    @property
    def seen(self) -> int:
        """Return all of the axis."""
        return self.size

    @property
    def covers_all(self) -> bool:
        """Return False: one window is a regular one."""
        return False

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the first place of each window, and the one behind its last."""
        number = np.arange(self.output)
        return number * self.size // self.output, -(-(number + 1) * self.size // self.output)

    @property
    def kernel(self) -> int:
        """Return the length of the longest window."""
        start, stop = self.ends
        return int((stop - start).max())

    def places(self) -> np.ndarray:
        """Return (kernel, output): the places that are read."""
        start, stop = self.ends
        return np.minimum(start[None] + np.arange(self.kernel)[:, None], stop[None] - 1)

    def covered(self, margin: int) -> np.ndarray:
        """Return the length of each window."""
        del margin
        start, stop = self.ends
        return stop - start

    def views(self, x: jax.Array, axis: int, fill: float) -> list[jax.Array]:
        """Return one selection of the axis for each element of a window, `fill` where a shorter one repeats."""
        lead = (slice(None),) * axis
        views = [x.at[(*lead, row)].get(mode="promise_in_bounds", indices_are_sorted=True) for row in self.places()]
        shape = [-1 if i == axis else 1 for i in range(x.ndim)]
        beyond = [(number >= self.covered(0)).reshape(shape) for number in range(self.kernel)]
        filler = jnp.asarray(fill, x.dtype)
        return [
            jnp.where(jnp.asarray(mask), filler, view) if mask.any() else view
            for view, mask in zip(views, beyond, strict=True)
        ]


AnyWindows = Windows | AdaptiveWindows


def adaptive_windows(owner: str, input: jax.Array, output_size: Any, dims: int) -> tuple[AnyWindows, ...]:
    """Return the windows over the last `dims` axes: regular ones where the length is a multiple of the output's.

    Raises:
        ValueError: `output_size` is no integer >= 0, or tuple of them and (for more than one axis) None.
    """
    lengths = input.shape[-dims:]
    if isinstance(output_size, (tuple, list)):
        if len(output_size) != dims:
            raise ValueError(f"{owner}: output_size must be an integer or {dims} of them, got {output_size!r}")
        if dims > 1:
            output_size = [n if o is None else o for n, o in zip(lengths, output_size, strict=True)]
    rows = zip(lengths, sizes(owner, "output_size", output_size, dims, 0), strict=True)
    return tuple(Windows(n, n // o, n // o, 0, 1, o) if o and n % o == 0 else AdaptiveWindows(n, o) for n, o in rows)
