"""Where initial values come from: a JAX key, or a `jaxport.random.Generator`, which draws PyTorch's numbers."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxport.random import Generator

RandomSource = jax.Array | Generator


def draw_uniform(source: RandomSource, shape: Sequence[int], dtype: DTypeLike, low: float, high: float) -> jax.Array:
    """Return `shape` of `dtype` from U[low, high)."""
    if isinstance(source, Generator):
        return jnp.asarray(source.uniform(low, high, shape, np.dtype(dtype)))
    return jax.random.uniform(source, shape, dtype, low, high)


def draw_normal(
    source: RandomSource, shape: Sequence[int], dtype: DTypeLike, mean: float = 0.0, std: float = 1.0
) -> jax.Array:
    """Return `shape` of `dtype` from N(mean, std²)."""
    if isinstance(source, Generator):
        return jnp.asarray(source.normal(mean, std, shape, np.dtype(dtype)))
    return mean + std * jax.random.normal(source, shape, dtype)
