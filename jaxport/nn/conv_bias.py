"""The bias of a convolution on CPUs: its gradient is a sum over batch and positions, written so that it is fast there.

XLA's own reduction over N, P, Q is slow on the CPU. Here the sum is products with ones, over at most 32 numbers at a
time: faster, and it rounds as little as PyTorch's sum, which adds in pairs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

_BLOCK = 32


def _copies(row: jax.Array, count: int) -> jax.Array:
    """Repeat (1, m) to (count, m); the transpose sums blocks of rows, then the blocks, then the rest."""
    if count <= _BLOCK:
        return jnp.ones((count, 1), row.dtype) @ row
    blocks, rest = divmod(count, _BLOCK)
    whole = _copies(_copies(row, _BLOCK).reshape(1, -1), blocks).reshape(-1, row.shape[1])
    return jnp.concatenate([whole, _copies(row, rest)]) if rest else whole


def spread(bias: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Broadcast (O,) to `shape`, which ends in O, axis by axis."""
    for size in reversed(shape[:-1]):
        bias = _copies(bias.reshape(1, -1), size)
    return bias.reshape(shape)


def summed(x: jax.Array) -> jax.Array:
    """Sum (..., O) to (O,): the transpose of `spread`."""
    bias = jax.ShapeDtypeStruct(x.shape[-1:], x.dtype)
    return jax.linear_transpose(lambda b: spread(b, x.shape), bias)(x)[0]


@jax.custom_jvp
def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """Add a bias (O,) to y (..., O)."""
    return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


@add_bias.defjvp
def _add_bias_jvp(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    (y, bias), (dy, dbias) = primals, tangents
    return add_bias(y, bias), dy + spread(dbias, y.shape)
