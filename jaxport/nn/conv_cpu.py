"""Convolutions of images as CPUs run them fast: by oneDNN where jaxlib holds it (`conv_onednn`), else as XLA's own.

XLA runs a convolution on the CPU at full speed only in one canonical form (two spatial axes, channels last, no reversed
kernel), and inside a loop it recognises no other: a weight gradient as JAX derives it is a hundred times slower there.
Here all three maps of a convolution are written in that form; the transposed convolution is one of them.

Arrays are channels last: x (N, H, W, C), w (kH, kW, C, O), g and y (N, P, Q, O).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from . import conv_onednn, conv_points, conv_single, conv_weight, conv_windows
from .conv_bias import add_bias
from .conv_bilinear import PRIMITIVE_PREFIX as PRIMITIVE_PREFIX
from .conv_bilinear import Axis, Geometry, Ints, Pads, define_maps

# Up to this many inputs to a window (C·kH·kW), one product over copied windows beats a convolution; of pictures, up to
# 3 channels, twice as many: one of 32 × 32, 7 × 7 at stride 2, batch 128, forward and gradients: 20.6 ms → 12.1; two of
# 28 × 28, 5 × 5, batch 64: 7.1 → 5.2.
_FEW = 32
# The canonical weight gradient runs along the batch: with fewer images than this they are cut into bands of rows.
# Four images of 64 × 64: 11.2 ms → 7.0; one: 8.7 → 1.5 (32 channels, 3 × 3 kernel).
_FEW_IMAGES = 8

# Up to this many elements of a kernel, windows of all elements of a strided gradient are made at once.
# 128 channels of 4 × 4 to 256 at stride 2, batch 128: 45 ms → 3.2. A kernel of 5 × 5: 6.4 → 11.6.
_SMALL_KERNEL = 9

# From so many channels on, oneDNN's full correlation is faster than a product by rows: 16 of 64 × 64: 3.1 ms → 1.7;
# 6 of 12 × 12, 5 × 5 kernel: 1.1 → 2.2.
_MANY = 16

# Contract the rows of two matrices: aᵀ b.
_ROWS = (((0,), (0,)), ((), ()))

# XLA's own, in the form that it runs fast.
_xla = functools.partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _canonical(x: jax.Array, w: jax.Array, stride: Ints, pads: Pads, dilation: Ints = (1, 1)) -> jax.Array:
    """Convolve by oneDNN where it is there, else by XLA."""
    axes = zip(x.shape[1:3], w.shape[:2], pads, dilation, strict=True)
    if conv_onednn.available(x, w) and all(n + sum(pad) > d * (k - 1) for n, k, pad, d in axes):
        return conv_onednn.convolve(x, w, stride, pads, dilation)
    return _xla(x, w, stride, pads, rhs_dilation=dilation)


def _forward(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    if conv_points.has_few_points(geometry):
        return conv_points.forward(x, w, geometry)
    return _canonical(x, w, geometry.stride, geometry.pads, geometry.dilation)


def _weight_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Convolve with channels as batch, batch as channels, and g as the kernel, dilated by the stride."""
    if conv_points.has_few_points(geometry):
        return conv_points.weight_gradient(x, g, geometry)
    if geometry.kernel == (1, 1):
        return _weight_gradient_of_points(x, g, geometry)
    if conv_weight.is_faster(x, g, geometry):
        return conv_weight.weight_gradient(x, g, geometry)
    if x.shape[0] < _FEW_IMAGES:
        x, g, geometry = _in_bands(x, g, geometry)
    # What no window touches at the end is cropped: a negative padding.
    pads = tuple((pad[0], (k - 1) * d + (out - 1) * s + 1 - pad[0] - n) for n, k, s, pad, d, out in geometry.axes())
    channels_as_batch, g_as_kernel = x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3)
    result = _canonical(channels_as_batch, g_as_kernel, geometry.dilation, pads, geometry.stride)
    return result.transpose(1, 2, 0, 3)


def _weight_gradient_of_points(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Multiply the points that a 1 × 1 kernel sees by g: no transposes."""
    edges = ((0, 0, 0), *((*pad, 0) for pad in geometry.pads), (0, 0, 0))
    step_h, step_w = geometry.stride
    seen = lax.pad(x, jnp.zeros((), x.dtype), edges)[:, ::step_h, ::step_w]
    return lax.dot_general(seen.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1]), _ROWS)[None, None]


def _in_bands(x: jax.Array, g: jax.Array, geometry: Geometry) -> tuple[jax.Array, jax.Array, Geometry]:
    """Cut images into bands of g's rows, which join the batch, and what their windows see of x; return their geometry.

    The bands of x overlap by the kernel's height, less the stride.
    """
    _, k, s, pad, d, out = next(geometry.axes())
    least = -(-_FEW_IMAGES // x.shape[0])
    rows = out // min((count for count in range(least, out) if out % count == 0), default=out)
    height = (rows - 1) * s + (k - 1) * d + 1
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pad, 0), (0, 0, 0), (0, 0, 0)))
    starts = range(0, out, rows)
    x = jnp.concatenate([x[:, start * s : start * s + height] for start in starts])
    g = jnp.concatenate([g[:, start : start + rows] for start in starts])
    return x, g, geometry._replace(size=(height, geometry.size[1]), pads=((0, 0), geometry.pads[1]))


def _input_gradient(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    if conv_points.has_few_points(geometry):
        return conv_points.input_gradient(g, w, geometry)
    (top, bottom), (left, right) = geometry.pads
    kernel_h, kernel_w = geometry.kernel
    dense = geometry.stride == geometry.dilation == (1, 1)
    whole = conv_onednn.available(g, w) and w.shape[-2] >= _MANY
    if dense and not whole and max(top, bottom) < kernel_h and max(left, right) < kernel_w:
        return _input_gradient_by_rows(g, w, geometry)
    if geometry.stride != (1, 1) and math.prod(geometry.kernel) <= _SMALL_KERNEL:
        return _input_gradient_by_products(g, w, geometry)
    pads = tuple((d * (k - 1) - pad[0], n + pad[0] - 1 - (out - 1) * s) for n, k, s, pad, d, out in geometry.axes())
    mirrored = w[::-1, ::-1].transpose(0, 1, 3, 2)
    if geometry.stride == (1, 1):
        return _canonical(g, mirrored, (1, 1), pads, geometry.dilation)
    # oneDNN computes with the zeros between: 64 features of 16 × 16, 7 × 7 kernel at stride 2: 8.8 ms → 55.
    return _xla(g, mirrored, (1, 1), pads, lhs_dilation=geometry.stride, rhs_dilation=geometry.dilation)


def _input_gradient_by_rows(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """At stride 1: a 1 × kW convolution that yields all kH rows at once, then kH shifted additions.

    It does 1.5 instead of 2.1 times the useful arithmetic of a full correlation (5 × 5 kernel on 9 × 9).
    """
    kernel_h, kernel_w, channels, features = w.shape
    height, width = geometry.size
    (top, _), (left, right) = geometry.pads
    rows = w[:, ::-1].transpose(1, 3, 0, 2).reshape(1, kernel_w, features, kernel_h * channels)
    partial = _xla(g, rows, (1, 1), ((0, 0), (kernel_w - 1 - left, kernel_w - 1 - right)))
    partial = partial.reshape(*g.shape[:2], width, kernel_h, channels)
    zero = jnp.zeros((), g.dtype)
    shifted = []
    for row in range(kernel_h):
        before = row - top
        edges = ((0, 0, 0), (before, height - g.shape[1] - before, 0), (0, 0, 0), (0, 0, 0))
        shifted.append(lax.pad(partial[:, :, :, row], zero, edges))
    return functools.reduce(jnp.add, shifted)


def _input_gradient_by_products(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """One product that makes a window of every element of g, then shifted additions, a step apart.

    A convolution over g with zeros between computes stride² times as much.
    """
    features, zero = g.shape[-1], jnp.zeros((), g.dtype)
    windows = (g.reshape(-1, features) @ w.reshape(-1, features).T).reshape(*g.shape[:3], *w.shape[:3])
    height, width = geometry.axes()
    shifted = [
        lax.pad(windows[:, :, :, u, v], zero, ((0, 0, 0), _shift(height, u), _shift(width, v), (0, 0, 0)))
        for u in range(height.k)
        for v in range(width.k)
    ]
    return functools.reduce(jnp.add, shifted)


def _shift(axis: Axis, element: int) -> tuple[int, int, int]:
    """Return the padding that puts what a kernel's element makes of g where it belongs in x."""
    before = element * axis.d - axis.pad[0]
    return before, axis.n - before - (axis.out - 1) * axis.s - 1, axis.s - 1


_apply, _transposed, _ = define_maps("2d", _forward, _input_gradient, _weight_gradient, depthwise=False)
_apply_behind_maximum, _, _ = define_maps(
    conv_single.NAME,
    _forward,
    conv_single.or_else(_input_gradient, conv_single.input_gradient),
    conv_single.or_else(_weight_gradient, conv_single.weight_gradient),
    depthwise=False,
)


def product_of(primitive: Any, options: Mapping[str, Any]) -> Callable[[jax.Array, jax.Array], jax.Array] | None:
    """Return the forward pass y(x, w) where it is one product with a matrix made of w alone; None for all else."""
    geometry = options.get("geometry")
    if primitive.name != f"{PRIMITIVE_PREFIX}2d" or geometry is None or not conv_points.has_few_points(geometry):
        return None
    return functools.partial(conv_points.forward, geometry=geometry)


def _tiles(geometry: Geometry) -> bool:
    """Whether windows lie side by side, so that each input belongs to one: kernel = stride, no padding, no dilation."""
    plain = not any(map(any, geometry.pads)) and all(d == 1 or k == 1 for _, k, _, _, d, _ in geometry.axes())
    return plain and geometry.kernel == geometry.stride


def _over_tiles(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Multiply tiles, rearranged without a copy more, by the whole kernel."""
    (rows, columns), (kernel_h, kernel_w) = geometry.output, geometry.kernel
    x = x[:, : rows * kernel_h, : columns * kernel_w]
    tiles = x.reshape(x.shape[0], rows, kernel_h, columns, kernel_w, -1).transpose(0, 1, 3, 2, 4, 5)
    weight = w.reshape(-1, w.shape[-1])
    return (tiles.reshape(-1, weight.shape[0]) @ weight).reshape(x.shape[0], rows, columns, -1)


def _tiles_from(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Transpose `_over_tiles`: one product makes a tile of every element; what lies beyond them is zero."""
    (rows, columns), (kernel_h, kernel_w) = geometry.output, geometry.kernel
    weight = w.reshape(-1, w.shape[-1])
    tiles = (g.reshape(-1, g.shape[-1]) @ weight.T).reshape(g.shape[0], rows, columns, kernel_h, kernel_w, -1)
    x = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(g.shape[0], rows * kernel_h, columns * kernel_w, -1)
    rest = [(0, n - out * k, 0) for n, k, _, _, _, out in geometry.axes()]
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *rest, (0, 0, 0)))


def conv2d_cpu(
    x: jax.Array, w: jax.Array, bias: jax.Array | None, geometry: Geometry, single: bool = False
) -> jax.Array:
    """Cross-correlate (N, H, W, C) with (kH, kW, C, O) and add the bias: (N, P, Q, O).

    `single` says that of each image and feature one position at most has a gradient.
    """
    if math.prod(w.shape[:3]) <= (2 * _FEW if w.shape[2] <= 3 else _FEW):
        if bias is None or w.shape[-1] > 1:
            return conv_windows.convolve(x, w, bias, geometry)
        # The product that has one column adds one number after the other: a bias in it would round more than PyTorch's.
        return add_bias(conv_windows.convolve(x, w, None, geometry), bias)
    apply = _apply_behind_maximum if single and conv_single.is_faster(geometry) else _apply
    y = _over_tiles(x, w, geometry) if _tiles(geometry) else apply(x, w, geometry)
    return y if bias is None else add_bias(y, bias)


def conv_transpose2d_cpu(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Apply the transpose of `conv2d_cpu` without bias: (N, P, Q, O) to (N, H, W, C)."""
    return _tiles_from(g, w, geometry) if _tiles(geometry) else _transposed(g, w, geometry)
