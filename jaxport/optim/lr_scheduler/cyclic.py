"""CyclicLR: up and down between two rates, with the momentum the other way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .base import Groups, LRScheduler, Now, Own, per_group
from .double import as_double, divide


@dataclass(frozen=True)
class CyclicLR(LRScheduler):
    """Move the rate up and down between two bounds, and the momentum (or β₁) down and up.

    lrₜ = base_lr + (max_lr - base_lr) · h(t) · scale;  momentumₜ = max - (max - base) · h(t) · scale, where h goes from
    0 to 1 in `step_size_up` steps and back to 0 in `step_size_down`.

    Args:
        base_lr: lower bound, or one for each group; the optimiser's own rate is replaced.
        max_lr: upper bound, or one for each group.
        step_size_up: steps of the rising half.
        step_size_down: steps of the falling half; None means `step_size_up`.
        mode: the scale: 1 (triangular), 1/2^(cycle - 1) (triangular2), or gamma^t (exp_range).
        gamma: of exp_range.
        scale_fn: a scale of your own, instead of `mode`; in compiled code it gets a traced float64 number.
        scale_mode: whether `scale_fn` gets the number of the cycle (from 1) or of the step.
        cycle_momentum: whether the momentum is moved too.
        base_momentum: lower bound, or one for each group.
        max_momentum: upper bound and first value, or one for each group.
        last_epoch: where to go on; -1 begins.

    Raises:
        ValueError: an unknown `mode`, or a list of another length than there are groups.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CyclicLR.html
    """

    base_lr: float | Sequence[float]
    max_lr: float | Sequence[float]
    step_size_up: int = 2000
    step_size_down: int | None = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: float = 1.0
    scale_fn: Callable[[Any], Any] | None = None
    scale_mode: Literal["cycle", "iterations"] = "cycle"
    cycle_momentum: bool = True
    base_momentum: float | Sequence[float] = 0.8
    max_momentum: float | Sequence[float] = 0.9
    last_epoch: int = -1

    def __post_init__(self) -> None:
        if self.mode not in ("triangular", "triangular2", "exp_range") and self.scale_fn is None:
            raise ValueError(
                f"CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range' without scale_fn, got {self.mode!r}"
            )

    def _bounds(self, groups: Groups, name: str) -> jax.Array:
        return per_group("CyclicLR", name, getattr(self, name), groups["lr"].shape[0])

    def _create(self, groups: Groups) -> tuple[Groups, Own]:
        base_lrs = self._bounds(groups, "base_lr")
        if self.last_epoch == -1:
            groups = {**groups, "lr": base_lrs}
        if self.cycle_momentum and self.last_epoch == -1:
            high, low = self._bounds(groups, "max_momentum"), self._bounds(groups, "base_momentum")
            groups = {**groups, "momentum": high, "max_momentum": high, "base_momentum": low}
        # PyTorch's first step has `initial_lr` for the lower bound, which another scheduler may have set before.
        groups, own = super()._create(groups)
        return groups, {**own, "base_lrs": base_lrs}

    def _scale(self, cycle: jax.Array, epoch: jax.Array) -> jax.Array:
        if self.scale_fn is not None:
            return as_double(self.scale_fn(cycle if self.scale_mode == "cycle" else epoch))
        if self.mode == "triangular2":
            return 1 / 2.0 ** (cycle - 1)
        return self.gamma**epoch if self.mode == "exp_range" else jnp.ones_like(cycle)

    def _height(self, epoch: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return h(t) in [0, 1] and the scale."""
        up = float(self.step_size_up)
        total = up + (up if self.step_size_down is None else float(self.step_size_down))
        ratio = up / total
        cycle = jnp.floor(1 + divide(epoch, total))
        x = 1.0 + divide(epoch, total) - cycle
        height = jnp.where(x <= ratio, divide(x, ratio), divide(x - 1, ratio - 1))
        return height, self._scale(cycle, epoch)

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        height, scale = self._height(now.epoch)
        return now.base_lrs + (self._bounds(now.groups, "max_lr") - now.base_lrs) * height * scale

    def _at(self, groups: Groups, own: Own, epoch: jax.Array) -> jax.Array:
        return self.get_lr(Now(epoch, groups["lr"], own["base_lrs"], False, groups, own))

    def _move(self, now: Now) -> Groups:
        groups = super()._move(now)
        if not self.cycle_momentum:
            return groups
        height, scale = self._height(now.epoch)
        high, low = self._bounds(groups, "max_momentum"), self._bounds(groups, "base_momentum")
        return {**groups, "momentum": high - (high - low) * height * scale}
