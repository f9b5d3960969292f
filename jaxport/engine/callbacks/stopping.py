"""Callbacks that end a run before its last epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .arguments import number, whole
from .base import Callback
from .monitor import Monitor
from .resumable import Resumable

if TYPE_CHECKING:
    from jaxport.engine.training import Training


class EarlyStopping(Resumable):
    """Stop when a column has not improved for `patience` epochs, and put the best epoch's weights back.

    An epoch improves on the best so far if it is better by more than `min_delta`. Training stops at the first epoch
    that is `patience` or more epochs after the last improvement; patience 0 stops like patience 1.

    Args:
        monitor: the column to watch.
        min_delta: smaller improvements do not count.
        patience: epochs without improvement after which to stop.
        mode: whether the column should fall ("min") or rise ("max"); "auto" decides by its name.
        baseline: a value that must be beaten as well: improvements short of it do not restart the count.
        restore_best_weights: whether the model ends with the weights (and buffers) of the best epoch, also if the run
            came to its last epoch. After Ctrl-C it keeps the last weights, so that the run can go on.
        start_from_epoch: epochs at the start that are not watched.

    Attributes:
        best: the best value, None before the first.
        best_epoch: the epoch of it, from 1.
        stopped_epoch: the epoch at which this callback stopped the run, from 1; None if it did not.

    Raises:
        UsageError: an argument is wrong; at the first epoch's end: there is no such column.

    Differs from Keras: restore_best_weights is True by default; an epoch whose value is NaN never improves, and counts
    as one without improvement (Keras takes a NaN in the first epoch as the best for ever); epochs without the column
    (validation every few epochs) do not count; epochs are numbered from 1, as in the history.

    Source: https://keras.io/api/callbacks/early_stopping/
    """

    kept = ("best", "best_epoch", "best_weights", "stopped_epoch", "wait")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = True,
        start_from_epoch: int = 0,
    ) -> None:
        owner = "EarlyStopping"
        self.monitor = Monitor(owner, monitor, mode)
        self.min_delta = number(owner, "min_delta", min_delta, least=0.0)
        self.patience = whole(owner, "patience", patience, least=0)
        self.baseline = None if baseline is None else number(owner, "baseline", baseline)
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = whole(owner, "start_from_epoch", start_from_epoch, least=0)
        self.reset()

    def reset(self) -> None:
        """Forget the best of an earlier run."""
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.best_weights: list[Any] | None = None
        self.stopped_epoch: int | None = None
        self.wait = 0

    def on_train_begin(self, training: Training) -> None:
        """Start anew, or go on; a run that was stopped stays so, unless `patience` has grown."""
        super().on_train_begin(training)
        if self.stopped_epoch is not None and self.wait >= self.patience:
            training.stop(self._reason())
        self.stopped_epoch = None if self.wait < self.patience else self.stopped_epoch

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Compare the epoch with the best, keep its weights or stop."""
        epoch, value = int(logs["epoch"]), self.monitor.read(training, logs)
        if self.monitor.name not in logs or epoch <= self.start_from_epoch:
            return
        if self.best_weights is None and self.restore_best_weights:
            self._keep(training, epoch)  # what remains if no epoch has a number
        self.wait += 1
        if value is not None and self.monitor.better(value, self.best, self.min_delta):
            self.best = value
            self._keep(training, epoch)
            if self.baseline is None or self.monitor.better(value, self.baseline, self.min_delta):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 1:
            self.stopped_epoch = epoch
            training.stop(self._reason())

    def on_train_end(self, training: Training) -> None:
        """Put the best weights back, unless the run was interrupted and may go on."""
        if self.best_weights is not None and not training.history.interrupted:
            training.set_weights(self.best_weights)

    def _keep(self, training: Training, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = training.get_weights()

    def _reason(self) -> str:
        if self.best is None:
            return f"{self.monitor.name} is NaN"
        beaten = "" if self.baseline is None else f" and the baseline {self.baseline:g}"
        return f"{self.monitor.name} has not improved on {self.best:.6g} of epoch {self.best_epoch}{beaten}"


class TerminateOnNaN(Callback):
    """Stop at the first step whose loss, gradients or new parameters are not finite, and name the tensor.

    The state stays as it was before that step: the model keeps its last finite weights.

    Differs from Keras: the step itself is guarded, on the device; Keras looks at the loss alone, on the host.

    Source: https://keras.io/api/callbacks/terminate_on_nan/
    """

    every_epoch = False
    guard = True  # the loop compiles the check into the step

    def on_steps_end(self, training: Training) -> None:
        """Stop if a step was bad."""
        step, tensor = getattr(training, "bad_step", None), getattr(training, "bad_tensor", None)
        if step is not None:
            training.stop(f"step {step}: {tensor or 'a tensor'} is not finite")

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Stop if a step was bad, or the epoch's loss is not finite."""
        self.on_steps_end(training)
        if not math.isfinite(logs.get("loss", 0.0)):
            training.stop(f"epoch {int(logs['epoch'])}: the loss is {logs['loss']}")
