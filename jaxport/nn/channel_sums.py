"""Sums over all axes but the channels', and their transpose."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .totals import repeat, total


def channel_sums(x: jax.Array) -> jax.Array:
    """Return Σ over all axes of (N, C, *) but C, as (C,).

    On a CPU channels go last, where a convolution has left them already.
    """
    if jax.default_backend() != "cpu" or x.ndim == 2:
        return x.sum((0, *range(2, x.ndim)))
    return total(jnp.moveaxis(x, 1, -1))


def along_channels(values: jax.Array, ndim: int) -> jax.Array:
    """Return (C,) as (1, C, 1, …)."""
    return values.reshape(1, -1, *(1,) * (ndim - 2))


def spread(values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Broadcast (C,) to (N, C, *), written so that its transpose is `channel_sums`."""
    if jax.default_backend() != "cpu" or len(shape) == 2:
        return jnp.broadcast_to(along_channels(values, len(shape)), shape)
    return jnp.moveaxis(repeat(values, (shape[0], *shape[2:], shape[1])), -1, 1)


@jax.custom_jvp
def scale_and_shift(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """Return x · scale + shift for (N, C, *) and (C,)."""
    return x * along_channels(scale, x.ndim) + along_channels(shift, x.ndim)


@scale_and_shift.defjvp
def _scale_and_shift_jvp(
    primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    (x, scale, shift), (dx, dscale, dshift) = primals, tangents
    moved = dx * along_channels(scale, x.ndim) + x * spread(dscale, x.shape) + spread(dshift, x.shape)
    return scale_and_shift(x, scale, shift), moved
