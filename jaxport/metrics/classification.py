"""Shares of right answers."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxport.errors import UsageError

from .state import Count, Share, column, count, scores


@dataclass(frozen=True)
class Accuracy(Share):
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
        prediction, target = scores(prediction, target)
        best = jnp.argmax(prediction, axis=1)
        return count(state, best == target.astype(best.dtype), where)


@dataclass(frozen=True)
class BinaryAccuracy(Share):
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
        prediction, target = column(prediction, target, "Accuracy")
        right = target == (prediction > self.threshold).astype(target.dtype)
        return count(state, right, where)


@dataclass(frozen=True)
class TopKAccuracy(Share):
    """Share of the examples whose class has one of the k highest scores.

    right = Σₙ [#{c : prediction[n, c] ahead of prediction[n, target[n]]} < k] / N

    `update(state, prediction, target, where=None)`: prediction (N, C) scores, logits or probabilities; target (N,)
    integers. Of equal scores the first is ahead, and NaN is ahead of every number, so that k = 1 is `Accuracy`
    (scikit-learn puts the last of equal scores ahead, and refuses NaN). A target outside 0 … C - 1 is never right.

    Raises:
        UsageError: k is not a whole number of at least 1.
        ValueError: prediction is not (N, C), target is not (N,) or not of integers, where is not a bool (N,).

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.top_k_accuracy_score.html
    """

    k: int = 5
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise UsageError(f"k is {self.k!r}; it must be a whole number of at least 1")
        object.__setattr__(self, "name", self.name or f"top{self.k}_accuracy")

    def update(self, state: Count, prediction: jax.Array, target: jax.Array, where: jax.Array | None = None) -> Count:
        """Count the batch: prediction (N, C), target (N,), where (N,)."""
        prediction, target = scores(prediction, target)
        classes = jnp.arange(prediction.shape[1], dtype=jnp.int32)[None]
        row = target.astype(jnp.int32)[:, None]
        own = jnp.take_along_axis(prediction, row, axis=1, mode="clip")
        none, own_none = jnp.isnan(prediction), jnp.isnan(own)
        equal = (prediction == own) | (none & own_none)
        ahead = (prediction > own) | (none & ~own_none) | (equal & (classes < row))
        known = (row >= 0) & (row < prediction.shape[1])
        return count(state, known[:, 0] & (jnp.sum(ahead, axis=1) < self.k), where)
