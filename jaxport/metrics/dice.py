"""Overlap of predicted and true masks."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .state import above, mask_of, same_shape

_LIMB = 30


class Overlap(NamedTuple):
    """State of `Dice`: elements counted in pairs (2,), high · 2³⁰ + low; `seen` says whether there were any, ().

    Pictures have so many elements that an int32 would overflow.
    """

    hit: jax.Array
    both: jax.Array
    seen: jax.Array


@dataclass(frozen=True)
class Dice:
    """Overlap of binary masks, over all elements of all batches taken together.

    dice = (2 Σ pt + smooth) / (Σ p + Σ t + smooth),  p = [prediction > threshold], t = [target > ½]

    `update(state, prediction, target, where=None)`: prediction probabilities (logits with `threshold=0.0`) and target
    of one shape (N, ...), in any real or bool dtype. The sums run over all elements: it is no mean of the pictures'
    own values; and p is 0 or 1: without `smooth` this is the F1 of the pixels. NaN is not above the threshold. Where
    neither mask has an element the value is NaN, or 1 with `smooth` greater than 0.

    Raises:
        ValueError: the shapes of prediction and target differ or are (), where is not a bool (N,).

    Source: https://en.wikipedia.org/wiki/Dice-Sørensen_coefficient;
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.f1_score.html of all elements
    """

    threshold: float = 0.5
    smooth: float = 0.0
    name: str = "dice"

    def init(self) -> Overlap:
        """Return no elements."""
        return Overlap(jnp.zeros(2, int), jnp.zeros(2, int), jnp.zeros((), bool))

    def update(
        self, state: Overlap, prediction: jax.Array, target: jax.Array, where: jax.Array | None = None
    ) -> Overlap:
        """Count the batch: prediction and target (N, ...), where (N,)."""
        prediction, target = same_shape(prediction, target)
        if prediction.ndim == 0:
            raise ValueError("prediction () must be (N, ...)")
        mask = mask_of(where, prediction)
        guessed, true = above(prediction, self.threshold) & mask, above(target, 0.5) & mask
        hit, guesses, trues = (jnp.sum(marks, dtype=state.hit.dtype) for marks in (guessed & true, guessed, true))
        both = _counted(_counted(state.both, guesses), trues)
        return Overlap(_counted(state.hit, hit), both, state.seen | jnp.any(mask))

    def compute(self, state: Overlap) -> jax.Array:
        """Return the value; NaN if no element was seen."""
        value = (2 * _number(state.hit) + self.smooth) / (_number(state.both) + self.smooth)
        return jnp.where(state.seen, value, jnp.nan)


def _counted(pair: jax.Array, more: jax.Array) -> jax.Array:
    low = pair[1] + more
    return jnp.stack([pair[0] + (low >> _LIMB), low & (2**_LIMB - 1)])


def _number(pair: jax.Array) -> jax.Array:
    high, low = pair.astype(float)
    return high * 2.0**_LIMB + low
