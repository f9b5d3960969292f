"""A convolution behind which a global maximum stands: its gradients come from one position of each feature.

Of g (N, P, Q, O) at most one element of the P·Q of each image and feature is not zero. So

    ∂w[:, :, :, o] = Σ_n g[n, p, q, o] · (the window of x that (p, q) sees),      (p, q) = place[n, o]
    ∂x[n]          = Σ_o g[n, p, q, o] · w[:, :, :, o], added where that window lies,

N·O windows in place of N·P·Q·O. PyTorch, and JAX's own derivative, multiply the zeros too.

Arrays are channels last: x (N, H, W, C), w (kH, kW, C, O), g and y (N, P, Q, O).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from . import conv_onednn
from .conv_bilinear import PRIMITIVE_PREFIX, Geometry, Map
from .one_function import as_one_function

NAME = "2d_single"
"""Behind `PRIMITIVE_PREFIX`, what the names of the maps begin with."""

# From so many positions on, the windows of one position each cost less than a convolution over all: 32 → 64 features,
# 5 × 5 kernel, batch 128, both gradients: 9 positions 1.96 → 1.35 ms, 25 4.4 → 1.3, 81 12.8 → 2.0.
_POSITIONS = 9
# Examples whose gradients are added one after the other; the sums of such blocks are added then, which rounds less.
_BLOCK = 64
# Loops that are given to the cores side by side.
_PARTS = 2


def is_faster(geometry: Geometry) -> bool:
    """Return whether the gradients are faster so, on a CPU."""
    return math.prod(geometry.output) >= _POSITIONS and geometry.dilation == (1, 1)


def is_wanted() -> bool:
    """Return whether it may be used at all: JAXPORT_SMALL_LOOPS=0 says no, and so does an unknown version of jaxlib."""
    return os.environ.get("JAXPORT_SMALL_LOOPS") != "0" and conv_onednn.is_known_version()


def _here(*arrays: jax.Array) -> bool:
    """Return whether it applies where a map is lowered: a loop over images is for one device."""
    return is_wanted() and conv_onednn.on_one_device() and all(array.size > 0 for array in arrays)


def multiplications(equation: Any) -> int:
    """Return how many an equation of a traced program takes in the loops of this file; 0 if it is none of them."""
    name = equation.primitive.name
    if name not in (f"{PRIMITIVE_PREFIX}{NAME}_input", f"{PRIMITIVE_PREFIX}{NAME}_weight") or not is_wanted():
        return 0
    images, second = (variable.aval.shape for variable in equation.invars)
    weight = equation.outvars[0].aval.shape if name.endswith("_weight") else second
    return images[0] * math.prod(weight)


def _windows(g: jax.Array, geometry: Geometry) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return (top, left) of the window behind each feature's one element, and that element: (N, O) each."""
    n, _, q, o = g.shape
    flat = g.reshape(n, -1, o)
    number = lax.broadcasted_iota(jnp.int32, flat.shape, 1)
    # NaN is not zero either. Where all are zero the first window counts, zero times.
    place = jnp.maximum(jnp.where(flat != 0, number, -1).max(1), 0)
    step_h, step_w = geometry.stride
    return place // q * step_h, place % q * step_w, flat.sum(1)


def _padded(geometry: Geometry) -> tuple[int, int]:
    """Return height and width of the padded images."""
    height, width = (n + sum(pad) for n, pad in zip(geometry.size, geometry.pads, strict=True))
    return height, width


def _in_parts(loop: Callable[..., jax.Array], *arrays: jax.Array, whole: tuple[jax.Array, ...] = ()) -> list[jax.Array]:
    """Apply `loop` to the images of each part of `arrays`, and to all of `whole`."""
    n = arrays[0].shape[0]
    size = -(-n // min(_PARTS, n))
    return [as_one_function(loop, *(a[i : i + size] for a in arrays), *whole) for i in range(0, n, size)]


def or_else(dense: Map, single: Map) -> Map:
    """Return the map that is `single` where it applies, else `dense`."""

    def chosen(a: jax.Array, b: jax.Array, geometry: Geometry) -> jax.Array:
        return (single if _here(a, b) else dense)(a, b, geometry)

    return chosen


def weight_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Return ∂w (kH, kW, C, O)."""
    (kernel_h, kernel_w), channels, features = geometry.kernel, x.shape[-1], g.shape[-1]
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*pad, 0) for pad in geometry.pads), (0, 0, 0)))

    def loop(rows: jax.Array, top: jax.Array, left: jax.Array, value: jax.Array) -> jax.Array:
        n = rows.shape[0]
        block = (1, kernel_h, kernel_w * channels)

        def turn(i: jax.Array, sums: jax.Array) -> jax.Array:
            image, o = i // features, i % features
            window = lax.dynamic_slice(rows, (image, top[image, o], left[image, o] * channels), block)
            at = (image // _BLOCK * features + o, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
            return lax.dynamic_update_slice(sums, lax.dynamic_slice(sums, at, block) + value[image, o] * window, at)

        sums = jnp.zeros((-(-n // _BLOCK) * features, *block[1:]), rows.dtype)
        return lax.fori_loop(jnp.int32(0), jnp.int32(n * features), turn, sums)

    parts = _in_parts(loop, x.reshape(*x.shape[:2], -1), *_windows(g, geometry))
    sums = jnp.concatenate([part.reshape(-1, features, kernel_h, kernel_w, channels) for part in parts])
    return sums.sum(0).transpose(1, 2, 3, 0)


def input_gradient(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Return ∂x (N, H, W, C)."""
    kernel_h, kernel_w, channels, features = w.shape
    height, width = _padded(geometry)
    weight = w.transpose(3, 0, 1, 2).reshape(features, kernel_h, -1)

    def loop(top: jax.Array, left: jax.Array, value: jax.Array, weight: jax.Array) -> jax.Array:
        n = top.shape[0]
        block = (1, kernel_h, kernel_w * channels)

        def turn(i: jax.Array, sums: jax.Array) -> jax.Array:
            image, o = i // features, i % features
            at = (image, top[image, o], left[image, o] * channels)
            one = lax.dynamic_slice(weight, (o, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)), block)
            return lax.dynamic_update_slice(sums, lax.dynamic_slice(sums, at, block) + value[image, o] * one, at)

        sums = jnp.zeros((n, height, width * channels), value.dtype)
        return lax.fori_loop(jnp.int32(0), jnp.int32(n * features), turn, sums)

    parts = _in_parts(loop, *_windows(g, geometry), whole=(weight,))
    x = jnp.concatenate(parts).reshape(-1, height, width, channels)
    cut = [(-before, -after, 0) for before, after in geometry.pads]
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *cut, (0, 0, 0)))
