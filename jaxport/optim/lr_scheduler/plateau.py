"""ReduceLROnPlateau: a lower rate when a metric stops improving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .base import Groups, LRScheduler, LRState, Own, per_group
from .double import as_double, in_double


@dataclass(frozen=True)
class ReduceLROnPlateau(LRScheduler):
    """Multiply the rate by `factor` when the metric has not improved for more than `patience` epochs.

    Better means, for mode "min": a < best · (1 - threshold), or a < best - threshold with threshold_mode "abs"; for
    "max" a > best · (1 + threshold), or a > best + threshold. A metric that is NaN is not better.

    Args:
        mode: whether the metric should fall ("min") or rise ("max").
        factor: of the rate, below 1.
        patience: epochs without improvement that are let pass.
        threshold: what counts as improvement.
        threshold_mode: relative to the best ("rel"), or absolute ("abs").
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: lowest rate, or one for each group.
        eps: a reduction that is not larger than this is not made.

    Raises:
        ValueError: `factor` ≥ 1, an unknown mode, a list of another length than there are groups; no metric.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html
    """

    mode: Literal["min", "max"] = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    min_lr: float | Sequence[float] = 0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if self.factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau: factor must be < 1, got {self.factor}")
        for name, known in (("mode", ("min", "max")), ("threshold_mode", ("rel", "abs"))):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"ReduceLROnPlateau: {name} must be {known[0]!r} or {known[1]!r}, got {value!r}")

    def step(self, state: LRState, metric: ArrayLike | None = None) -> LRState:
        """Return the state after an epoch with this metric (a scalar).

        Raises:
            ValueError: `metric` is None or no scalar.
        """
        if metric is None or jnp.size(metric) != 1:
            raise ValueError(f"ReduceLROnPlateau: step needs a metric, one number, got {metric!r}")

        def take(state: LRState) -> LRState:
            return LRState(
                *self._follow(state.groups, state.scheduler, as_double(jnp.reshape(jnp.asarray(metric), ())))
            )

        return in_double(take, state)

    def _create(self, groups: Groups) -> tuple[Groups, Own]:
        zero, worst = jnp.zeros((), jnp.int32), jnp.inf if self.mode == "min" else -jnp.inf
        self._lowest(groups)
        return groups, {"last_epoch": zero, "best": as_double(worst), "num_bad_epochs": zero, "cooldown_counter": zero}

    def _lowest(self, groups: Groups) -> jax.Array:
        return per_group("ReduceLROnPlateau", "min_lr", self.min_lr, groups["lr"].shape[0])

    def _is_better(self, metric: jax.Array, best: jax.Array) -> jax.Array:
        if self.mode == "min":
            return metric < (best * (1.0 - self.threshold) if self.threshold_mode == "rel" else best - self.threshold)
        return metric > (best * (self.threshold + 1.0) if self.threshold_mode == "rel" else best + self.threshold)

    def _follow(self, groups: Groups, own: Own, metric: jax.Array) -> tuple[Groups, Own]:
        better = self._is_better(metric, own["best"])
        cooling = own["cooldown_counter"] > 0
        bad = jnp.where(better | cooling, 0, own["num_bad_epochs"] + 1)
        cooldown = jnp.where(cooling, own["cooldown_counter"] - 1, own["cooldown_counter"])
        reduce = bad > self.patience
        lower = jnp.maximum(groups["lr"] * self.factor, self._lowest(groups))
        lr = jnp.where(reduce & (groups["lr"] - lower > self.eps), lower, groups["lr"])
        own = {
            "last_epoch": own["last_epoch"] + 1,
            "best": jnp.where(better, metric, own["best"]),
            "num_bad_epochs": jnp.where(reduce, 0, bad),
            "cooldown_counter": jnp.where(reduce, self.cooldown, cooldown),
        }
        return {**groups, "lr": lr}, own
