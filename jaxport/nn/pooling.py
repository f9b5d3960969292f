"""Max pooling: max_pool2d and adaptive_max_pool2d, with PyTorch's choice among equal elements."""

from __future__ import annotations

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp

from .checks import int_pair
from .module import Module

Pair = int | tuple[int, int]


def _first_max(
    candidates: list[jax.Array], indices: list[jax.Array] | None = None
) -> tuple[jax.Array, jax.Array | None]:
    """Return the elementwise maximum of `candidates`, and the entry of `indices` that belongs to it.

    The first of equal candidates wins and receives the whole gradient, as in PyTorch (``jnp.maximum`` would split it);
    a NaN wins over everything.
    """
    best, index = candidates[0], None if indices is None else indices[0]
    for number, candidate in enumerate(candidates[1:], 1):
        better = (candidate > best) | (candidate != candidate)
        best = jnp.where(better, candidate, best)
        if indices is not None:
            index = jnp.where(better, indices[number], index)
    return best, index


def _output_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    windows = (-(-span // stride) if ceil_mode else span // stride) + 1
    # A last window that would start in the padding on the right is left out, as in PyTorch.
    if ceil_mode and (windows - 1) * stride >= size + padding:
        windows -= 1
    return windows


def max_pool2d(
    input: jax.Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Take the maximum of each window.

    y[n, c, i, j] = max_{u,v} x[n, c, i·stride + u·dilation - padding, …], where padding counts as -inf.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: an integer or (kH, kW).
        stride: step between windows; None means `kernel_size`.
        padding: at most half the kernel.
        dilation: step between the elements of a window.
        ceil_mode: whether a last, partly covered window counts.
        return_indices: whether to return also where each maximum was, as an index into H·W.

    Returns:
        (N, C, H', W'), H' = ⌊(H + 2p - d(k - 1) - 1) / s⌋ + 1 (⌈…⌉ with `ceil_mode`), and the indices if asked for. Of
        equal elements the first in row-major order counts and receives the gradient.

    Raises:
        ValueError: options that do not fit, or an output that would be empty.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html
    """
    if input.ndim not in (3, 4):
        raise ValueError(f"max_pool2d: input must be (N, C, H, W) or (C, H, W), got shape {input.shape}")
    kernel = int_pair("max_pool2d", "kernel_size", kernel_size, 1)
    strides = kernel if stride is None else int_pair("max_pool2d", "stride", stride, 1)
    pads = int_pair("max_pool2d", "padding", padding, 0)
    dilations = int_pair("max_pool2d", "dilation", dilation, 1)
    if any(p > k // 2 for p, k in zip(pads, kernel, strict=True)):
        raise ValueError(f"max_pool2d: padding must be at most half of kernel_size {kernel}, got {pads}")
    height, width = input.shape[-2:]
    geometry = zip((height, width), kernel, strides, pads, dilations, strict=True)
    sizes = tuple(_output_size(n, k, s, p, d, ceil_mode) for n, k, s, p, d in geometry)
    if min(sizes) < 1:
        raise ValueError(f"max_pool2d: input {input.shape} is too small for kernel_size {kernel}")
    padded = _pad_lowest(input, sizes, kernel, strides, pads, dilations)
    candidates = _windows(padded, sizes, kernel, strides, dilations)
    if not return_indices:
        return _first_max(candidates)[0]
    positions = jnp.arange(height * width, dtype=jnp.int32).reshape(height, width)
    grid = _pad_lowest(positions, sizes, kernel, strides, pads, dilations)
    return _first_max(candidates, _windows(grid, sizes, kernel, strides, dilations))


def _pad_lowest(
    array: jax.Array,
    sizes: tuple[int, ...],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int],
    dilations: tuple[int, int],
) -> jax.Array:
    """Pad the last two axes with the dtype's lowest value to what the windows touch."""
    widths = [(0, 0)] * (array.ndim - 2)
    for n, out, k, s, p, d in zip(array.shape[-2:], sizes, kernel, strides, pads, dilations, strict=True):
        reach = (out - 1) * s + d * (k - 1) + 1
        widths.append((p, max(0, reach - n - p)))
    if not any(before or after for before, after in widths):
        return array
    lowest = -jnp.inf if jnp.issubdtype(array.dtype, jnp.floating) else jnp.iinfo(array.dtype).min
    return jnp.pad(array, widths, constant_values=lowest)


def _windows(
    array: jax.Array, sizes: tuple[int, ...], kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int]
) -> list[jax.Array]:
    """Return one strided slice for each kernel position, in row-major order: kH·kW arrays (…, H', W')."""
    slices = []
    for offsets in product(*(range(k) for k in kernel)):
        starts = [u * d for u, d in zip(offsets, dilations, strict=True)]
        rows, columns = (
            slice(start, start + (out - 1) * s + 1, s) for start, out, s in zip(starts, sizes, strides, strict=True)
        )
        slices.append(array[..., rows, columns])
    return slices


def _global_max(input: jax.Array, return_indices: bool) -> Any:
    """Maximum over the last two axes, kept as 1×1; the first of equal elements receives the gradient."""
    flat = input.reshape((*input.shape[:-2], -1))
    index = jnp.argmax(flat, axis=-1, keepdims=True)
    # A masked sum rather than a gather: its gradient is elementwise too.
    chosen = jnp.arange(flat.shape[-1], dtype=index.dtype) == index
    best = jnp.where(chosen, flat, jnp.zeros_like(flat)).sum(axis=-1, keepdims=True)[..., None]
    return (best, index.astype(jnp.int32)[..., None]) if return_indices else best


def adaptive_max_pool2d(input: jax.Array, output_size: Any, return_indices: bool = False) -> Any:
    """Take the maximum over a grid of windows that cover the input, as many as the output has elements.

    Window i of an axis of length L and output length O covers [⌊i·L/O⌋, ⌈(i+1)·L/O⌉).

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: an integer or (H', W'); None for an axis keeps its length.
        return_indices: whether to return also where each maximum was, as an index into H·W.

    Returns:
        (N, C, H', W'), and the indices if asked for. Of equal elements the first in row-major order counts.

    Raises:
        ValueError: a shape or size that does not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool2d.html
    """
    if input.ndim not in (3, 4):
        raise ValueError(f"adaptive_max_pool2d: input must be (N, C, H, W) or (C, H, W), got shape {input.shape}")
    height, width = input.shape[-2:]
    wanted = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    filled = tuple(n if o is None else o for n, o in zip((height, width), wanted, strict=True))
    out_h, out_w = int_pair("adaptive_max_pool2d", "output_size", filled, 1)
    if (out_h, out_w) == (1, 1):
        return _global_max(input, return_indices)
    best, indices = [], []
    for i, j in product(range(out_h), range(out_w)):
        top, bottom = i * height // out_h, -(-(i + 1) * height // out_h)
        left, right = j * width // out_w, -(-(j + 1) * width // out_w)
        value, index = _global_max(input[..., top:bottom, left:right], True)
        best.append(value)
        indices.append((top + index // (right - left)) * width + left + index % (right - left))
    shape = (*input.shape[:-2], out_h, out_w)
    values = jnp.concatenate(best, axis=-1).reshape(shape)
    return (values, jnp.concatenate(indices, axis=-1).reshape(shape)) if return_indices else values


class MaxPool2d(Module):
    """Take the maximum of each window; see `max_pool2d` for the formula and the options.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: jax.Array) -> Any:
        """Map (N, C, H, W) to (N, C, H', W')."""
        return max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AdaptiveMaxPool2d(Module):
    """Take the maximum over a grid of windows of the given output size; see `adaptive_max_pool2d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html
    """

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: jax.Array) -> Any:
        """Map (N, C, H, W) to (N, C, H', W')."""
        return adaptive_max_pool2d(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        """Return the output size, as PyTorch prints it."""
        return f"output_size={self.output_size}"
