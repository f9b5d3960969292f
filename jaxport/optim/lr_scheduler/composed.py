"""Several schedules at once (ChainedScheduler) or one after the other (SequentialLR)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .base import Groups, LRScheduler, Own
from .plateau import ReduceLROnPlateau


class _Composed(LRScheduler):
    """What both share: the schedulers, made one after the other; each starts from the rates of the one before."""

    schedulers: Sequence[LRScheduler]

    def _check_schedulers(self) -> None:
        owner = type(self).__name__
        object.__setattr__(self, "schedulers", tuple(self.schedulers))
        if not self.schedulers:
            raise ValueError(f"{owner}: schedulers must have at least one scheduler, got none")
        for index, scheduler in enumerate(self.schedulers):
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(f"{owner}: schedulers[{index}] must be a scheduler, got {type(scheduler).__name__}")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{owner}: schedulers[{index}] must not be a ReduceLROnPlateau, which needs a metric at each step"
                )

    def _create_all(self, groups: Groups) -> tuple[Groups, list[Own]]:
        owns = []
        for scheduler in self.schedulers:
            groups, own = scheduler._create(groups)
            owns.append(own)
        return groups, owns

    def _initial_step(self, groups: Groups, own: Own) -> tuple[Groups, Own]:
        return self._step(groups, own)

    def _undo(self, own: Own) -> Own:
        pairs = zip(self.schedulers, own["_schedulers"], strict=True)
        return {**own, "_schedulers": [scheduler._undo(child) for scheduler, child in pairs]}

    def _check(self, own: Own) -> None:
        for scheduler, child in zip(self.schedulers, own["_schedulers"], strict=True):
            scheduler._check(child)


@dataclass(frozen=True)
class ChainedScheduler(_Composed):
    """Take the steps of several schedulers one after the other, on the same rates.

    Args:
        schedulers: each in the order in which PyTorch's were made and are stepped.

    Raises:
        ValueError: no scheduler, or a ReduceLROnPlateau.
        TypeError: something that is no scheduler.

    Differs from PyTorch: no `optimizer`; there is none to belong to.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ChainedScheduler.html
    """

    schedulers: Sequence[LRScheduler]

    def __post_init__(self) -> None:
        self._check_schedulers()

    def _create(self, groups: Groups) -> tuple[Groups, Own]:
        groups, owns = self._create_all(groups)
        return groups, {"_schedulers": owns}

    def _at(self, groups: Groups, own: Own, epoch: jax.Array) -> jax.Array:
        raise TypeError("ChainedScheduler is no function of the step alone; give as_schedule(…, total=steps)")

    def _step(self, groups: Groups, own: Own, initial: bool = False) -> tuple[Groups, Own]:
        owns = []
        for scheduler, child in zip(self.schedulers, own["_schedulers"], strict=True):
            groups, child = scheduler._step(groups, child)
            owns.append(child)
        return groups, {**own, "_schedulers": owns}


@dataclass(frozen=True)
class SequentialLR(_Composed):
    """Follow one schedule until a milestone, then the next from its beginning.

    At a milestone the next scheduler begins with its epoch 0, from the rates that training began with; by its closed
    form, where it has one.

    Args:
        schedulers: one after the other.
        milestones: epochs at which the next one begins, one fewer than there are schedulers.
        last_epoch: -1.

    Raises:
        ValueError: no scheduler, a wrong number of milestones or falling ones; a ReduceLROnPlateau; a ChainedScheduler
            or SequentialLR in any place but the first (PyTorch fails when it reaches one).
        TypeError: something that is no scheduler.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.SequentialLR.html
    """

    schedulers: Sequence[LRScheduler]
    milestones: Sequence[int]
    last_epoch: int = -1

    def __post_init__(self) -> None:
        self._check_schedulers()
        object.__setattr__(self, "milestones", tuple(self.milestones))
        if len(self.milestones) != len(self.schedulers) - 1:
            raise ValueError(
                f"SequentialLR: milestones must be one fewer than the {len(self.schedulers)} schedulers, "
                f"got {len(self.milestones)}"
            )
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError(f"SequentialLR: milestones must not fall, got {list(self.milestones)}")
        for index, scheduler in enumerate(self.schedulers):
            if index and isinstance(scheduler, _Composed):
                raise ValueError(
                    f"SequentialLR: schedulers[{index}] must not be a {type(scheduler).__name__}, which cannot begin "
                    "at a milestone; put its parts here"
                )

    def _at(self, groups: Groups, own: Own, epoch: jax.Array) -> jax.Array:
        lr = self.schedulers[0]._at(groups, own["_schedulers"][0], epoch)
        for scheduler, child, start in zip(self.schedulers[1:], own["_schedulers"][1:], self.milestones, strict=True):
            lr = jnp.where(epoch >= start, scheduler._at(groups, child, epoch - start), lr)
        return lr

    def _create(self, groups: Groups) -> tuple[Groups, Own]:
        groups, owns = self._create_all(groups)
        groups = {**groups, "lr": groups["initial_lr"]}
        own = self._undo({"last_epoch": jnp.asarray(self.last_epoch + 1, jnp.int32), "_schedulers": owns})
        first = sum(milestone <= 0 for milestone in self.milestones)
        owns = list(own["_schedulers"])
        groups, owns[first] = self.schedulers[first]._initial_step(groups, owns[first])
        return groups, {**own, "_schedulers": owns}

    def _step(self, groups: Groups, own: Own, initial: bool = False) -> tuple[Groups, Own]:
        epoch = own["last_epoch"] + 1

        def follow(index: int) -> Any:
            scheduler = self.schedulers[index]

            def step(groups: Groups, owns: list[Own]) -> tuple[Groups, list[Own]]:
                groups, child = scheduler._step(groups, owns[index])
                return groups, [*owns[:index], child, *owns[index + 1 :]]

            def begin(groups: Groups, owns: list[Own]) -> tuple[Groups, list[Own]]:
                groups, child = scheduler._restart(groups, owns[index])
                return groups, [*owns[:index], child, *owns[index + 1 :]]

            if index == 0:
                return step
            return lambda *args: lax.cond(epoch == self.milestones[index - 1], begin, step, *args)

        passed = sum((epoch >= milestone).astype(jnp.int32) for milestone in self.milestones)
        branches = [follow(index) for index in range(len(self.schedulers))]
        groups, owns = lax.switch(jnp.asarray(passed, jnp.int32), branches, groups, own["_schedulers"])
        return groups, {**own, "last_epoch": epoch, "_schedulers": owns}
