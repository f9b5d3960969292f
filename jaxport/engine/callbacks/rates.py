"""Callbacks that change the learning rate from epoch to epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxport.errors import UsageError
from jaxport.optim import lr_scheduler

from .arguments import number
from .base import Callback
from .monitor import Monitor

if TYPE_CHECKING:
    from jaxport.engine.training import Training


class LearningRateScheduler(Callback):
    """Set the learning rate of each epoch.

    Args:
        schedule: a function (epoch, lr) → lr, called before each epoch (from 0) for each parameter group with its
            present rate; or a scheduler of `jaxport.optim.lr_scheduler`, which takes one step after each epoch.

    Raises:
        UsageError: `schedule` is neither, or a `lr_scheduler.ReduceLROnPlateau` (the callback of that name has a
            metric); the function returns no number ≥ 0; the optimiser keeps no learning rate in its state.

    Differs from Keras: a schedule object is one of PyTorch's; the function is called once for each parameter group. For
    a new rate after every step, wrap the optimiser: ``optim.scheduled(optimizer, scheduler)``.

    Source: https://keras.io/api/callbacks/learning_rate_scheduler/
    """

    def __init__(self, schedule: Callable[[int, float], float] | lr_scheduler.LRScheduler) -> None:
        if isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
            raise UsageError(
                "LearningRateScheduler: schedule is a ReduceLROnPlateau, which needs a metric; "
                "use callbacks.ReduceLROnPlateau(monitor=…)"
            )
        if not callable(schedule) and not isinstance(schedule, lr_scheduler.LRScheduler):
            wanted = "a function (epoch, lr) → lr or a scheduler of jaxport.optim.lr_scheduler"
            raise UsageError(f"LearningRateScheduler: schedule must be {wanted}, got {schedule!r}")
        self.schedule = schedule
        self._memory = _Memory("LearningRateScheduler")

    def on_train_begin(self, training: Training) -> None:
        """Take the scheduler's first step, as PyTorch's constructor does, or go on."""
        rates = rates_of("LearningRateScheduler", training)
        if isinstance(self.schedule, lr_scheduler.LRScheduler) and self._memory.begin(self.schedule, rates):
            training.lr = self._memory.rates

    def on_epoch_begin(self, training: Training) -> None:
        """Ask the function for the epoch's rates."""
        if isinstance(self.schedule, lr_scheduler.LRScheduler):
            return
        old = rates_of("LearningRateScheduler", training)
        new = [self.schedule(training.epoch, rate) for rate in old]
        name = f"schedule(epoch={training.epoch}, lr)"
        training.lr = [number("LearningRateScheduler", name, rate, least=0.0) for rate in new]

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Take the scheduler's step, for the next epoch."""
        if isinstance(self.schedule, lr_scheduler.LRScheduler):
            state = self._memory.state.replace_lr(list(training.lr or ()))
            self._memory.state = self.schedule.step(state)
            training.lr = self._memory.rates

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's arrays."""
        return self._memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self._memory.load_state_dict(state)


class ReduceLROnPlateau(Callback):
    """Multiply the learning rate by `factor` when a column has not improved for more than `patience` epochs.

    The rule is `jaxport.optim.lr_scheduler.ReduceLROnPlateau`, which is PyTorch's.

    Args:
        monitor: the column to watch. Epochs without it (validation every few epochs) do not count; NaN is no
            improvement.
        mode: whether the column should fall ("min") or rise ("max"); "auto" decides by its name.
        factor: of the rate, below 1.
        patience: epochs without improvement that are let pass.
        threshold: what counts as improvement.
        threshold_mode: relative to the best ("rel"), or absolute ("abs").
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: lowest rate, or one for each parameter group.
        eps: a reduction that is not larger than this is not made.

    Raises:
        UsageError: an argument is wrong; the optimiser keeps no learning rate in its state; at the first epoch's end:
            there is no such column.

    Differs from Keras: names and defaults are PyTorch's; Keras reduces when `patience` epochs have passed, PyTorch
    after one more, and its ``min_delta`` is ``threshold`` with threshold_mode "abs".

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.monitor = Monitor("ReduceLROnPlateau", monitor, mode)
        self._memory = _Memory("ReduceLROnPlateau")
        try:
            self.plateau = lr_scheduler.ReduceLROnPlateau(
                self.monitor.mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps
            )
        except ValueError as error:
            raise UsageError(str(error)) from error

    def on_train_begin(self, training: Training) -> None:
        """Start with the present rates, or go on."""
        self._memory.begin(self.plateau, rates_of("ReduceLROnPlateau", training))

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Count the epoch; lower the rate if it is time."""
        value = self.monitor.read(training, logs)
        if self.monitor.name not in logs:
            return
        before = self._memory.state.replace_lr(list(training.lr or ()))
        self._memory.state = self.plateau.step(before, float("nan") if value is None else value)
        if not np.array_equal(before.lr, self._memory.state.lr):
            training.lr = self._memory.rates

    def state_dict(self) -> dict[str, Any]:
        """Return the rule's counters."""
        return self._memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self._memory.load_state_dict(state)


class _Memory:
    """A scheduler's state between epochs and in a checkpoint, where it is the list of its arrays."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._state: lr_scheduler.LRState | None = None
        self._loaded: list[Any] | None = None

    @property
    def state(self) -> lr_scheduler.LRState:
        assert self._state is not None, "a hook was called before on_train_begin"
        return self._state

    @state.setter
    def state(self, state: lr_scheduler.LRState) -> None:
        self._state = state

    @property
    def rates(self) -> list[Any]:
        return list(self.state.lr)

    def begin(self, scheduler: lr_scheduler.LRScheduler, rates: list[float]) -> bool:
        """Start the scheduler, or go on with what was loaded; return whether it started."""
        try:
            fresh = scheduler.init(rates)
        except (ValueError, KeyError) as error:
            raise UsageError(f"{self.owner}: {error.args[0]}") from error
        loaded, self._loaded = self._loaded, None
        leaves, tree = jax.tree.flatten(fresh)
        if loaded is None:
            self.state = fresh
            return True
        if [np.shape(one) for one in loaded] != [np.shape(one) for one in leaves]:
            raise UsageError(f"{self.owner}: the checkpoint's schedule is another one than {scheduler!r}")
        arrays = [jnp.asarray(one, leaf.dtype) for one, leaf in zip(loaded, leaves, strict=True)]
        self.state = jax.tree.unflatten(tree, arrays)
        return False

    def state_dict(self) -> dict[str, Any]:
        return {"arrays": [] if self._state is None else [np.asarray(leaf) for leaf in jax.tree.leaves(self._state)]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._loaded = list(state["arrays"]) or None


def rates_of(owner: str, training: Training) -> list[float]:
    """Return the learning rates, one for each parameter group, as the user wrote them: 0.1 and not float32's 0.1.

    Raises:
        UsageError: the optimiser keeps none in its state.
    """
    rates = training.lr
    if rates is None:
        raise UsageError(
            f"{owner}: the optimiser keeps no learning rate in its state; use one of jaxport.optim, or give optax's "
            "optimiser a schedule"
        )
    return [float(str(np.float32(rate))) if float(np.float32(rate)) == rate else rate for rate in rates]
