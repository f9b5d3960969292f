"""The computations of weight and spectral normalisation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxport.nn.precision import product_precision

_TRANSPOSED = {"ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"}


def default_dim(module: object) -> int:
    """Return the axis of a weight's outputs: 1 for transposed convolutions, 0 otherwise."""
    return 1 if any(cls.__name__ in _TRANSPOSED for cls in type(module).__mro__) else 0


def norm_except_dim(v: jax.Array, dim: int) -> jax.Array:
    """Return ‖v‖₂ over all axes but `dim`, which are kept with length 1; over all, as a scalar, for -1."""
    if dim == -1:
        return jnp.sqrt(jnp.square(v).sum())
    axes = tuple(axis for axis in range(v.ndim) if axis != dim % v.ndim)
    return jnp.sqrt(jnp.square(v).sum(axes, keepdims=True))


def weight_norm(v: jax.Array, g: jax.Array, dim: int) -> jax.Array:
    """Return g · v / ‖v‖."""
    return v * jnp.broadcast_to((g / norm_except_dim(v, dim)).reshape((1,) * (v.ndim - g.ndim) + g.shape), v.shape)


def normalize(x: jax.Array, eps: float) -> jax.Array:
    """Return x / max(‖x‖₂, eps) of a vector, with gradient 0 of the norm at 0, as in PyTorch."""
    squares = jnp.square(x).sum()
    positive = squares > 0
    norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, jnp.ones_like(squares))), jnp.zeros_like(squares))
    return x / jnp.where(norm >= eps, norm, jnp.full_like(norm, eps))


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the matrix product in full precision."""
    return jnp.matmul(a, b, precision=product_precision())


def as_matrix(weight: jax.Array, dim: int) -> jax.Array:
    """Return the weight as (size of `dim`, all the rest)."""
    moved = jnp.moveaxis(weight, dim, 0)
    return moved.reshape(moved.shape[0], -1)


def power_iterations(
    matrix: jax.Array, u: jax.Array, v: jax.Array, times: int, eps: float, u_first: bool
) -> tuple[jax.Array, jax.Array]:
    """Return (u, v) closer to the first singular vectors: u ← W v / ‖W v‖, v ← Wᵀ u / ‖Wᵀ u‖; no gradient flows."""
    matrix = lax.stop_gradient(matrix)

    def body(_: object, vectors: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        u, v = vectors
        if u_first:
            u = normalize(product(matrix, v), eps)
        v = normalize(product(matrix.T, u), eps)
        if not u_first:
            u = normalize(product(matrix, v), eps)
        return u, v

    return lax.fori_loop(0, times, body, (lax.stop_gradient(u), lax.stop_gradient(v)))


def spectral_norm(weight: jax.Array, u: jax.Array, v: jax.Array, dim: int) -> jax.Array:
    """Return W / σ with σ = uᵀ W v, where u and v are constants."""
    u, v = lax.stop_gradient(u), lax.stop_gradient(v)
    return weight / product(u, product(as_matrix(weight, dim), v))
