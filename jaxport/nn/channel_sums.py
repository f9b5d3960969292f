"""Sums over all axes but the channels', and their transpose."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from .totals import repeat, total


def channel_sums(x: jax.Array, channels: int = 1) -> jax.Array:
    """Return Σ over all axes of (N, C, *) but C, as (C,); of (N, *, C) where `channels` is -1.

    On a CPU channels go last, where a convolution has left them already.
    """
    if channels == -1:
        return total(x)
    if jax.default_backend() != "cpu" or x.ndim == 2:
        return x.sum((0, *range(2, x.ndim)))
    return total(jnp.moveaxis(x, 1, -1))


def along_channels(values: jax.Array, ndim: int, channels: int = 1) -> jax.Array:
    """Return (C,) as (1, C, 1, …); as (1, …, C) where `channels` is -1."""
    if channels == -1:
        return values.reshape(*(1,) * (ndim - 1), -1)
    return values.reshape(1, -1, *(1,) * (ndim - 2))


def spread(values: jax.Array, shape: tuple[int, ...], channels: int = 1) -> jax.Array:
    """Broadcast (C,) to (N, C, *), or (N, *, C), written so that its transpose is `channel_sums`."""
    if channels == -1:
        return repeat(values, shape)
    if jax.default_backend() != "cpu" or len(shape) == 2:
        return jnp.broadcast_to(along_channels(values, len(shape)), shape)
    return jnp.moveaxis(repeat(values, (shape[0], *shape[2:], shape[1])), -1, 1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def scale_and_shift(x: jax.Array, scale: jax.Array, shift: jax.Array, channels: int = 1) -> jax.Array:
    """Return x · scale + shift for (N, C, *) and (C,); for (N, *, C) where `channels` is -1."""
    return x * along_channels(scale, x.ndim, channels) + along_channels(shift, x.ndim, channels)


@scale_and_shift.defjvp
def _scale_and_shift_jvp(
    channels: int, primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    (x, scale, shift), (dx, dscale, dshift) = primals, tangents
    moved = dx * along_channels(scale, x.ndim, channels) + x * spread(dscale, x.shape, channels)
    return scale_and_shift(x, scale, shift, channels), moved + spread(dshift, x.shape, channels)
