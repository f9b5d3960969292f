"""Convolutions on CPUs in one, two and three dimensions, with groups, brought to the forms that XLA runs fast there.

One dimension is an image of height 1. Three are images whose channels hold the kD depths that a window sees: kD copies
of the input, a few times faster than XLA's own three-dimensional convolution. Groups are a loop over them, and one
channel to a group is a form of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from .conv_bias import add_bias
from .conv_bilinear import Geometry
from .conv_cpu import conv2d_cpu, conv_transpose2d_cpu
from .conv_depthwise import depthwise, depthwise_transposed
from .origin import channels_first, channels_last


def conv_cpu(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    geometry: Geometry,
    groups: int,
    single: bool = False,
) -> jax.Array:
    """Cross-correlate (N, C, *size) with (O, C / groups, *kernel) and add the bias: (N, O, *output).

    `single` says that of each example and channel one position at most has a gradient.
    """
    x, w = channels_last(input), jnp.moveaxis(weight, (1, 0), (-2, -1))
    if groups == 1:
        y = _one_group(x, w, bias, geometry, single)
    else:
        if groups == x.shape[-1]:
            y = depthwise(_repeat(x, w.shape[-1] // groups), w, geometry)
        else:
            y = _by_groups(lambda x, w: _one_group(x, w, None, geometry), x, w, groups)
        y = y if bias is None else add_bias(y, bias)
    return channels_first(y)


def conv_transpose_cpu(
    input: jax.Array, weight: jax.Array, bias: jax.Array | None, geometry: Geometry, groups: int
) -> jax.Array:
    """Apply the transpose of a convolution of `geometry`, and add the bias: (N, I, *output) to (N, O, *size).

    `weight` is (I, O / groups, *kernel).
    """
    g, w = channels_last(input), jnp.moveaxis(weight, (1, 0), (-2, -1))
    if groups == 1:
        y = _one_group_transposed(g, w, geometry)
    elif groups == g.shape[-1]:
        kernels = w.swapaxes(-2, -1).reshape(*geometry.kernel, 1, -1)
        y = depthwise_transposed(_repeat(g, w.shape[-2]), kernels, geometry)
    else:
        y = _by_groups(lambda g, w: _one_group_transposed(g, w, geometry), g, w, groups)
    return channels_first(y if bias is None else add_bias(y, bias))


def _repeat(x: jax.Array, times: int) -> jax.Array:
    """Repeat each channel, for several kernels to a channel."""
    return x if times == 1 else jnp.repeat(x, times, axis=-1)


def _by_groups(
    apply: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, w: jax.Array, groups: int
) -> jax.Array:
    """Apply a map to each group's channels of x and kernels of w, one group after the other."""
    xs, ws = (jnp.moveaxis(a.reshape(*a.shape[:-1], groups, -1), -2, 0) for a in (x, w))
    y = jnp.moveaxis(lax.map(lambda group: apply(*group), (xs, ws)), 0, -2)
    return y.reshape(*y.shape[:-2], -1)


def _one_group(
    x: jax.Array, w: jax.Array, bias: jax.Array | None, geometry: Geometry, single: bool = False
) -> jax.Array:
    if len(geometry.size) == 1:
        return conv2d_cpu(x[:, None], w[None], bias, _row(geometry), single)[:, 0]
    if len(geometry.size) == 2:
        return conv2d_cpu(x, w, bias, geometry, single)
    before, after = geometry.pads[0]
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (before, after, 0), *((0, 0, 0),) * 3))
    depth = next(geometry.axes())
    starts = range(0, depth.k * depth.d, depth.d)
    x = jnp.concatenate([x[:, u : u + (depth.out - 1) * depth.s + 1 : depth.s] for u in starts], axis=-1)
    w = jnp.moveaxis(w, 0, 2).reshape(*w.shape[1:3], -1, w.shape[-1])
    y = conv2d_cpu(x.reshape(-1, *x.shape[2:]), w, bias, _plane(geometry))
    return y.reshape(*x.shape[:2], *y.shape[1:])


def _one_group_transposed(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    if len(geometry.size) == 1:
        return conv_transpose2d_cpu(g[:, None], w[None], _row(geometry))[:, 0]
    if len(geometry.size) == 2:
        return conv_transpose2d_cpu(g, w, geometry)
    depth = next(geometry.axes())
    flat = jnp.moveaxis(w, 0, 2).reshape(*w.shape[1:3], -1, w.shape[-1])
    x = conv_transpose2d_cpu(g.reshape(-1, *g.shape[2:]), flat, _plane(geometry))
    x = x.reshape(*g.shape[:2], *x.shape[1:3], depth.k, -1)
    zero, placed = jnp.zeros((), x.dtype), []
    for u in range(depth.k):
        before = u * depth.d - depth.pad[0]
        after = depth.n - before - (depth.out - 1) * depth.s - 1
        edges = ((0, 0, 0), (before, after, depth.s - 1), *((0, 0, 0),) * 3)
        placed.append(lax.pad(x[:, :, :, :, u], zero, edges))
    return functools.reduce(jnp.add, placed)


def _row(geometry: Geometry) -> Geometry:
    """Return the geometry of a line as an image of height 1."""
    (n,), (k,), (s,), (pad,), (d,) = geometry
    return Geometry((1, n), (1, k), (1, s), ((0, 0), pad), (1, d))


def _plane(geometry: Geometry) -> Geometry:
    """Return the geometry without its first axis."""
    size, kernel, stride, pads, dilation = geometry
    return Geometry(size[1:], kernel[1:], stride[1:], pads[1:], dilation[1:])
