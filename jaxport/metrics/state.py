"""What a metric is, the states that several share, and how a batch is added to them."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxport.nn.loss_reduce import LONG
from jaxport.nn.loss_reduce import total as sum_of


class Metric(Protocol):
    """What a training loop asks of a metric.

    A metric that cannot be had from sums, such as `BinaryAUC`, keeps every row. It has the class attribute
    ``collects = True``, and its `init` takes the number of rows that it will see at most, padded rows included. Its
    state holds buffers of that length and a position, which each `update` moves by the rows of the batch, those that
    `where` leaves out too. All other metrics lack the attribute, and their `init` takes nothing.
    """

    @property
    def name(self) -> str:
        """The column of the history that the metric fills."""
        ...

    @property
    def init(self) -> Callable[..., Any]:
        """Return the state of having seen nothing: ``init()``, or ``init(examples)`` where the metric collects."""
        ...

    def update(self, state: Any, prediction: Any, target: Any, where: Any = None, /) -> Any:
        """Return the state after one more batch; `where` is a bool (N,), False for the rows that do not count."""
        ...

    def compute(self, state: Any) -> jax.Array:
        """Return the value over all examples seen, a scalar; NaN if there were none."""
        ...


class Count(NamedTuple):
    """State of an accuracy: `right` of `total` examples, both integers ()."""

    right: jax.Array
    total: jax.Array


class Sum(NamedTuple):
    """State of a mean: `value` + `carry` is the sum (carry holds what rounding dropped), `weight` what to divide by."""

    value: jax.Array
    carry: jax.Array
    weight: jax.Array


class Share:
    """`init` and `compute` of a metric whose state is a `Count`."""

    def init(self) -> Count:
        """Return zero of zero."""
        return Count(jnp.zeros((), int), jnp.zeros((), int))

    def compute(self, state: Count) -> jax.Array:
        """Return right / total."""
        return state.right / state.total


class Averaged:
    """`init` and `compute` of a metric whose state is a `Sum`."""

    def init(self) -> Sum:
        """Return a sum of nothing."""
        return Sum(jnp.zeros((), float), jnp.zeros((), float), jnp.zeros((), int))

    def compute(self, state: Sum) -> jax.Array:
        """Return the sum over the weights, which are 1 for each element where none were given."""
        return (state.value + state.carry) / state.weight.astype(state.value.dtype)


def same_shape(
    a: jax.Array, b: jax.Array, a_name: str = "prediction", b_name: str = "target"
) -> tuple[jax.Array, jax.Array]:
    """Return both as arrays; they must have one shape."""
    a, b = jnp.asarray(a), jnp.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"{a_name} {a.shape} and {b_name} {b.shape} must have one shape; nothing is broadcast")
    return a, b


def column(prediction: jax.Array, target: jax.Array, instead: str) -> tuple[jax.Array, jax.Array]:
    """Return predictions and targets (N, 1) or (N,) as (N,); `instead` says what takes (N, C)."""
    prediction, target = same_shape(prediction, target)
    if prediction.ndim == 0 or prediction.shape[1:] not in ((), (1,)):
        raise ValueError(f"prediction {prediction.shape} must be (N, 1) or (N,); {instead} takes (N, C)")
    return prediction.reshape(-1), target.reshape(-1)


def scores(prediction: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return scores (N, C) and class numbers (N,) as arrays."""
    prediction, target = jnp.asarray(prediction), jnp.asarray(target)
    if prediction.ndim != 2 or target.shape != prediction.shape[:1]:
        raise ValueError(f"prediction {prediction.shape} and target {target.shape} must be (N, C) and (N,)")
    return prediction, integers(target)


def integers(target: jax.Array) -> jax.Array:
    """Return the class numbers; they must be integers."""
    if not jnp.issubdtype(target.dtype, jnp.integer):
        raise ValueError(f"target has dtype {target.dtype}; class numbers are integers")
    return target


def mask_of(where: jax.Array | None, values: jax.Array) -> jax.Array:
    """Spread `where` (N,) over the trailing axes of `values` (N, ...)."""
    if where is None:
        return jnp.ones(values.shape, bool)
    where = jnp.asarray(where)
    if where.dtype != bool or values.ndim == 0 or where.shape != values.shape[:1]:
        raise ValueError(f"where is {where.dtype} {where.shape}; a batch {values.shape} needs bool {values.shape[:1]}")
    return jnp.broadcast_to(where.reshape(-1, *(1,) * (values.ndim - 1)), values.shape)


def above(values: jax.Array, threshold: float) -> jax.Array:
    """Return values > threshold, of any dtype."""
    return (values if jnp.issubdtype(values.dtype, jnp.floating) else values.astype(float)) > threshold


def count(state: Count, right: jax.Array, where: jax.Array | None) -> Count:
    """Count a batch's rows, and those that are right."""
    mask, dtype = mask_of(where, right), state.total.dtype
    return Count(state.right + jnp.sum(right & mask, dtype=dtype), state.total + jnp.sum(mask, dtype=dtype))


def add(state: Sum, values: jax.Array, weights: jax.Array, where: jax.Array | None) -> Sum:
    """Add Σ values and Σ weights where `where` holds; rows it leaves out may hold anything, NaN included."""
    mask, dtype = mask_of(where, values), state.value.dtype
    if values.size < LONG:
        batch = jnp.sum(values, where=mask, dtype=dtype)
    else:
        kept = values if where is None else jnp.where(mask, values, jnp.zeros_like(values))
        batch = sum_of(kept.astype(dtype))
    weight = jnp.sum(weights, where=mask, dtype=state.weight.dtype)
    total, lost = two_sum(state.value, batch)
    return Sum(total, state.carry + lost, state.weight + weight)


def two_sum(value: jax.Array, batch: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return value + batch as rounded, and exactly what the rounding took (Knuth); 0 where the sum is not finite."""
    total = value + batch
    back = total - value
    lost = (value - (total - back)) + (batch - back)
    return total, jnp.where(jnp.isfinite(total), lost, 0)  # inf − inf would make NaN of an infinite loss
