"""Depthwise convolutions on CPUs: each channel has its own kernel, and the maps are sums of shifted products.

XLA's CPU backend runs a grouped convolution as a plain loop. Shifted products are vectorised over the channels.

Arrays are channels last, of any number of axes: x (N, *size, C), w (*kernel, 1, C), g and y (N, *output, C).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

from .conv_bilinear import Geometry, define_maps
from .totals import total


def _shifts(x: jax.Array, geometry: Geometry) -> Iterator[tuple[tuple[int, ...], jax.Array]]:
    """Yield every kernel position and what it sees of the padded input, (N, *output, C)."""
    zero = jnp.zeros((), x.dtype)
    x = lax.pad(x, zero, ((0, 0, 0), *((*pad, 0) for pad in geometry.pads), (0, 0, 0)))
    for position in itertools.product(*map(range, geometry.kernel)):
        axes = zip(position, geometry.axes(), strict=True)
        seen = [slice(u * axis.d, u * axis.d + (axis.out - 1) * axis.s + 1, axis.s) for u, axis in axes]
        yield position, x[(slice(None), *seen)]


def _forward(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    return functools.reduce(
        jnp.add, (seen * jnp.broadcast_to(w[position], seen.shape) for position, seen in _shifts(x, geometry))
    )


def _input_gradient(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Correlate g, spread by the stride, with the mirrored kernel."""
    edges = [(d * (k - 1) - pad[0], n + pad[0] - 1 - (out - 1) * s, s - 1) for n, k, s, pad, d, out in geometry.axes()]
    spread = lax.pad(g, jnp.zeros((), g.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    ones = (1,) * len(edges)
    whole = Geometry(spread.shape[1:-1], geometry.kernel, ones, ((0, 0),) * len(edges), geometry.dilation)
    return _forward(spread, jnp.flip(w, tuple(range(len(edges)))), whole)


def _weight_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Sum over the batch first, which vectorises, in a loop: XLA would do a transpose before it once per position."""

    def add(totals: list[jax.Array], pair: tuple[jax.Array, jax.Array]) -> tuple[list[jax.Array], None]:
        one, slope = pair
        seen = (seen[0] for _, seen in _shifts(one[None], geometry))
        return [sum_ + s * slope for sum_, s in zip(totals, seen, strict=True)], None

    start = [jnp.zeros(g.shape[1:], g.dtype)] * math.prod(geometry.kernel)
    totals, _ = lax.scan(add, start, (x, g))
    return jnp.stack([total(sums) for sums in totals]).reshape(*geometry.kernel, 1, g.shape[-1])


depthwise, depthwise_transposed, _ = define_maps(
    "_depthwise", _forward, _input_gradient, _weight_gradient, depthwise=True
)
