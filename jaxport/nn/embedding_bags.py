"""Bags of rows: which elements lie in which bag, and their reductions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .checks import is_concrete
from .embedding_rows import check_index, wide_dtype


@dataclass(frozen=True)
class Bags:
    """Which of n elements lie in which of `count` bags: `ids` (n,), ascending, or runs of `width` each if it is None.

    An element with an id of `count` lies in none.
    """

    count: int
    width: int
    ids: jax.Array | None

    def _fold(self, values: jax.Array, whole: Callable[..., jax.Array], parts: Callable[..., jax.Array]) -> jax.Array:
        if self.ids is None:
            return whole(values.reshape(self.count, self.width, *values.shape[1:]), axis=1)
        return parts(values, self.ids, self.count, indices_are_sorted=True)

    def sum(self, values: jax.Array) -> jax.Array:
        """Return each bag's sum."""
        return self._fold(values, jnp.sum, jax.ops.segment_sum)

    def max(self, values: jax.Array) -> jax.Array:
        """Return each bag's largest element."""
        return self._fold(values, jnp.max, jax.ops.segment_max)

    def min(self, values: jax.Array) -> jax.Array:
        """Return each bag's smallest element."""
        return self._fold(values, jnp.min, jax.ops.segment_min)

    def spread(self, values: jax.Array) -> jax.Array:
        """Give each element its bag's value."""
        if self.ids is None:
            return jnp.repeat(values, self.width, axis=0)
        return values.at[self.ids].get(mode="clip")


def bags_of_offsets(input: jax.Array, offsets: jax.Array | None, include_last_offset: bool) -> Bags:
    """Return the bags of a vector of indices that start at `offsets`.

    Raises:
        ValueError: `offsets` are missing, have another rank, or do not ascend from 0 to at most the input's length.
        TypeError: they are not int32 or int64.
    """
    if offsets is None or offsets.ndim != 1:
        shape = None if offsets is None else offsets.shape
        raise ValueError(f"embedding_bag: offsets must be a vector beside a vector input, got {shape}")
    check_index("embedding_bag", "offsets", offsets)
    if include_last_offset and offsets.size == 0:
        raise ValueError("embedding_bag: offsets must have at least one entry with include_last_offset, got none")
    if is_concrete(offsets) and offsets.size:
        starts = np.asarray(offsets)
        if starts[0] != 0 or (np.diff(starts) < 0).any() or starts[-1] > input.size:
            raise ValueError(
                f"embedding_bag: offsets must start at 0, ascend and end at most at input's length {input.size}, "
                f"got {starts.tolist()}"
            )
    # The number of bags that start at or before each element, less one.
    starting = jnp.zeros(input.size + 1, jnp.int32).at[offsets].add(jnp.ones(offsets.shape, jnp.int32), mode="drop")
    ids = jnp.maximum(jnp.cumsum(starting[: input.size]) - 1, 0)
    return Bags(offsets.size - include_last_offset, 0, ids)


def sum_or_mean(rows: jax.Array, counted: jax.Array, bags: Bags, mean: bool) -> jax.Array:
    """Return each bag's sum, or its mean over the rows that count."""
    wide = rows.astype(wide_dtype(rows.dtype))
    total = bags.sum(wide)
    if mean:
        number = jnp.maximum(bags.sum(counted.astype(jnp.int32)), 1).astype(wide.dtype)
        total = total / jnp.broadcast_to(number[:, None], total.shape)
    return total.astype(rows.dtype)


def first_max(rows: jax.Array, counted: jax.Array, bags: Bags) -> jax.Array:
    """Take each bag's maximum from the first row that holds it, and 0 for a bag without rows."""
    n = rows.shape[0]
    if n == 0:
        return jnp.zeros((bags.count, rows.shape[1]), rows.dtype)
    place = jnp.broadcast_to(lax.iota(jnp.int32, n)[:, None], rows.shape)
    counted = jnp.broadcast_to(counted[:, None], rows.shape)
    values = lax.stop_gradient(rows)
    # PyTorch asks only whether a later element is greater: a NaN stays if it comes first, and is passed over if not.
    first = place == bags.spread(bags.min(jnp.where(counted, place, n)))
    values = jnp.where(jnp.isnan(values), jnp.where(first, jnp.inf, -jnp.inf).astype(values.dtype), values)
    values = jnp.where(counted, values, jnp.full_like(values, -jnp.inf))
    best = counted & (values == bags.spread(bags.max(values)))
    chosen = bags.min(jnp.where(best, place, n))
    column = lax.broadcasted_iota(jnp.int32, chosen.shape, 1)
    return rows.at[chosen, column].get(mode="fill", fill_value=0)
