"""Elementary functions with PyTorch's derivatives where they have a kink, at their bounds and at NaN."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp


def absolute(x: jax.Array) -> jax.Array:
    """Return |x|, with derivative 0 at 0 (``jnp.abs`` has 1) and at NaN."""
    return jnp.where(x > 0, x, jnp.where(x < 0, -x, jax.lax.stop_gradient(jnp.abs(x))))


def hinge(x: jax.Array) -> jax.Array:
    """Return max(0, x), with derivative 1 at 0: PyTorch's clamp gives its bounds 1, where ``jnp.maximum`` gives 0.5."""
    return jnp.where(x >= 0, x, jax.lax.stop_gradient(jnp.maximum(x, jnp.zeros_like(x))))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def at_least(x: jax.Array, least: float) -> jax.Array:
    """Return max(x, least) with derivative 1 everywhere, as if `x` itself had been used."""
    return jnp.maximum(x, least)


@at_least.defjvp
def _at_least_jvp(least: float, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
    return at_least(primals[0], least), tangents[0]
