"""Callback: what a user's code may do at the seams of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxport.engine.training import Training


class Callback:
    """No-op hooks; a subclass overrides the ones it needs.

    Every hook gets the `Training`: where the run is, its history, the current weights, the learning rate, and ways to
    change them or to stop. Hooks run on the host between calls to the device. What they read waits for the device, so
    read only what is needed.

    Attributes:
        every_steps: None, or n: a call to the device ends at every n-th step of the run, so that `on_steps_end` is
            called there. None leaves the length of calls to the engine: `on_steps_end` then comes when it comes.
        every_epoch: whether the hooks around epochs need the weights and the learning rate at every epoch's end. Where
            no callback does, several short epochs run in one call to the device, and `on_epoch_end` is called for each
            afterwards: right for a callback that only reads `logs`.
    """

    every_steps: int | None = None
    every_epoch: bool = True

    def on_train_begin(self, training: Training) -> None:
        """Called once before the first step, after a checkpoint was restored."""

    def on_train_end(self, training: Training) -> None:
        """Called once after the last step, also after a stop or an interruption, not after an exception."""

    def on_epoch_begin(self, training: Training) -> None:
        """Called before an epoch's first step; ``training.epoch`` counts from 0."""

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Called after an epoch and its validation; `logs` is the history's new row (epoch, loss, …, lr, seconds)."""

    def on_steps_end(self, training: Training) -> None:
        """Called after each call to the device inside an epoch; ``training.step`` counts the steps taken so far."""

    def close(self) -> None:
        """Called last, also after an exception: the place to close files."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must keep of this callback: a dictionary of JSON values, arrays and lists."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned."""
