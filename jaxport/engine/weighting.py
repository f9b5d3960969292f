"""Examples that count differently in the loss: by class, or each by a weight of its own."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxport.errors import UsageError

from .state import Batch

ClassWeight = tuple[float, ...]


def as_class_weight(class_weight: Mapping[int, float] | Sequence[float] | None) -> ClassWeight | None:
    """Return the weight of each class as a tuple; a class that a mapping does not name weighs 1.

    Raises:
        UsageError: a class or a weight that is negative, or not a number.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, Mapping):
        wrong = [key for key in class_weight if isinstance(key, bool) or not isinstance(key, int) or key < 0]
        if wrong or not class_weight:
            raise UsageError(f"class_weight has the keys {list(class_weight)}; they must be classes 0, 1, …")
        class_weight = [class_weight.get(number, 1.0) for number in range(max(class_weight) + 1)]
    weights = tuple(float(weight) for weight in class_weight)
    if not weights or not all(0.0 <= weight < float("inf") for weight in weights):
        raise UsageError(f"class_weight is {weights}; it must have a finite weight of at least 0 for each class")
    return weights


def example_weights(class_weight: ClassWeight | None, batch: Batch) -> jax.Array | None:
    """Return how much each example counts (B,), 0 for padding: its own weight times its class's; None if all count 1.

    A class beyond the last of `class_weight` counts 1.
    """
    if class_weight is None and batch.weight is None:
        return None
    weight = jnp.ones(len(batch.y)) if batch.weight is None else jnp.asarray(batch.weight)
    if class_weight is not None:
        classes = batch.y.reshape(-1).astype(jnp.int32)
        table = jnp.asarray(class_weight, weight.dtype)
        own = table.at[jnp.clip(classes, 0, len(class_weight) - 1)].get(mode="promise_in_bounds")
        weight = weight * jnp.where((classes >= 0) & (classes < len(class_weight)), own, jnp.ones_like(own))
    return weight if batch.where is None else jnp.where(batch.where, weight, jnp.zeros_like(weight))


def per_example(loss: Any) -> Callable[..., jax.Array]:
    """Return the loss without its reduction.

    Raises:
        UsageError: it has none that could be left out.
    """
    if getattr(loss, "reduction", None) not in ("mean", "sum", "none"):
        name = getattr(loss, "__name__", type(loss).__name__)
        raise UsageError(f"loss is {name}; class_weight and sample weights need a jaxport.nn loss with a `reduction`")
    return _without_reduction(loss)


@functools.lru_cache(maxsize=64)
def _without_reduction(loss: Any) -> Callable[..., jax.Array]:
    # Outside of any trace, where a module may be changed.
    with jax.ensure_compile_time_eval():
        plain = copy.deepcopy(loss)
    plain.reduction = "none"
    return plain


def weighted_loss(
    per_example: Callable[..., jax.Array], prediction: Any, batch: Batch, weights: jax.Array, summed: bool
) -> jax.Array:
    """Return Σᵢ wᵢ Lᵢ / Σᵢ wᵢ, or Σᵢ wᵢ Lᵢ for a summed loss; Lᵢ is the mean (sum) over an example's own elements."""
    masked = {} if batch.where is None else {"where": batch.where}
    values = per_example(prediction, batch.y, **masked)
    rows = values.reshape(len(values), -1)
    rows = rows.sum(1) if summed else rows.mean(1)
    total = (rows * weights.astype(rows.dtype)).sum()
    if summed:
        return total
    whole = weights.astype(rows.dtype).sum()
    return total / jnp.where(whole == 0, jnp.ones_like(whole), whole)
