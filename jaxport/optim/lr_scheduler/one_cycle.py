"""OneCycleLR: one rise and one fall over all of training, with the momentum the other way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from .base import Groups, LRScheduler, Now, Own, annealed, per_group
from .double import divide


class _Phase(NamedTuple):
    """A stretch of the schedule: its last step, and between which of the groups' fields rate and momentum move."""

    end: float
    lr: tuple[str, str]
    momentum: tuple[str, str]


def _is_count(number: object) -> bool:
    return isinstance(number, int) and number > 0


@dataclass(frozen=True)
class OneCycleLR(LRScheduler):
    """Raise the rate from max_lr/div_factor to max_lr, then let it fall to max_lr/(div_factor · final_div_factor).

    The momentum (or β₁) falls and rises the other way. With `three_phase` the rate first returns to where it began.

    Args:
        max_lr: highest rate, or one for each group; the optimiser's own rate is replaced.
        total_steps: of the whole schedule; or give `epochs` and `steps_per_epoch`.
        epochs: of training.
        steps_per_epoch: batches in an epoch.
        pct_start: share of the steps in which the rate rises, a float.
        anneal_strategy: along half a cosine ("cos") or a line ("linear").
        cycle_momentum: whether the momentum is moved too.
        base_momentum: lowest momentum, or one for each group.
        max_momentum: highest and first, or one for each group.
        div_factor: first rate = max_lr / div_factor.
        final_div_factor: last rate = first rate / final_div_factor.
        three_phase: whether to have the third phase.
        last_epoch: where to go on; -1 begins.

    Raises:
        ValueError: no number of steps, or a bad one; `pct_start` or `anneal_strategy` out of range; a first phase of no
            length; a step beyond the last, outside compiled code. Inside, the rate is NaN there.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html
    """

    max_lr: float | Sequence[float]
    total_steps: int | None = None
    epochs: int | None = None
    steps_per_epoch: int | None = None
    pct_start: float = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    cycle_momentum: bool = True
    base_momentum: float | Sequence[float] = 0.85
    max_momentum: float | Sequence[float] = 0.95
    div_factor: float = 25.0
    final_div_factor: float = 10000.0
    three_phase: bool = False
    last_epoch: int = -1

    def __post_init__(self) -> None:
        if self.total_steps is None and (self.epochs is None or self.steps_per_epoch is None):
            raise ValueError("OneCycleLR: give total_steps, or both epochs and steps_per_epoch")
        names = ("epochs", "steps_per_epoch") if self.total_steps is None else ("total_steps",)
        for name in names:
            if not _is_count(getattr(self, name)):
                raise ValueError(f"OneCycleLR: {name} must be a positive integer, got {getattr(self, name)!r}")
        if not isinstance(self.pct_start, float) or not 0 <= self.pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must be a float in [0, 1], got {self.pct_start!r}")
        if self.anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {self.anneal_strategy!r}")
        if self._phases[0].end == 0:
            raise ValueError(
                f"OneCycleLR: pct_start={self.pct_start} of {self._steps} steps is one step, and the rise has no length"
            )

    @property
    def _steps(self) -> int:
        return self.total_steps or (self.epochs or 0) * (self.steps_per_epoch or 0)

    @property
    def _phases(self) -> tuple[_Phase, ...]:
        rise, last = float(self.pct_start * self._steps), self._steps - 1
        up = _Phase(rise - 1, ("initial_lr", "max_lr"), ("max_momentum", "base_momentum"))
        down = ("base_momentum", "max_momentum")
        if not self.three_phase:
            return up, _Phase(last, ("max_lr", "min_lr"), down)
        back = _Phase(float(2 * self.pct_start * self._steps) - 2, ("max_lr", "initial_lr"), down)
        return up, back, _Phase(last, ("initial_lr", "min_lr"), ("max_momentum", "max_momentum"))

    def _create(self, groups: Groups) -> tuple[Groups, Own]:
        count = groups["lr"].shape[0]
        if self.last_epoch == -1:
            highest = per_group("OneCycleLR", "max_lr", self.max_lr, count)
            first = highest / self.div_factor
            groups = {**groups, "initial_lr": first, "max_lr": highest, "min_lr": first / self.final_div_factor}
        if self.cycle_momentum and self.last_epoch == -1:
            high = per_group("OneCycleLR", "max_momentum", self.max_momentum, count)
            low = per_group("OneCycleLR", "base_momentum", self.base_momentum, count)
            groups = {**groups, "momentum": high, "max_momentum": high, "base_momentum": low}
        wanted = ["max_lr", "min_lr", *(["momentum", "max_momentum", "base_momentum"] if self.cycle_momentum else [])]
        if missing := [name for name in wanted if name not in groups]:
            raise KeyError(
                f"OneCycleLR: last_epoch={self.last_epoch} goes on with a schedule and needs {', '.join(missing)}: "
                f"init(lr, initial_lr=…, {missing[0]}=…)"
            )
        return super()._create(groups)

    def _anneal(self, now: Now, kind: Literal["lr", "momentum"]) -> jax.Array:
        value, phases = jnp.full_like(now.lr, jnp.nan), self._phases
        # From the last phase to the first, so that the first whose end is not passed decides. PyTorch lets one step
        # pass beyond the end of the last.
        for number in reversed(range(len(phases))):
            phase, start = phases[number], phases[number - 1].end if number else 0.0
            fraction = divide(now.epoch - start, phase.end - start)
            first, last = (now.groups[name] for name in getattr(phase, kind))
            end = phase.end if number + 1 < len(phases) else self._steps
            value = jnp.where(now.epoch <= end, annealed(first, last, fraction, self.anneal_strategy), value)
        return value

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        return self._anneal(now, "lr")

    def _at(self, groups: Groups, own: Own, epoch: jax.Array) -> jax.Array:
        return self.get_lr(Now(epoch, groups["lr"], own["base_lrs"], False, groups, own))

    def _move(self, now: Now) -> Groups:
        groups = super()._move(now)
        return {**groups, "momentum": self._anneal(now, "momentum")} if self.cycle_momentum else groups

    def _check(self, own: Own) -> None:
        epoch = own["last_epoch"]
        if not isinstance(epoch, Tracer) and (epoch > self._steps).any():
            raise ValueError(f"OneCycleLR: step {epoch} is beyond the schedule's {self._steps} steps")
