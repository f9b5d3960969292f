"""The bias of a convolution on CPUs: its gradient is a sum over batch and positions, as `totals` does it."""

from __future__ import annotations

import jax

from .totals import repeat


@jax.custom_jvp
def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """Add a bias (O,) to y (..., O)."""
    return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


@add_bias.defjvp
def _add_bias_jvp(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    (y, bias), (dy, dbias) = primals, tangents
    return add_bias(y, bias), dy + repeat(dbias, y.shape)
