"""Coefficient of determination."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxport.errors import UsageError
from jaxport.nn.loss_reduce import LONG
from jaxport.nn.loss_reduce import total as sum_of

from .state import mask_of, same_shape, two_sum


class Moments(NamedTuple):
    """State of `R2Score`, for each of D outputs (D,), but for `rows`, how many were seen, ().

    The targets' mean is origin + mean, the origin being near their first batch's, so that large targets lose nothing.
    spread, residual: sums of squares about the mean and of the errors, each a pair (2, D) whose second is what rounding
    dropped.
    """

    rows: jax.Array
    origin: jax.Array
    mean: jax.Array
    spread: jax.Array
    residual: jax.Array


@dataclass(frozen=True)
class R2Score:
    """Coefficient of determination: 1 for a perfect prediction, 0 for one no better than the targets' mean.

    r2 = 1 − Σ (target − prediction)² / Σ (target − mean of target)²; of several outputs, the mean of their values

    `update(state, prediction, target, where=None)`: prediction and target of one shape, (N,) or (N, D), D = `outputs`,
    in any real dtype. The squares about the mean are merged batch by batch (Chan, Golub and LeVeque), not had from
    Σ target², so targets far from 0 cost no digits. If all targets are equal the value is 1 for a perfect prediction
    and 0 for any other; it is NaN for fewer than two examples. All as scikit-learn's defaults.

    Raises:
        UsageError: outputs is not a whole number of at least 1.
        ValueError: the shapes of prediction and target differ or are not (N,) or (N, D), where is not a bool (N,).

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.metrics.r2_score.html
    """

    outputs: int = 1
    name: str = "r2"

    def __post_init__(self) -> None:
        if isinstance(self.outputs, bool) or not isinstance(self.outputs, int) or self.outputs < 1:
            raise UsageError(f"outputs is {self.outputs!r}; it must be a whole number of at least 1")

    def init(self) -> Moments:
        """Return the state of no rows."""
        d = self.outputs
        return Moments(jnp.zeros((), int), jnp.zeros(d), jnp.zeros(d), jnp.zeros((2, d)), jnp.zeros((2, d)))

    def update(
        self, state: Moments, prediction: jax.Array, target: jax.Array, where: jax.Array | None = None
    ) -> Moments:
        """Merge the batch: prediction and target (N,) or (N, D), where (N,)."""
        prediction, target = self._columns(prediction, target, state.mean.dtype)
        mask = mask_of(where, target)
        if not len(target):
            return state
        new = jnp.sum(mask[:, 0], dtype=state.rows.dtype)
        count = state.rows + new
        seen, more, all_ = (each.astype(target.dtype) for each in (state.rows, new, count))
        origin = jnp.where(state.rows == 0, _mean(target, mask, more), state.origin)
        shifted = target - origin[None]
        batch = _mean(shifted, mask, more)
        share = more / jnp.maximum(all_, 1)
        step = batch - state.mean
        spread = _sums(jnp.square(shifted - batch[None]), mask) + jnp.square(step) * (seen * share)
        residual = _sums(jnp.square(target - prediction), mask)
        return Moments(
            count, origin, state.mean + step * share, _added(state.spread, spread), _added(state.residual, residual)
        )

    def compute(self, state: Moments) -> jax.Array:
        """Return the mean of the outputs' values."""
        spread, residual = jnp.sum(state.spread, axis=0), jnp.sum(state.residual, axis=0)
        constant = jnp.where(residual == 0, 1.0, 0.0)
        value = jnp.where(spread == 0, constant, 1 - residual / jnp.where(spread == 0, 1, spread))
        value = jnp.where(jnp.isnan(residual), jnp.nan, value)
        return jnp.where(state.rows < 2, jnp.nan, jnp.mean(value))

    def _columns(self, prediction: jax.Array, target: jax.Array, dtype: jnp.dtype) -> tuple[jax.Array, ...]:
        prediction, target = same_shape(prediction, target)
        if target.shape[1:] not in [(self.outputs,), *[()] * (self.outputs == 1)] or target.ndim == 0:
            wanted = "(N, 1) or (N,)" if self.outputs == 1 else f"(N, {self.outputs})"
            raise ValueError(f"prediction {prediction.shape} must be {wanted}, as outputs={self.outputs}")
        return tuple(each.reshape(-1, self.outputs).astype(dtype) for each in (prediction, target))


def _mean(values: jax.Array, mask: jax.Array, count: jax.Array) -> jax.Array:
    """Return the mean of the rows that count (D,); 0 where there are none."""
    return _sums(values, mask) / jnp.maximum(count, 1)


def _added(pair: jax.Array, more: jax.Array) -> jax.Array:
    total, lost = two_sum(pair[0], more)
    return jnp.stack([total, pair[1] + lost])


def _sums(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Return the sums over the rows that count, (N, D) to (D,)."""
    if values.shape[1] == 1 and values.size >= LONG:
        return sum_of(jnp.where(mask, values, jnp.zeros_like(values)))[None]
    return jnp.sum(values, axis=0, where=mask)
