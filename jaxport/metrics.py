"""Metrics that add up over batches: `init` a state, `update` it with each batch, `compute` the value over all of them.

The functions are pure and their states have a fixed shape and dtype, so they run inside `jax.jit` and `jax.lax.scan`.
Counts are integers (int32; int64 when x64 is on) and exact however the examples are divided into batches. Sums are
float32 (float64 when x64 is on) and compensated: they carry the rounding error of each addition along.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp


class Metric(Protocol):
    """What a training loop asks of a metric."""

    @property
    def name(self) -> str:
        """The column of the history that the metric fills."""
        ...

    def init(self) -> Any:
        """Return the state of having seen nothing."""
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


class _Share:
    def init(self) -> Count:
        """Return zero of zero."""
        return Count(jnp.zeros((), int), jnp.zeros((), int))

    def compute(self, state: Count) -> jax.Array:
        """Return right / total."""
        return state.right / state.total


class _Average:
    def init(self) -> Sum:
        """Return a sum of nothing."""
        return Sum(jnp.zeros((), float), jnp.zeros((), float), jnp.zeros((), int))

    def compute(self, state: Sum) -> jax.Array:
        """Return the sum over the weights, which are 1 for each element where none were given."""
        return (state.value + state.carry) / state.weight.astype(state.value.dtype)


@dataclass(frozen=True)
class Accuracy(_Share):
    """Share of the examples whose highest score is at their class.

    right = Σₙ [argmax꜀ prediction[n, c] = target[n]] / N

    `update(state, prediction, target, where=None)`: prediction (N, C) scores, logits or probabilities; target (N,)
    integers. Of equal scores the first counts. NaN is taken as the highest score, as by `torch.argmax` and
    `numpy.argmax`: a model that outputs only NaN predicts class 0.

    Raises:
        ValueError: prediction is not (N, C), target is not (N,) or not of integers, where is not a bool (N,).

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.accuracy_score.html
    """

    name: str = "accuracy"

    def update(self, state: Count, prediction: jax.Array, target: jax.Array, where: jax.Array | None = None) -> Count:
        """Count the batch: prediction (N, C), target (N,), where (N,)."""
        prediction, target = jnp.asarray(prediction), jnp.asarray(target)
        if prediction.ndim != 2 or target.shape != prediction.shape[:1]:
            raise ValueError(f"prediction {prediction.shape} and target {target.shape} must be (N, C) and (N,)")
        if not jnp.issubdtype(target.dtype, jnp.integer):
            raise ValueError(f"target has dtype {target.dtype}; class numbers are integers")
        best = jnp.argmax(prediction, axis=1)
        return _count(state, best == target.astype(best.dtype), where)


@dataclass(frozen=True)
class BinaryAccuracy(_Share):
    """Share of the examples on the right side of the threshold, which itself belongs to class 0.

    right = Σₙ [(prediction[n] > threshold) = target[n]] / N

    `update(state, prediction, target, where=None)`: prediction (N, 1) or (N,) probabilities; target of the same shape
    holds 0 and 1 in any dtype (any other value is never right). NaN is not above the threshold: it predicts class 0.
    For logits, `threshold=0.0` is probability one half.

    Raises:
        ValueError: the shapes of prediction and target differ or are not (N, 1) or (N,), where is not a bool (N,).

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.accuracy_score.html on `y_pred > 0.5`
    """

    threshold: float = 0.5
    name: str = "accuracy"

    def update(self, state: Count, prediction: jax.Array, target: jax.Array, where: jax.Array | None = None) -> Count:
        """Count the batch: prediction and target (N, 1) or (N,), where (N,)."""
        prediction, target = _same_shape(prediction, target)
        if prediction.ndim == 0 or prediction.shape[1:] not in ((), (1,)):
            raise ValueError(f"prediction {prediction.shape} must be (N, 1) or (N,); Accuracy takes (N, C)")
        right = target == (prediction > self.threshold).astype(target.dtype)
        return _count(state, right.reshape(-1), where)


@dataclass(frozen=True)
class Mean(_Average):
    """Weighted mean of values, such as the losses of batches weighted by their sizes.

    mean = Σᵢ weightᵢ valueᵢ / Σᵢ weightᵢ

    `update(state, value, weight=None, where=None)`: value and weight of one shape, () or (N, ...); no weight is 1.

    Raises:
        ValueError: the shapes of value and weight differ, where is not a bool (N,).

    Source: https://numpy.org/doc/stable/reference/generated/numpy.average.html
    """

    name: str = "mean"

    def init(self) -> Sum:
        """Return a sum of nothing."""
        return Sum(jnp.zeros((), float), jnp.zeros((), float), jnp.zeros((), float))

    def update(
        self, state: Sum, value: jax.Array, weight: jax.Array | None = None, where: jax.Array | None = None
    ) -> Sum:
        """Add the batch: value and weight () or (N, ...), where (N,)."""
        value = jnp.asarray(value)
        value, weight = _same_shape(value, jnp.ones_like(value) if weight is None else weight, "value", "weight")
        value, weight = value.astype(state.value.dtype), weight.astype(state.value.dtype)
        return _add(state, value * weight, weight, where)


@dataclass(frozen=True)
class MeanAbsoluteError(_Average):
    """Mean distance between prediction and target, over all elements.

    mae = Σ |prediction − target| / number of elements

    `update(state, prediction, target, where=None)`: prediction and target of one shape (N, ...), in any real dtype.

    Raises:
        ValueError: the shapes of prediction and target differ, where is not a bool (N,).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.L1Loss.html
    """

    name: str = "mae"

    def update(self, state: Sum, prediction: jax.Array, target: jax.Array, where: jax.Array | None = None) -> Sum:
        """Add the batch: prediction and target (N, ...), where (N,)."""
        error = jnp.abs(_difference(state, prediction, target))
        return _add(state, error, jnp.ones_like(error, dtype=int), where)


@dataclass(frozen=True)
class MeanSquaredError(_Average):
    """Mean squared distance between prediction and target, over all elements; no factor ½.

    mse = Σ (prediction − target)² / number of elements

    `update(state, prediction, target, where=None)`: prediction and target of one shape (N, ...), in any real dtype.

    Raises:
        ValueError: the shapes of prediction and target differ, where is not a bool (N,).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html
    """

    name: str = "mse"

    def update(self, state: Sum, prediction: jax.Array, target: jax.Array, where: jax.Array | None = None) -> Sum:
        """Add the batch: prediction and target (N, ...), where (N,)."""
        error = jnp.square(_difference(state, prediction, target))
        return _add(state, error, jnp.ones_like(error, dtype=int), where)


def _same_shape(
    a: jax.Array, b: jax.Array, a_name: str = "prediction", b_name: str = "target"
) -> tuple[jax.Array, jax.Array]:
    a, b = jnp.asarray(a), jnp.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"{a_name} {a.shape} and {b_name} {b.shape} must have one shape; nothing is broadcast")
    return a, b


def _difference(state: Sum, prediction: jax.Array, target: jax.Array) -> jax.Array:
    prediction, target = _same_shape(prediction, target)
    return prediction.astype(state.value.dtype) - target.astype(state.value.dtype)


def _mask(where: jax.Array | None, values: jax.Array) -> jax.Array:
    """Spread `where` (N,) over the trailing axes of `values` (N, ...)."""
    if where is None:
        return jnp.ones(values.shape, bool)
    where = jnp.asarray(where)
    if where.dtype != bool or values.ndim == 0 or where.shape != values.shape[:1]:
        raise ValueError(f"where is {where.dtype} {where.shape}; a batch {values.shape} needs bool {values.shape[:1]}")
    return jnp.broadcast_to(where.reshape(-1, *(1,) * (values.ndim - 1)), values.shape)


def _count(state: Count, right: jax.Array, where: jax.Array | None) -> Count:
    mask, dtype = _mask(where, right), state.total.dtype
    return Count(state.right + jnp.sum(right & mask, dtype=dtype), state.total + jnp.sum(mask, dtype=dtype))


def _add(state: Sum, values: jax.Array, weights: jax.Array, where: jax.Array | None) -> Sum:
    """Add Σ values and Σ weights where `where` holds; rows it leaves out may hold anything, NaN included."""
    mask = _mask(where, values)
    batch = jnp.sum(values, where=mask, dtype=state.value.dtype)
    weight = jnp.sum(weights, where=mask, dtype=state.weight.dtype)
    total = state.value + batch
    back = total - state.value  # Knuth's two-sum: `lost` is exactly what rounding took from `total`
    lost = (state.value - (total - back)) + (batch - back)
    lost = jnp.where(jnp.isfinite(total), lost, 0)  # inf − inf would make NaN of an infinite loss
    return Sum(total, state.carry + lost, state.weight + weight)
