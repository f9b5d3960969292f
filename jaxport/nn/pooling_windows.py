"""Where the windows of a pooling lie: one `Windows` per axis, and the checks of the arguments that describe them.

A window over several axes is a product of intervals, so every pooling here works on one axis after the other: k_h + k_w
steps instead of k_h · k_w.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import origin
from .checks import int_tuple

Size = int | Sequence[int]


class Windows(NamedTuple):
    """The windows along one axis: number o covers o·stride - padding + u·dilation for u < kernel."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    output: int

    @property
    def pads(self) -> tuple[int, int]:
        """Return how much is missing before and after the axis, so that every window fits."""
        reach = (self.output - 1) * self.stride + self.dilation * (self.kernel - 1) + 1
        return self.padding, max(0, reach - self.size - self.padding)

    @property
    def tiled(self) -> bool:
        """Whether the windows lie side by side inside the axis."""
        return self.stride == self.kernel and self.dilation == 1 and self.pads == (0, 0)

    @property
    def overlap(self) -> bool:
        """Whether an element may lie in several windows."""
        return (self.kernel - 1) * self.dilation >= self.stride

    @property
    def covers_all(self) -> bool:
        """Whether there is one window, the whole axis."""
        return self.output == 1 and self.kernel == self.size and self.dilation == 1 and self.pads == (0, 0)

    @property
    def seen(self) -> int:
        """Return how many of the first places lie in a window or before one."""
        reach = (self.output - 1) * self.stride + self.dilation * (self.kernel - 1) + 1
        return min(self.size, reach - self.padding)

    def views(self, x: jax.Array, axis: int, fill: float) -> list[jax.Array]:
        """Return one strided slice of the axis, padded with `fill`, for each element of a window."""
        if any(self.pads):
            pads = [(0, 0, 0)] * x.ndim
            pads[axis] = (*self.pads, 0)
            x = lax.pad(x, jnp.asarray(fill, x.dtype), pads)
        reach = (self.output - 1) * self.stride + 1
        starts = (u * self.dilation for u in range(self.kernel))
        return [lax.slice_in_dim(x, start, start + reach, self.stride, axis) for start in starts]

    def blocks(self, x: jax.Array, axis: int) -> jax.Array:
        """Return a tiled axis split into (windows, kernel)."""
        x = lax.slice_in_dim(x, 0, self.output * self.kernel, axis=axis)
        return x.reshape(*x.shape[:axis], self.output, self.kernel, *x.shape[axis + 1 :])

    def places(self) -> np.ndarray:
        """Return (kernel, output): where each element of each window lies, counted from the start of the axis."""
        within = np.arange(self.kernel)[:, None] * self.dilation
        return np.arange(self.output)[None] * self.stride - self.padding + within

    def covered(self, margin: int) -> np.ndarray:
        """Return how many elements of each window lie in [-margin, size + margin)."""
        places = self.places()
        return ((places >= -margin) & (places < self.size + margin)).sum(0)


def unseen(windows: Any, axis: int, ndim: int) -> list[np.ndarray | None]:
    """Return, for each element of a window, in which windows all elements before it are padding; None: in none."""
    places = windows.places()
    shape = [-1 if i == axis else 1 for i in range(ndim)]
    # Padding behind the input comes last: what matters is the padding before it.
    rows = [np.asarray((places[:number] < 0).all(0)).reshape(shape) for number in range(windows.kernel)]
    return [row if number and row.any() else None for number, row in enumerate(rows)]


def output_length(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Return ⌊(size + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1, with ⌈…⌉ if `ceil_mode`."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    windows = (-(-span // stride) if ceil_mode else span // stride) + 1
    # A last window that would start in the padding on the right is left out, as in PyTorch.
    if ceil_mode and (windows - 1) * stride >= size + padding:
        windows -= 1
    return windows


def sizes(owner: str, name: str, value: Any, dims: int, least: int) -> tuple[int, ...]:
    """Return `value`, an integer or a sequence of one or `dims`, as `dims` integers of at least `least`.

    Raises:
        ValueError: another length, type or size.
    """
    if not isinstance(value, (int, tuple, list)):
        raise ValueError(f"{owner}: {name} must be an integer or a tuple of {dims}, got {value!r}")
    if not isinstance(value, int) and len(value) == 1:
        value = value[0]
    return int_tuple(owner, name, value, dims, least)


def check_input(owner: str, input: jax.Array, dims: int, may_be_empty: int | None = None) -> None:
    """Refuse an input that is not (N, C, *dims) or (C, *dims), or that has an empty axis other than the batch.

    `may_be_empty` is the number of leading axes that may be empty; None means the batch alone.

    Raises:
        ValueError: it is so.
    """
    if input.ndim not in (dims + 1, dims + 2):
        axes = ", ".join("DHW"[3 - dims :]) if dims > 1 else "L"
        raise ValueError(f"{owner}: input must be (N, C, {axes}) or (C, {axes}), got shape {input.shape}")
    leading = input.ndim - dims - 1 if may_be_empty is None else may_be_empty
    if 0 in input.shape[leading:]:
        raise ValueError(f"{owner}: input must have no empty axis but the batch, got shape {input.shape}")


def regular_windows(
    owner: str, input: jax.Array, kernel: Size, stride: Any, padding: Size, dilation: Size, ceil_mode: bool, dims: int
) -> tuple[Windows, ...]:
    """Return the windows of max and average pooling over the last `dims` axes.

    Raises:
        ValueError: arguments that do not fit each other or the input, or an output that would be empty.
    """
    check_input(owner, input, dims)
    kernels = sizes(owner, "kernel_size", kernel, dims, 1)
    default = stride is None or (isinstance(stride, (tuple, list)) and len(stride) == 0)
    strides = kernels if default else sizes(owner, "stride", stride, dims, 1)
    paddings = sizes(owner, "padding", padding, dims, 0)
    dilations = sizes(owner, "dilation", dilation, dims, 1)
    if any(p > k // 2 for p, k in zip(paddings, kernels, strict=True)):
        raise ValueError(f"{owner}: padding must be at most half of kernel_size {kernels}, got {paddings}")
    rows = list(zip(input.shape[-dims:], kernels, strides, paddings, dilations, strict=True))
    outputs = [output_length(*row, ceil_mode) for row in rows]
    if min(outputs) < 1:
        raise ValueError(f"{owner}: input {input.shape} is too small for kernel_size {kernels}")
    return tuple(Windows(*row, output) for row, output in zip(rows, outputs, strict=True))


def channels_last(x: jax.Array, dims: int) -> tuple[jax.Array, int]:
    """Return the input as pooled, and its first pooled axis.

    On the CPU batches of images are pooled with the channels innermost: there the convolutions around it work so too,
    and the two transpositions cancel.
    """
    if jax.default_backend() == "cpu" and x.ndim == dims + 2 and dims <= 2:
        return origin.channels_last(x), 1
    return x, x.ndim - dims


def channels_back(x: jax.Array, first: int, dims: int) -> jax.Array:
    """Undo `channels_last`."""
    return origin.channels_first(x) if first == 1 and x.ndim == dims + 2 else x


def outer(vectors: Sequence[np.ndarray], first: int, ndim: int) -> np.ndarray:
    """Return the product of one vector per pooled axis, shaped to be broadcast."""
    shaped = [v.reshape([-1 if i == first + axis else 1 for i in range(ndim)]) for axis, v in enumerate(vectors)]
    return functools.reduce(np.multiply, shaped)
