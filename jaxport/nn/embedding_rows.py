"""Rows of a lookup table: what embedding and embedding_bag share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def check_index(owner: str, name: str, index: jax.Array) -> None:
    """Refuse indices that are not int32 or int64, as PyTorch does.

    Raises:
        TypeError: another dtype.
    """
    if index.dtype not in (jnp.int32, jnp.int64):
        raise TypeError(f"{owner}: {name} must have dtype int32 or int64, got {index.dtype}")


def check_padding(owner: str, padding_idx: int | None, rows: int) -> int | None:
    """Return `padding_idx` counted from the front; negative ones count from the end.

    Raises:
        ValueError: no such row.
    """
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(f"{owner}: padding_idx must lie in [{-rows}, {rows - 1}], got {padding_idx}")
    return padding_idx % rows


def check_weight(owner: str, weight: jax.Array) -> None:
    """Refuse a table that is not a matrix.

    Raises:
        ValueError: another number of axes.
    """
    if weight.ndim != 2:
        raise ValueError(f"{owner}: weight must be (num_embeddings, embedding_dim), got shape {weight.shape}")


def wide_dtype(dtype: Any) -> Any:
    """Return the dtype to accumulate in: float32 for half precision, as PyTorch does, else `dtype` itself."""
    return jnp.float32 if dtype.itemsize < 4 else dtype


def take_rows(weight: jax.Array, index: jax.Array) -> jax.Array:
    """Return (*, D) rows of (V, D); an index outside gives NaN and no gradient."""
    return weight.at[index].get(mode="fill", wrap_negative_indices=False)


@jax.custom_jvp
def straight_through(x: jax.Array, value: jax.Array) -> jax.Array:
    """Return `value` with the gradient of `x`: PyTorch writes it over `x` unseen by autograd."""
    del x
    return value


@straight_through.defjvp
def _straight_through_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
    return primals[1], tangents[0]


@jax.custom_jvp
def _scaled_gradient(x: jax.Array, factor: jax.Array) -> jax.Array:
    del factor
    return x


@_scaled_gradient.defjvp
def _scaled_gradient_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
    return primals[0], tangents[0] * jnp.broadcast_to(primals[1][..., None], primals[0].shape)


def renormalised_rows(rows: jax.Array, max_norm: float, norm_type: float) -> jax.Array:
    """Scale rows of a norm above `max_norm` by max_norm / (norm + 1e-7); the gradient passes through unscaled."""
    fixed = lax.stop_gradient(rows)
    wide = fixed.astype(wide_dtype(fixed.dtype))
    norm = jnp.linalg.norm(wide, ord=norm_type, axis=-1, keepdims=True)
    scale = jnp.where(norm > max_norm, max_norm / (norm + 1e-7), jnp.ones_like(norm))
    return straight_through(rows, (wide * jnp.broadcast_to(scale, wide.shape)).astype(rows.dtype))


def renormalised(weight: jax.Array, index: jax.Array, max_norm: float, norm_type: float) -> jax.Array:
    """Return the table with the rows at `index` renormalised, as PyTorch leaves it."""
    rows = renormalised_rows(take_rows(weight, index), max_norm, norm_type)
    written = lax.stop_gradient(weight).at[index].set(lax.stop_gradient(rows), mode="drop", wrap_negative_indices=False)
    return straight_through(weight, written)


def divided_by_frequency(rows: jax.Array, index: jax.Array, count: int) -> jax.Array:
    """Return `rows` unchanged, their gradients divided by how often each index occurs in `index`."""
    ones = jnp.ones(index.shape, jnp.int32)
    times = jnp.zeros(count, jnp.int32).at[index].add(ones, mode="drop", wrap_negative_indices=False)
    return _scaled_gradient(rows, 1.0 / times.at[index].get(mode="clip").astype(rows.dtype))
