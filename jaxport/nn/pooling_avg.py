"""Average and power-average pooling."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .module import Module
from .pooling_grid import AnyWindows
from .pooling_windows import Size, Windows, channels_back, channels_last, outer, regular_windows, sizes
from .precision import product_precision


def _axis_sum(x: jax.Array, axis: int, windows: AnyWindows) -> jax.Array:
    if isinstance(windows, Windows) and windows.tiled:
        return windows.blocks(x, axis).sum(axis + 1)
    return functools.reduce(jnp.add, windows.views(x, axis, 0))


def _whole_sum(x: jax.Array, dims: int) -> jax.Array:
    """Sum whole images as a product with ones, which rounds less than one long chain of additions."""
    flat = x.reshape(*x.shape[:-dims], math.prod(x.shape[-dims:]))
    total = jnp.matmul(flat, jnp.ones(flat.shape[-1], x.dtype), precision=product_precision())
    return total.reshape(*x.shape[:-dims], *(1,) * dims)


def window_sums(input: jax.Array, windows: Sequence[AnyWindows]) -> jax.Array:
    """Return the sum of each window over the last axes, padding counting as 0, in at least float32."""
    dims = len(windows)
    half = jnp.issubdtype(input.dtype, jnp.floating) and input.dtype.itemsize < 4
    x = input.astype(jnp.float32) if half else input
    if all(w.covers_all for w in windows) and jnp.issubdtype(x.dtype, jnp.floating):
        return _whole_sum(x, dims)
    x, first = channels_last(x, dims)
    for offset in reversed(range(dims)):
        x = _axis_sum(x, first + offset, windows[offset])
    return channels_back(x, first, dims)


@functools.partial(jax.jit, static_argnames=("windows", "include_pad", "divisor"), inline=True)
def average(
    input: jax.Array, windows: tuple[AnyWindows, ...], include_pad: bool = True, divisor: int | None = None
) -> jax.Array:
    """Return the sum of each window, divided by `divisor` or the number of its elements, in the input's dtype."""
    sums = window_sums(input, windows)
    counts = [w.covered(w.padding if include_pad else 0) for w in windows]
    if divisor is None and all((count == count[0]).all() for count in counts):
        divisor = math.prod(int(count[0]) for count in counts)
    over = outer(counts, sums.ndim - len(counts), sums.ndim) if divisor is None else divisor
    # Integers are cut off towards zero, as in PyTorch.
    return lax.div(sums, jnp.broadcast_to(jnp.asarray(over, sums.dtype), sums.shape)).astype(input.dtype)


def _avg_pool(
    owner: str,
    dims: int,
    input: jax.Array,
    geometry: tuple[Any, Any, Any, bool],
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> jax.Array:
    if divisor_override == 0:
        raise ValueError(f"{owner}: divisor_override must not be zero")
    kernel, stride, padding, ceil_mode = geometry
    windows = regular_windows(owner, input, kernel, stride, padding, 1, ceil_mode, dims)
    return average(input, windows, count_include_pad, divisor_override)


def avg_pool2d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> jax.Array:
    """Average each window.

    y[n, c, i, j] = 1/D Σ_{u,v} x[n, c, i·stride + u - padding, …], where padding counts as 0. D is `divisor_override`
    if given; else the number of elements of the window that lie in the input or its padding (those behind the padding,
    where `ceil_mode` lets the last window reach, never count), without the padding's unless `count_include_pad`.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: an integer or (kH, kW).
        stride: step between windows; None means `kernel_size`.
        padding: at most half the kernel.
        ceil_mode: whether a last, partly covered window counts, if it starts in the input or the padding before it.
        count_include_pad: whether D counts the padding.
        divisor_override: D itself; not zero.

    Returns:
        (N, C, H', W'), H' = ⌊(H + 2p - k) / s⌋ + 1 (⌈…⌉ with `ceil_mode`).

    Raises:
        ValueError: options that do not fit, or an output that would be empty.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool2d.html
    """
    geometry = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool("avg_pool2d", 2, input, geometry, count_include_pad, divisor_override)


def avg_pool1d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> jax.Array:
    """Average each window of (N, C, L) or (C, L); see `avg_pool2d`, whose options but the divisor are the same.

    Raises:
        ValueError: options that do not fit, or an output that would be empty.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool1d.html
    """
    geometry = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool("avg_pool1d", 1, input, geometry, count_include_pad)


def avg_pool3d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> jax.Array:
    """Average each window of (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d`, whose options are the same.

    Raises:
        ValueError: options that do not fit, or an output that would be empty.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool3d.html
    """
    geometry = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool("avg_pool3d", 3, input, geometry, count_include_pad, divisor_override)


class _AvgPool(Module):
    kernel_size: Any
    stride: Any
    padding: Any

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPoolOver(_AvgPool):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override


class AvgPool1d(_AvgPool):
    """Average each window; see `avg_pool2d` for the formula and the options.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool1d.html
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        step = kernel_size if stride is None else stride
        self.kernel_size = sizes("AvgPool1d", "kernel_size", kernel_size, 1, 1)
        self.stride = sizes("AvgPool1d", "stride", step, 1, 1)
        self.padding = sizes("AvgPool1d", "padding", padding, 1, 0)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C, L) to (N, C, L')."""
        options = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return avg_pool1d(input, *options)


class AvgPool2d(_AvgPoolOver):
    """Average each window; see `avg_pool2d` for the formula and the options.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C, H, W) to (N, C, H', W')."""
        options = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return avg_pool2d(input, *options, self.divisor_override)


class AvgPool3d(_AvgPoolOver):
    """Average each window; see `avg_pool3d` for the formula and the options.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool3d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C, D, H, W) to (N, C, D', H', W')."""
        options = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return avg_pool3d(input, *options, self.divisor_override)
