"""SWALR: anneal to a constant rate for weight averaging; its place in PyTorch is torch.optim.swa_utils."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from .base import Groups, LRScheduler, Now, Own, per_group
from .double import as_double, divide


@dataclass(frozen=True)
class SWALR(LRScheduler):
    """Move the rate from where it is to `swa_lr` over `anneal_epochs`, and leave it there.

    lrₜ = α(t) · swa_lr + (1 - α(t)) · lr₀ with α(t) = t / T or (1 - cos(π t / T)) / 2; lr₀ is found from lrₜ₋₁, so that
    a rate that was changed in between counts.

    Args:
        swa_lr: last rate, or one for each group.
        anneal_epochs: T.
        anneal_strategy: along half a cosine ("cos") or a line ("linear").
        last_epoch: where to go on; -1 begins. As in PyTorch, the annealing begins anew.

    Raises:
        ValueError: another `anneal_strategy`, a negative or broken `anneal_epochs`, a list of another length than there
            are groups.

    Source: https://docs.pytorch.org/docs/stable/optim.html#stochastic-weight-averaging
    """

    swa_lr: float | Sequence[float]
    anneal_epochs: int = 10
    anneal_strategy: Literal["cos", "linear"] = "cos"
    last_epoch: int = -1

    def __post_init__(self) -> None:
        if self.anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"SWALR: anneal_strategy must be 'cos' or 'linear', got {self.anneal_strategy!r}")
        if not isinstance(self.anneal_epochs, int) or self.anneal_epochs < 0:
            raise ValueError(f"SWALR: anneal_epochs must be an integer >= 0, got {self.anneal_epochs!r}")

    def _create(self, groups: Groups) -> tuple[Groups, Own]:
        target = per_group("SWALR", "swa_lr", self.swa_lr, groups["lr"].shape[0])
        return super()._create({**groups, "swa_lr": target})

    def _alpha(self, step: jax.Array) -> jax.Array:
        t = jnp.clip(divide(step, max(1, self.anneal_epochs)), 0.0, 1.0)
        return (1 - jnp.cos(math.pi * t)) / 2 if self.anneal_strategy == "cos" else t

    def _at(self, groups: Groups, own: Own, epoch: jax.Array) -> jax.Array:
        alpha = self._alpha(jnp.maximum(1.0, epoch) if self.anneal_epochs == 0 else epoch)
        return groups["swa_lr"] * alpha + own["base_lrs"] * (1 - alpha)

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        target, step = now.groups["swa_lr"], as_double(now.own["_step_count"] - 1)
        if self.anneal_epochs == 0:
            step = jnp.maximum(1.0, step)
        before, alpha = self._alpha(step - 1), self._alpha(step)
        first = jnp.where(before == 1, target, (now.lr - before * target) / (1 - before))
        return target * alpha + first * (1 - alpha)
