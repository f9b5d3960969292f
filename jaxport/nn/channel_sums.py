"""Sums over all axes but the channels', and their transpose, as CPUs do them fast and with little rounding."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def channel_sums(x: jax.Array, axis: int = 1) -> jax.Array:
    """Return Σ over all axes but the channels', 1 or the last one, as (C,).

    XLA's CPU backend adds a plain reduction one number after the other, which in float32 rounds ten times as much as
    PyTorch's. So (N, C, *) is a product with ones and a sum over the examples (the examples first is twenty times
    slower), and (N, *, C) is summed one axis at a time; the barriers keep XLA from joining them.
    """
    if jax.default_backend() != "cpu" or x.ndim == 2:
        return x.sum([i for i in range(x.ndim) if i != axis])
    if axis == 1:
        flat = _flat(x)
        return jnp.matmul(flat, jnp.ones(flat.shape[2:], x.dtype), precision=lax.Precision.HIGHEST).sum(0)
    while x.ndim > 1:
        x = lax.optimization_barrier(x.sum(-2))
    return x


def along_channels(values: jax.Array, ndim: int, axis: int = 1) -> jax.Array:
    """Return (C,) as (1, C, 1, …), or (1, …, C)."""
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def spread(values: jax.Array, shape: tuple[int, ...], axis: int = 1) -> jax.Array:
    """Broadcast (C,) to `shape`, written so that its transpose is `channel_sums`."""
    if jax.default_backend() != "cpu" or len(shape) == 2:
        return jnp.broadcast_to(along_channels(values, len(shape), axis), shape)
    if axis == 1:
        rows = jnp.broadcast_to(values[None, :, None], (*shape[:2], 1))
        ones = jnp.ones((1, math.prod(shape[2:])), values.dtype)
        return jnp.matmul(rows, ones, precision=lax.Precision.HIGHEST).reshape(shape)
    for size in shape[:-1]:
        wider = (*values.shape[:-1], size, values.shape[-1])
        values = lax.broadcast_in_dim(lax.optimization_barrier(values), wider, (*range(values.ndim - 1), values.ndim))
    return values


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def scale_and_shift(x: jax.Array, scale: jax.Array, shift: jax.Array, axis: int = 1) -> jax.Array:
    """Return x · scale + shift, (C,) both, for channels along `axis`."""
    return x * along_channels(scale, x.ndim, axis) + along_channels(shift, x.ndim, axis)


@scale_and_shift.defjvp
def _scale_and_shift_jvp(
    axis: int, primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    (x, scale, shift), (dx, dscale, dshift) = primals, tangents
    moved = dx * along_channels(scale, x.ndim, axis) + x * spread(dscale, x.shape, axis) + spread(dshift, x.shape, axis)
    return scale_and_shift(x, scale, shift, axis), moved
