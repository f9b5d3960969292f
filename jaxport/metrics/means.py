"""Means over all elements: of values, errors and cross-entropies."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

import jaxport.nn.functional as F

from .state import Averaged, Sum, add, integers, mask_of, same_shape


@dataclass(frozen=True)
class Mean(Averaged):
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
        value, weight = same_shape(value, jnp.ones_like(value) if weight is None else weight, "value", "weight")
        value, weight = value.astype(state.value.dtype), weight.astype(state.value.dtype)
        return add(state, value * weight, weight, where)


@dataclass(frozen=True)
class MeanAbsoluteError(Averaged):
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
        return add(state, error, jnp.ones_like(error, dtype=int), where)


@dataclass(frozen=True)
class MeanSquaredError(Averaged):
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
        return add(state, error, jnp.ones_like(error, dtype=int), where)


@dataclass(frozen=True)
class RootMeanSquaredError(MeanSquaredError):
    """Root of the mean squared distance between prediction and target, over all elements.

    rmse = √(Σ (prediction − target)² / number of elements)

    `update(state, prediction, target, where=None)`: prediction and target of one shape (N, ...), in any real dtype.
    scikit-learn takes the root for each column and averages; here it is one root over all of them.

    Raises:
        ValueError: the shapes of prediction and target differ, where is not a bool (N,).

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.root_mean_squared_error.html
    """

    name: str = "rmse"

    def compute(self, state: Sum) -> jax.Array:
        """Return the root of the mean."""
        return jnp.sqrt(super().compute(state))


@dataclass(frozen=True)
class MeanAbsolutePercentageError(Averaged):
    """Mean distance between prediction and target relative to the target, over all elements; 0.05 is five per cent.

    mape = Σ |prediction − target| / max(|target|, ε) / number of elements,  ε = 2⁻⁵²

    `update(state, prediction, target, where=None)`: prediction and target of one shape (N, ...), in any real dtype.
    ε is scikit-learn's guard, the same in float32: a target of 0 that is missed by 1 counts 4.5e15.

    Raises:
        ValueError: the shapes of prediction and target differ, where is not a bool (N,).

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.mean_absolute_percentage_error.html
    """

    name: str = "mape"

    def update(self, state: Sum, prediction: jax.Array, target: jax.Array, where: jax.Array | None = None) -> Sum:
        """Add the batch: prediction and target (N, ...), where (N,)."""
        error = jnp.abs(_difference(state, prediction, target))
        size = jnp.maximum(jnp.abs(jnp.asarray(target).astype(error.dtype)), 2.0**-52)
        return add(state, error / size, jnp.ones_like(error, dtype=int), where)


@dataclass(frozen=True)
class Perplexity(Averaged):
    """Exponential of the mean cross-entropy of the right classes, such as the next tokens of a text.

    perplexity = exp(−Σ log softmax(prediction)[target] / number of targets)

    `update(state, prediction, target, where=None)`: prediction (N, C) or (N, C, L) logits, not probabilities; target
    (N,) or (N, L) integers. Targets equal to `ignore_index` count for nothing. A class outside 0 … C - 1 gives NaN
    inside compiled code, and an IndexError outside, as `jaxport.nn.functional.cross_entropy` does.

    Raises:
        ValueError: prediction is not (N, C) or (N, C, L), target is not (N,) or (N, L) or not of integers, where is not
            a bool (N,).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html, its exponential
    """

    ignore_index: int = -100
    name: str = "perplexity"

    def update(self, state: Sum, prediction: jax.Array, target: jax.Array, where: jax.Array | None = None) -> Sum:
        """Add the batch: prediction (N, C) or (N, C, L), target (N,) or (N, L), where (N,)."""
        prediction, target = jnp.asarray(prediction), jnp.asarray(target)
        if prediction.ndim not in (2, 3) or target.shape != prediction.shape[:1] + prediction.shape[2:]:
            shapes = f"prediction {prediction.shape} and target {target.shape}"
            raise ValueError(f"{shapes} must be (N, C) and (N,), or (N, C, L) and (N, L)")
        target = integers(target).astype(jnp.int32)  # bytes hold no -100
        counts = mask_of(where, target) & (target != self.ignore_index)
        target = jnp.where(counts, target, self.ignore_index)
        logits = prediction.astype(state.value.dtype)
        losses = F.cross_entropy(logits, target, ignore_index=self.ignore_index, reduction="none")
        return add(state, losses, counts.astype(int), where)

    def compute(self, state: Sum) -> jax.Array:
        """Return the exponential of the mean."""
        return jnp.exp(super().compute(state))


def _difference(state: Sum, prediction: jax.Array, target: jax.Array) -> jax.Array:
    prediction, target = same_shape(prediction, target)
    return prediction.astype(state.value.dtype) - target.astype(state.value.dtype)
