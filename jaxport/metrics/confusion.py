"""Precision, recall and F1: of one class against the rest, or averaged over classes."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxport.errors import UsageError

from .state import above, column, mask_of, scores

Average = Literal["binary", "macro", "micro", "weighted"]


class Confusion(NamedTuple):
    """Counts, integers: for each class (C,), or for the positive one of two alone ().

    hit: rows where the class is predicted and true; predicted: where it is predicted; actual: where it is true; total:
    all rows, ().
    """

    hit: jax.Array
    predicted: jax.Array
    actual: jax.Array
    total: jax.Array


@dataclass(frozen=True)
class _OfConfusion:
    average: Average = "binary"
    classes: int | None = None
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.average not in get_args(Average):
            raise UsageError(f"average is {self.average!r}; it must be one of {', '.join(get_args(Average))}")
        classes = self.classes
        if self.average == "binary":
            if classes is not None:
                raise UsageError(f"classes is {classes!r}; average='binary' takes none: name another average")
        elif isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
            raise UsageError(f"classes is {classes!r}; average={self.average!r} needs their number, at least 1")

    def init(self) -> Confusion:
        """Return no counts."""
        shape = () if self.classes is None else (self.classes,)
        return Confusion(*(jnp.zeros(each, int) for each in (shape, shape, shape, ())))

    def update(
        self, state: Confusion, prediction: jax.Array, target: jax.Array, where: jax.Array | None = None
    ) -> Confusion:
        """Count the batch: prediction and target (N, 1) or (N,); or prediction (N, C), target (N,). where (N,)."""
        guessed, true = self._marks(prediction, target)
        rows = mask_of(where, guessed[:, 0] if guessed.ndim == 2 else guessed)
        mask, dtype = mask_of(rows, guessed), state.total.dtype
        found = [jnp.sum(marks & mask, axis=0, dtype=dtype) for marks in (guessed & true, guessed, true)]
        batch = (*found, jnp.sum(rows, dtype=dtype))
        return Confusion(*(seen + new for seen, new in zip(state, batch, strict=True)))

    def compute(self, state: Confusion) -> jax.Array:
        """Return the value of the positive class, of all classes taken together, or the mean over classes."""
        if self.average == "micro":
            state = Confusion(*(jnp.sum(counts) for counts in state))
        state = Confusion(*(counts.astype(float) for counts in state))  # twice a count may pass an int32
        above, below = self._ratio(state)
        value = jnp.where(below > 0, above / jnp.maximum(below, 1), 0)
        if self.average in ("binary", "micro"):
            return jnp.where(state.total > 0, value, jnp.nan)
        occurs = state.predicted + state.actual > 0
        weight = occurs.astype(value.dtype) if self.average == "macro" else state.actual
        return jnp.sum(value * weight) / jnp.sum(weight)

    def _marks(self, prediction: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return where each class is predicted, and where it is true: bool (N,) or (N, C)."""
        if self.classes is None:
            prediction, target = column(prediction, target, "average='macro' with classes=C")
            return above(prediction, self.threshold), target == jnp.ones((), target.dtype)
        prediction, target = scores(prediction, target)
        if prediction.shape[1] != self.classes:
            raise ValueError(f"prediction {prediction.shape} must be (N, {self.classes}), as classes={self.classes}")
        numbers = jnp.arange(self.classes, dtype=jnp.int32)[None]
        best = jnp.argmax(prediction, axis=1).astype(jnp.int32)
        return best[:, None] == numbers, target.astype(jnp.int32)[:, None] == numbers

    def _ratio(self, state: Confusion) -> tuple[jax.Array, jax.Array]:
        raise NotImplementedError


@dataclass(frozen=True)
class Precision(_OfConfusion):
    """Share of the examples predicted as a class that belong to it.

    precision = hits / predicted

    `average` says of which class, and what `update(state, prediction, target, where=None)` takes:

    - "binary": the positive class. prediction (N, 1) or (N,) probabilities, positive above `threshold` (0.0 is one half
      for logits; NaN is not above); target of the same shape, positive where it is 1, in any dtype.
    - "macro", "weighted": the mean of all classes' values, plain or weighted by their examples; "micro": hits over
      predicted, both summed over the classes. prediction (N, C) scores, of which the first highest counts; target (N,)
      integers; C = `classes`. Classes that were neither predicted nor true are left out of the plain mean. A target
      outside 0 … C - 1 makes the prediction wrong and belongs to no class.

    0 / 0 is 0, as by scikit-learn's default; the value is NaN if no example was seen.

    Raises:
        UsageError: average is unknown, or does not go with classes.
        ValueError: shapes or dtype of prediction and target are others, where is not a bool (N,).

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.precision_score.html
    """

    name: str = "precision"

    def _ratio(self, state: Confusion) -> tuple[jax.Array, jax.Array]:
        return state.hit, state.predicted


@dataclass(frozen=True)
class Recall(_OfConfusion):
    """Share of the examples of a class that are predicted as it.

    recall = hits / actual

    Arguments, shapes, averages, 0 / 0 and errors are those of `Precision`.

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.recall_score.html
    """

    name: str = "recall"

    def _ratio(self, state: Confusion) -> tuple[jax.Array, jax.Array]:
        return state.hit, state.actual


@dataclass(frozen=True)
class F1(_OfConfusion):
    """Harmonic mean of precision and recall.

    f1 = 2 hits / (predicted + actual)

    Arguments, shapes, averages, 0 / 0 and errors are those of `Precision`; a mean over classes is one of their f1.

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.f1_score.html
    """

    name: str = "f1"

    def _ratio(self, state: Confusion) -> tuple[jax.Array, jax.Array]:
        return 2 * state.hit, state.predicted + state.actual
