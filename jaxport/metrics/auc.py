"""Area under the ROC curve, exact: all scores are kept and sorted."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxport.errors import UsageError

from .state import column, mask_of

_LEFT_OUT, _NEGATIVE, _POSITIVE, _NEITHER = range(4)


class Scores(NamedTuple):
    """State of `BinaryAUC`: buffers (E,) of scores and of what each row is, int8; `position`, the next free row, ().

    kind: 0 a row that does not count, 1 a negative, 2 a positive, 3 a target that is neither 0 nor 1.
    """

    scores: jax.Array
    kind: jax.Array
    position: jax.Array


@dataclass(frozen=True)
class BinaryAUC:
    """Area under the ROC curve: how often a positive example's score lies above a negative one's.

    auc = Σ_{p positive, n negative} ([score[p] > score[n]] + ½ [score[p] = score[n]]) / (positives · negatives)

    which is had from the ranks, those of equal scores averaged. It is exact in the scores as float32 (float64 when x64
    is on), and does not depend on how they are divided into batches.

    `init(examples)`: the number of rows that will be seen at most, padded ones included.
    `update(state, prediction, target, where=None)`: prediction (N, 1) or (N,) scores, probabilities or logits; target
    of the same shape holds 0 and 1 in any dtype. The state has 5 bytes a row (9 when x64 is on); `compute` sorts them.

    The value is NaN if there are examples of one class only, if a score is NaN, if a target is neither 0 nor 1 (where
    scikit-learn refuses), and if more rows came than `examples`.

    Raises:
        UsageError: examples is not a whole number of at least 1.
        ValueError: the shapes of prediction and target differ or are not (N, 1) or (N,), where is not a bool (N,), a
            batch has more rows than `examples`.

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.roc_auc_score.html
    """

    collects: ClassVar[bool] = True
    name: str = "auc"

    def init(self, examples: int) -> Scores:
        """Return room for that many rows."""
        if isinstance(examples, bool) or not isinstance(examples, int) or not 1 <= examples < 2**30:
            raise UsageError(f"examples is {examples!r}; it must be a whole number of at least 1, and below 2³⁰")
        return Scores(jnp.zeros(examples, float), jnp.zeros(examples, jnp.int8), jnp.zeros((), jnp.int32))

    def update(self, state: Scores, prediction: jax.Array, target: jax.Array, where: jax.Array | None = None) -> Scores:
        """Write the batch: prediction and target (N, 1) or (N,), where (N,)."""
        prediction, target = column(prediction, target, "Accuracy")
        (rows,), (room,) = prediction.shape, state.scores.shape
        if rows > room:
            raise ValueError(f"prediction has {rows} rows; init was given room for {room}")
        zero, one = jnp.zeros((), target.dtype), jnp.ones((), target.dtype)
        kind = jnp.select([target == zero, target == one], [_NEGATIVE, _POSITIVE], _NEITHER)
        kind = jnp.where(mask_of(where, prediction), kind, _LEFT_OUT).astype(jnp.int8)
        return Scores(
            lax.dynamic_update_slice(state.scores, prediction.astype(state.scores.dtype), (state.position,)),
            lax.dynamic_update_slice(state.kind, kind, (state.position,)),
            state.position + rows,
        )

    def compute(self, state: Scores) -> jax.Array:
        """Return the area."""
        left_out = state.kind == _LEFT_OUT
        _, scores, kind = lax.sort((left_out, state.scores, state.kind), num_keys=3)
        positive, negative = kind == _POSITIVE, kind == _NEGATIVE
        below = _twice_below(scores, negative)
        positives, negatives = (jnp.sum(each).astype(scores.dtype) for each in (positive, negative))
        area = _exact_sum(jnp.where(positive, below, 0), scores.dtype) / (2 * positives) / negatives
        odd = jnp.any(jnp.isnan(scores) & (kind != _LEFT_OUT)) | jnp.any(kind == _NEITHER)
        return jnp.where(odd | (state.position > len(kind)), jnp.nan, area)


def _twice_below(scores: jax.Array, negative: jax.Array) -> jax.Array:
    """Return for each sorted score twice the number of negatives below it plus the number equal to it, int32 (E,)."""
    up_to = jnp.cumsum(negative, dtype=jnp.int32)
    changes = scores[1:] != scores[:-1]
    edge = jnp.ones(1, bool)
    before = jnp.where(jnp.concatenate([edge, changes]), up_to - negative.astype(jnp.int32), 0)
    after = jnp.where(jnp.concatenate([changes, edge]), up_to, jnp.iinfo(jnp.int32).max)
    return lax.cummax(before) + lax.cummin(after, reverse=True)


def _exact_sum(values: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Return Σ of int32 values ≥ 0, rounded once for each part: in parts so narrow that no sum of them overflows."""
    bits = 31 - len(values).bit_length()
    total = jnp.zeros((), dtype)
    for shift in reversed(range(0, 31, bits)):
        part = jnp.sum((values >> shift) & (2**bits - 1), dtype=jnp.int32)
        total = total + part.astype(dtype) * 2.0**shift
    return total
