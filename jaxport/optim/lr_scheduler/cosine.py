"""Half a cosine, once and again (CosineAnnealingLR), or with restarts (CosineAnnealingWarmRestarts)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike

from .base import Groups, LRScheduler, LRState, Now, Own
from .double import as_double, divide, in_double


def _cosine(epoch: jax.Array, period: float) -> jax.Array:
    """Return cos(π t / T), rounded as on the host: the recursion loses digits where 1 + cos is close to zero."""
    return jnp.cos(divide(math.pi * epoch, period))


@dataclass(frozen=True)
class CosineAnnealingLR(LRScheduler):
    """Lower the rate to `eta_min` along half a cosine over `T_max` epochs, and raise it again.

    lrₜ = η + (lrₜ₋₁ - η) · (1 + cos(π t / T)) / (1 + cos(π (t - 1) / T)), which is the recursive form of
    η + (base_lr - η) · (1 + cos(π t / T)) / 2; where the denominator is zero, the first step upwards is added.

    Args:
        T_max: T, half a period.
        eta_min: η, the lowest rate.
        last_epoch: where to go on; -1 begins.

    Raises:
        ValueError: `T_max` is 0.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html
    """

    T_max: int
    eta_min: float = 0.0
    last_epoch: int = -1

    def __post_init__(self) -> None:
        if self.T_max == 0:
            raise ValueError("CosineAnnealingLR: T_max must not be 0")

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        if now.initial:
            return now.lr
        upwards = (now.base_lrs - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        ratio = (1 + _cosine(now.epoch, self.T_max)) / (1 + _cosine(now.epoch - 1, self.T_max))
        lowest = jnp.mod(now.epoch - 1 - self.T_max, 2 * self.T_max) == 0
        # Chosen before the sum: a product and a sum in one operation are rounded once, where PyTorch rounds twice.
        part = jnp.where(lowest, upwards, ratio * (now.lr - self.eta_min))
        return part + jnp.where(lowest, now.lr, self.eta_min)

    def get_closed_form_lr(self, epoch: jax.Array, base_lrs: jax.Array) -> jax.Array:
        """Return η + (base_lr - η) · (1 + cos(π t / T)) / 2."""
        return self.eta_min + (base_lrs - self.eta_min) * (1 + _cosine(epoch, self.T_max)) / 2


@dataclass(frozen=True)
class CosineAnnealingWarmRestarts(LRScheduler):
    """Lower the rate to `eta_min` along half a cosine, jump back, and do so again, each time `T_mult` times as slowly.

    lrₜ = η + (base_lr - η) · (1 + cos(π T_cur / Tᵢ)) / 2, with T_cur the epochs since the last of the restarts, and
    Tᵢ = T₀ · T_multⁱ the epochs between two of them.

    Args:
        T_0: T₀.
        T_mult: growth of Tᵢ at a restart.
        eta_min: η, the lowest rate.
        last_epoch: where to go on; -1 begins.

    Raises:
        ValueError: `T_0` or `T_mult` is not a positive integer, or `eta_min` no number.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingWarmRestarts.html
    """

    T_0: int
    T_mult: int = 1
    eta_min: float = 0.0
    last_epoch: int = -1

    def __post_init__(self) -> None:
        for name in ("T_0", "T_mult"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"CosineAnnealingWarmRestarts: {name} must be an integer >= 1, got {value!r}")
        if not isinstance(self.eta_min, (int, float)):
            raise ValueError(f"CosineAnnealingWarmRestarts: eta_min must be a number, got {self.eta_min!r}")

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates where ``now.own`` says that the cycle is."""
        cosine = jnp.cos(math.pi * now.own["T_cur"] / now.own["T_i"])
        return self.eta_min + (now.base_lrs - self.eta_min) * (1 + cosine) / 2

    def step(self, state: LRState, metric: ArrayLike | None = None, epoch: float | jax.Array | None = None) -> LRState:
        """Return the state one step later, or at any `epoch`, also between two whole ones.

        Raises:
            ValueError: `epoch` is negative (outside compiled code).
        """
        if epoch is None:
            return super().step(state, metric)
        if not isinstance(epoch, Tracer) and epoch < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: epoch must be >= 0, got {epoch}")

        def jump(state: LRState) -> LRState:
            own = {**state.scheduler, **self._position(as_double(epoch))}
            return LRState(self._move(self._now(state.groups, own, False)), own)

        return in_double(jump, state)

    def _initial_step(self, groups: Groups, own: Own) -> tuple[Groups, Own]:
        cycle = {"T_cur": as_double(self.last_epoch), "T_i": as_double(self.T_0), **own}
        return self._step(groups, {**cycle, "_step_count": jnp.zeros((), jnp.int32)}, initial=True)

    def _step(self, groups: Groups, own: Own, initial: bool = False) -> tuple[Groups, Own]:
        now, period = own["T_cur"] + 1, own["T_i"]
        restart = now >= period
        later = {
            "last_epoch": own["last_epoch"] + 1,
            "T_cur": jnp.where(restart, jnp.mod(now, period), now),
            "T_i": jnp.where(restart, period * self.T_mult, period),
        }
        begin = self._position(as_double(0.0))
        own = {**own, **{key: jnp.where(own["last_epoch"] < 0, begin[key], later[key]) for key in later}}
        return self._move(self._now(groups, own, initial)), own

    def _at(self, groups: Groups, own: Own, epoch: jax.Array) -> jax.Array:
        starts, period = [0], self.T_0  # of the cycles: a handful, unless all are alike
        while self.T_mult > 1 and starts[-1] + period < 2**31:
            starts, period = [*starts, starts[-1] + period], period * self.T_mult
        passed = jnp.asarray(starts, epoch.dtype)
        restarts = jnp.searchsorted(passed, epoch, side="right") - 1
        since = jnp.mod(epoch, self.T_0) if self.T_mult == 1 else epoch - passed[restarts]
        cycle = {"T_cur": since, "T_i": self.T_0 * float(self.T_mult) ** restarts.astype(epoch.dtype)}
        return self.get_lr(Now(epoch, groups["lr"], own["base_lrs"], False, groups, {**own, **cycle}))

    def _position(self, epoch: jax.Array) -> dict[str, Any]:
        """Return last_epoch, T_cur and Tᵢ at an epoch that need not be whole."""
        first, growth = as_double(self.T_0), float(self.T_mult)
        if self.T_mult == 1:
            since, period = jnp.mod(epoch, first), first
        else:
            # T₀ (1 + m + … + mⁿ⁻¹) ≤ t, solved for the number n of restarts
            passed = divide(jnp.log(divide(epoch, first) * (growth - 1) + 1), math.log(growth))
            period_growth = growth ** jnp.floor(passed)
            since = epoch - divide(first * (period_growth - 1), growth - 1)
            period = first * period_growth
        early = epoch < first
        return {
            "last_epoch": jnp.floor(epoch).astype(jnp.int32),
            "T_cur": jnp.where(early, epoch, since),
            "T_i": jnp.where(early, first, period),
        }
