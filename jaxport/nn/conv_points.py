"""Convolutions of images of few points as one product: of all points of the image with all points of the output.

y = x · W, where the block of W for an input's point and an output's is the element of the kernel that joins them, or
zero. XLA's own convolution of such images computes mostly padding: 512 channels of 1 × 1, 3 × 3 kernel, batch 128,
forward and both gradients: 250 ms, and 9 this way.

Arrays are channels last: x (N, H, W, C), w (kH, kW, C, O), g and y (N, P, Q, O).
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp

from .conv_bilinear import Geometry

Taps = tuple[tuple[tuple[int, int] | None, ...], ...]


def has_few_points(geometry: Geometry) -> bool:
    """Return whether the image has no more points than the kernel: then the product computes no more than needed."""
    return math.prod(geometry.size) <= math.prod(geometry.kernel)


@functools.cache
def _taps(geometry: Geometry) -> Taps:
    """Return, for each point of the input and each of the output, the element of the kernel that joins them."""
    rows, columns = (_joined(*axis) for axis in geometry.axes())
    return tuple(
        tuple(None if u is None or v is None else (u, v) for u in row for v in column)
        for row in rows
        for column in columns
    )


def _joined(n: int, k: int, s: int, pad: tuple[int, int], d: int, out: int) -> list[list[int | None]]:
    """Return the same of one axis: input i, output p and kernel u are joined where i = s·p - pad + d·u."""
    places = [[i + pad[0] - s * p for p in range(out)] for i in range(n)]
    return [[place // d if place % d == 0 and 0 <= place // d < k else None for place in row] for row in places]


def _whole(w: jax.Array, geometry: Geometry) -> jax.Array:
    """Return Wᵀ (P·Q·O, H·W·C).

    Features come first in it as in the parameter (O, C, kH, kW), from which XLA then copies it in long pieces.
    """
    kernel = w.swapaxes(-2, -1)
    nothing = jnp.zeros(kernel.shape[2:], w.dtype)
    columns = zip(*_taps(geometry), strict=True)
    rows = [jnp.concatenate([nothing if tap is None else kernel[tap] for tap in column], axis=1) for column in columns]
    return jnp.concatenate(rows)


def forward(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Return y."""
    y = x.reshape(x.shape[0], -1) @ _whole(w, geometry).T
    return y.reshape(x.shape[0], *geometry.output, w.shape[-1])


def input_gradient(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Return ∂x = g · Wᵀ."""
    x = g.reshape(g.shape[0], -1) @ _whole(w, geometry)
    return x.reshape(g.shape[0], *geometry.size, w.shape[-2])


def weight_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Return ∂w: each element is the sum of its blocks of gᵀ · x."""
    channels, features = x.shape[-1], g.shape[-1]
    blocks = g.reshape(g.shape[0], -1).T @ x.reshape(x.shape[0], -1)
    parts: dict[tuple[int, int], list[jax.Array]] = {}
    for i, row in enumerate(_taps(geometry)):
        for o, tap in enumerate(row):
            if tap is not None:
                block = blocks[o * features : (o + 1) * features, i * channels : (i + 1) * channels]
                parts.setdefault(tap, []).append(block)
    nothing = jnp.zeros((features, channels), blocks.dtype)
    kernel = [functools.reduce(jnp.add, parts.get((u, v), [nothing])) for u, v in _elements(geometry)]
    return jnp.stack(kernel).reshape(*geometry.kernel, features, channels).swapaxes(-2, -1)


def _elements(geometry: Geometry) -> list[tuple[int, int]]:
    return [(u, v) for u in range(geometry.kernel[0]) for v in range(geometry.kernel[1])]
