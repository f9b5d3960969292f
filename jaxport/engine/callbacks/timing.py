"""Timing: how long compiling, an epoch and a step take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .arguments import whole_or_none
from .resumable import Resumable

if TYPE_CHECKING:
    from jaxport.engine.training import Training


class Timing(Resumable):
    """Measure a run: seconds for compiling, each epoch and a step, and examples in a second.

    Args:
        examples: of an epoch; None where the run knows, or for no examples per second.

    Attributes:
        seconds: of each epoch, its validation included.
        steps: taken in these epochs.
        total: seconds from the first step to the end, compiling and callbacks included, over all parts of a run that
            was resumed.

    Raises:
        UsageError: `examples` is no count.
    """

    every_epoch = False
    kept = ("seconds", "steps", "total", "compiling")

    def __init__(self, examples: int | None = None) -> None:
        self.examples = whole_or_none("Timing", "examples", examples, least=1)
        self.reset()

    def reset(self) -> None:
        """Forget an earlier run."""
        self.seconds: list[float] = []
        self.steps = 0
        self.total = self.compiling = 0.0
        self._before = 0.0
        self._start: float | None = None

    def on_train_begin(self, training: Training) -> None:
        """Start the clock."""
        super().on_train_begin(training)
        batches = getattr(training.source, "batches", None)  # what is not streamed says how much it is
        self._examples = self.examples or getattr(batches, "examples", None)
        self._before, self._earlier = self.total, self.compiling
        self._start = self._last = time.perf_counter()
        self._first_step = training.step - self.steps

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Note the epoch's seconds: those of the history where it has them."""
        now = time.perf_counter()
        self.seconds.append(float(logs.get("seconds", now - self._last)))
        self._last, self.steps = now, training.step - self._first_step
        self._count(training)

    def on_train_end(self, training: Training) -> None:
        """Stop the clock."""
        self._count(training)
        self._start = None

    def _count(self, training: Training) -> None:
        if self._start is not None:
            self.total = self._before + time.perf_counter() - self._start
            self.compiling = self._earlier + training.history.compile_seconds

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured, up to now."""
        if self._start is not None:
            self.total = self._before + time.perf_counter() - self._start
        return super().state_dict() | {"seconds": list(self.seconds)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        super().load_state_dict(state)
        self.seconds = [float(value) for value in self.seconds]

    def summary(self) -> dict[str, float]:
        """Return {"compile_seconds", "epochs", "epoch_seconds", "step_seconds", "steps_per_second", "total_seconds"}.

        epoch_seconds is the median of the epochs, step_seconds the mean over all of them; "examples_per_second" is
        there if the number of examples is known. Without a finished epoch only compiling and the total are.
        """
        result = {"compile_seconds": self.compiling, "total_seconds": self.total, "epochs": float(len(self.seconds))}
        spent = sum(self.seconds)
        if self.seconds and spent > 0:
            result["epoch_seconds"] = statistics.median(self.seconds)
            if self.steps:
                result |= {"step_seconds": spent / self.steps, "steps_per_second": self.steps / spent}
            if self._examples is not None:
                result["examples_per_second"] = self._examples * len(self.seconds) / spent
        return result

    def __str__(self) -> str:
        values = self.summary()
        text = f"{len(self.seconds):,} epochs in {values['total_seconds']:.2f} s, {self.compiling:.2f} s compiling"
        if "epoch_seconds" in values:
            text += f"; {_duration(values['epoch_seconds'])} an epoch"
        if "step_seconds" in values:
            text += f", {_duration(values['step_seconds'])} a step"
        if "examples_per_second" in values:
            text += f", {values['examples_per_second']:,.0f} examples a second"
        return text


def _duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
