"""The bias of a convolution on CPUs: its gradient is a sum over batch and positions, written so that it is fast there.

XLA's own reduction over N, P, Q is slow on the CPU. Here the sum is products with ones, over at most 32 numbers at a
time: faster, and it rounds as little as PyTorch's sum, which adds in pairs.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

_BLOCK = 32
# A count without a divisor of this size is split into blocks and a rest, which costs a copy.
_LEAST = 8


def _copies(row: jax.Array, count: int) -> jax.Array:
    """Repeat (1, m) to (count, m); the transpose sums blocks of rows, the largest first, so that little is left."""
    if count <= _BLOCK:
        return jnp.ones((count, 1), row.dtype) @ row
    size = max(size for size in range(1, _BLOCK + 1) if count % size == 0)
    if size < _LEAST:
        rest = count % _BLOCK
        return jnp.concatenate([_copies(row, count - rest), _copies(row, rest)])
    return _copies(_copies(row, count // size).reshape(1, -1), size).reshape(count, -1)


def spread(bias: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Broadcast (O,) to `shape`, which ends in O."""
    return _copies(bias.reshape(1, -1), math.prod(shape[:-1])).reshape(shape)


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
