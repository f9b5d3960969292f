"""Max pooling: max_pool2d and adaptive_max_pool2d, with PyTorch's choice among equal elements."""

from __future__ import annotations

import functools
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .checks import int_pair
from .module import Module

Pair = int | tuple[int, int]


class _Windows(NamedTuple):
    """The static part of a pooling: where the windows lie on the two axes that begin at `axis`."""

    axis: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    size: tuple[int, int]
    output: tuple[int, int]

    @property
    def tiled(self) -> bool:
        """Whether the windows lie side by side inside the input."""
        return (
            self.stride == self.kernel
            and self.padding == (0, 0)
            and self.dilation == (1, 1)
            and all(out * k <= n for out, k, n in zip(self.output, self.kernel, self.size, strict=True))
        )

    def pads(self) -> list[tuple[int, int]]:
        """Return (before, after) of each axis, so that the last window fits."""
        axes = zip(self.size, self.output, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return [(p, max(0, (out - 1) * s + d * (k - 1) + 1 - n - p)) for n, out, k, s, p, d in axes]

    def views(self, array: Any, fill: float | bool) -> list[Any]:
        """Return one strided slice of the padded array for each kernel position, in row-major order."""
        pads = [(0, 0)] * array.ndim
        pads[self.axis : self.axis + 2] = self.pads()
        if any(map(any, pads)):
            pad = np.pad if isinstance(array, np.ndarray) else jnp.pad
            array = pad(array, pads, constant_values=fill)
        return [array[self._slices(position)] for position in product(*map(range, self.kernel))]

    def _slices(self, position: tuple[int, ...]) -> tuple[slice, ...]:
        axes = zip(position, self.dilation, self.output, self.stride, strict=True)
        inner = [slice(u * d, u * d + (out - 1) * s + 1, s) for u, d, out, s in axes]
        return (*(slice(None),) * self.axis, *inner)

    def blocks(self, array: jax.Array) -> jax.Array:
        """Return a tiled input with each of the two axes split into (windows, kernel)."""
        ends = [out * k for out, k in zip(self.output, self.kernel, strict=True)]
        lead, tail = array.shape[: self.axis], array.shape[self.axis + 2 :]
        cropped = array[(*(slice(None),) * self.axis, slice(ends[0]), slice(ends[1]))]
        return cropped.reshape(*lead, self.output[0], self.kernel[0], self.output[1], self.kernel[1], *tail)


def _first_max(views: list[jax.Array], inside: list[np.ndarray] | None) -> tuple[jax.Array, jax.Array]:
    """Return the elementwise maximum, and the number of the view that it is taken from.

    Of equal elements the first counts, a NaN wins over everything, and padding is never chosen (`inside` says where
    each view is inside the input; None everywhere).
    """
    best, index = views[0], jnp.zeros(views[0].shape, jnp.uint8 if len(views) <= 256 else jnp.int32)
    for number, view in enumerate(views[1:], 1):
        better = (view > best) | (view != view)
        if inside is not None:
            better = better | jnp.asarray(~np.any(inside[:number], axis=0) & inside[number])
        best = jnp.where(better, view, best)
        index = jnp.where(better, jnp.asarray(number, index.dtype), index)
    return best, index


def _max_and_index(x: jax.Array, windows: _Windows) -> tuple[jax.Array, jax.Array]:
    if windows.tiled:
        blocks, lead = windows.blocks(x), (slice(None),) * windows.axis
        views = [blocks[(*lead, slice(None), u, slice(None), v)] for u, v in product(*map(range, windows.kernel))]
        return _first_max(views, None)
    shape = [1] * x.ndim
    shape[windows.axis : windows.axis + 2] = windows.size
    inside = windows.views(np.ones(shape, bool), False) if any(map(any, windows.pads())) else None
    return _first_max(windows.views(x, _lowest(x.dtype)), inside)


def _lowest(dtype: Any) -> float:
    return -np.inf if jnp.issubdtype(dtype, jnp.floating) else int(jnp.iinfo(dtype).min)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _max_pool(x: jax.Array, windows: _Windows) -> jax.Array:
    return _max_and_index(x, windows)[0]


@_max_pool.defjvp
def _max_pool_jvp(
    windows: _Windows, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The tangent of each maximum is that of the element it was taken from: a selection, and so is its transpose."""
    (x,), (dx,) = primals, tangents
    best, index = _max_and_index(x, windows)
    if not windows.tiled:
        views = windows.views(dx, 0)
        chosen = [jnp.where(index == n, view, jnp.zeros_like(view)) for n, view in enumerate(views)]
        return best, functools.reduce(jnp.add, chosen)
    axis = windows.axis
    numbers = np.arange(np.prod(windows.kernel)).reshape(windows.kernel)
    spread = jnp.expand_dims(index, (axis + 1, axis + 3))
    shape = [1] * spread.ndim
    shape[axis + 1], shape[axis + 3] = windows.kernel
    blocks = windows.blocks(dx)
    chosen = jnp.where(spread == jnp.asarray(numbers.reshape(shape), index.dtype), blocks, jnp.zeros_like(blocks))
    return best, chosen.sum((axis + 1, axis + 3))


def _positions(index: jax.Array, windows: _Windows) -> jax.Array:
    """Return the indices into H·W of (…, P, Q) view numbers."""
    number = index.astype(jnp.int32)
    offsets = (number // windows.kernel[1], number % windows.kernel[1])
    places = []
    for axis, offset in enumerate(offsets, index.ndim - 2):
        i = axis - index.ndim + 2
        start = lax.broadcasted_iota(jnp.int32, index.shape, axis) * windows.stride[i] - windows.padding[i]
        places.append(start + offset * windows.dilation[i])
    return places[0] * windows.size[1] + places[1]


def _output_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    windows = (-(-span // stride) if ceil_mode else span // stride) + 1
    # A last window that would start in the padding on the right is left out, as in PyTorch.
    if ceil_mode and (windows - 1) * stride >= size + padding:
        windows -= 1
    return windows


def _channels_last(input: jax.Array) -> bool:
    """Whether to pool with the channels innermost, where the CPU works on them in parallel."""
    return input.ndim == 4 and jax.default_backend() == "cpu"


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
        return_indices: whether to return also where each maximum was, as an int32 index into H·W.

    Returns:
        (N, C, H', W'), H' = ⌊(H + 2p - d(k - 1) - 1) / s⌋ + 1 (⌈…⌉ with `ceil_mode`), and the indices if asked for. Of
        equal elements the first in row-major order counts and receives the whole gradient, as in PyTorch.

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
    size = (input.shape[-2], input.shape[-1])
    geometry = zip(size, kernel, strides, pads, dilations, strict=True)
    out_h, out_w = (_output_size(n, k, s, p, d, ceil_mode) for n, k, s, p, d in geometry)
    if min(out_h, out_w) < 1:
        raise ValueError(f"max_pool2d: input {input.shape} is too small for kernel_size {kernel}")
    channels_last = _channels_last(input) and not return_indices
    axis = 1 if channels_last else input.ndim - 2
    windows = _Windows(axis, kernel, strides, pads, dilations, size, (out_h, out_w))
    if channels_last:
        return _max_pool(input.transpose(0, 2, 3, 1), windows).transpose(0, 3, 1, 2)
    best = _max_pool(input, windows)
    return (best, _positions(_max_and_index(input, windows)[1], windows)) if return_indices else best


@jax.custom_jvp
def _max_last(x: jax.Array) -> jax.Array:
    return x.max(-1)


@_max_last.defjvp
def _max_last_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """The tangent of the first maximum, as a masked sum: its transpose is elementwise, a gather's is a scatter."""
    (x,), (dx,) = primals, tangents
    index = jnp.argmax(x, axis=-1, keepdims=True)
    chosen = lax.broadcasted_iota(index.dtype, x.shape, x.ndim - 1) == index
    return x.max(-1), jnp.where(chosen, dx, jnp.zeros_like(dx)).sum(-1)


def adaptive_max_pool2d(input: jax.Array, output_size: Any, return_indices: bool = False) -> Any:
    """Take the maximum over a grid of windows that cover the input, as many as the output has elements.

    Window i of an axis of length L and output length O covers [⌊i·L/O⌋, ⌈(i+1)·L/O⌉).

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: an integer or (H', W'); None for an axis keeps its length.
        return_indices: whether to return also where each maximum was, as an int32 index into H·W.

    Returns:
        (N, C, H', W'), and the indices if asked for. Of equal elements the first in row-major order counts.

    Raises:
        ValueError: a shape or size that does not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool2d.html
    """
    if input.ndim not in (3, 4):
        raise ValueError(f"adaptive_max_pool2d: input must be (N, C, H, W) or (C, H, W), got shape {input.shape}")
    height, width = input.shape[-2:]
    wanted = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    if len(wanted) == 2:
        wanted = tuple(n if o is None else o for n, o in zip((height, width), wanted, strict=True))
    out_h, out_w = int_pair("adaptive_max_pool2d", "output_size", wanted, 1)
    if height % out_h == 0 and width % out_w == 0 and (out_h, out_w) != (1, 1):
        return max_pool2d(input, (height // out_h, width // out_w), return_indices=return_indices)
    best, indices = [], []
    for i, j in product(range(out_h), range(out_w)):
        top, bottom = i * height // out_h, -(-(i + 1) * height // out_h)
        left, right = j * width // out_w, -(-(j + 1) * width // out_w)
        window = input[..., top:bottom, left:right].reshape(*input.shape[:-2], -1)
        best.append(_max_last(window))
        inner = jnp.argmax(window, axis=-1).astype(jnp.int32)
        indices.append((top + inner // (right - left)) * width + left + inner % (right - left))
    shape = (*input.shape[:-2], out_h, out_w)
    values = jnp.stack(best, axis=-1).reshape(shape)
    return (values, jnp.stack(indices, axis=-1).reshape(shape)) if return_indices else values


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
