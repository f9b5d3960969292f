"""The loop over epochs: one order of events, whichever way the steps are dispatched."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .callbacks import Callback
from .dispatch import Plan
from .evaluator import Evaluator, rows_of
from .interrupt import StopRequest
from .programs import Programs, lr_of
from .sources import Resident, Source, Streamed
from .state import Batch, Totals
from .training import Training

# Epochs of a compiled loop are brought together up to this many steps, so that a short epoch does not wait for calls.
_STEPS_PER_CALL = 2_000
# Steps that may be queued on the device before the host waits for the oldest.
_QUEUE = 2


class Progress(NamedTuple):
    """Where a run is: `step` of `steps` (over all epochs), the last known loss, and a finished epoch's row."""

    epoch: int
    step: int
    steps: int
    loss: float | None = None
    row: dict[str, float] | None = None


OnProgress = Callable[[Progress], None]


class Loop:
    """Drives one run of given programs, sources and callbacks, from where `training` stands to the end.

    Args:
        training: the handle that callbacks get; its position may lie inside an epoch.
        programs: what is called.
        plan: how steps are dispatched.
        train: where batches come from.
        validation: the same, evaluated after every `validate_every` epochs; None for no validation.
        callbacks: called at the seams.
        on_progress: called between calls to the device, with values that are there already.
        validate_every: epochs.
    """

    def __init__(
        self,
        training: Training,
        programs: Programs,
        plan: Plan,
        train: Source,
        validation: Evaluator | None,
        callbacks: Sequence[Callback] = (),
        on_progress: OnProgress | None = None,
        validate_every: int = 1,
    ) -> None:
        self.training, self.programs, self.plan, self.train = training, programs, plan, train
        self.validation, self.callbacks, self.on_progress = validation, list(callbacks), on_progress
        self.validate_every, self.every = validate_every, [c.every_steps for c in callbacks if c.every_steps]
        self.known_loss: float | None = None
        self.places: list[tuple[int, int]] = []  # (epoch, step at which it began) of what was run last
        self._queue: deque[jax.Array] = deque()
        self._unbegun: Sequence[Callback] | None = None
        training.read_logs = self._logs

    # ----------------------------------------------------------------------------------------------------- the epochs

    def run(self, stop: StopRequest) -> None:
        """Run all epochs that are left."""
        training = self.training
        owed, training.owed = training.owed, None
        self._tell("on_train_begin")
        if owed is not None and owed[0] == "on_epoch_end":
            self._tell_epoch_end(owed[1])
        self._unbegun = owed[1] if owed is not None and owed[0] == "on_epoch_begin" else None
        while training.epoch < training.epochs and not training.stop_reason and not training.history.interrupted:
            if self._together():
                self._epochs(stop)
            else:
                self._epoch(stop)
        self._tell("on_train_end")

    def _together(self) -> bool:
        """Return whether several epochs may run in one call."""
        train, validation = self.train, self.validation
        resident = isinstance(train, Resident) and train.traceable
        plain = validation is None or (isinstance(validation.source, Resident) and self.validate_every == 1)
        watched = any(callback.every_epoch or callback.every_steps for callback in self.callbacks)
        return (
            self.plan.dispatch == "scan"
            and self.plan.steps_per_call is None
            and resident
            and plain
            and not watched
            and self.training.step_in_epoch == 0
        )

    def _epochs(self, stop: StopRequest) -> None:
        """Run whole epochs in calls of several, until the end or a stop."""
        training, source, validation = self.training, self.train, self.validation
        assert isinstance(source, Resident)
        val = validation.source if validation else None
        assert val is None or isinstance(val, Resident)
        per_call = max(1, _STEPS_PER_CALL // source.steps)
        programs = self.programs

        fixed = source.fixed, val.fixed if val else None, per_call

        def call(state: Any, data: Any, val_data: Any, key: Any, first: Any, count: Any) -> Any:
            return programs.epochs(source, val, per_call, state, data, val_data, key, first, count)

        while training.epoch < training.epochs:
            start, compiling = time.perf_counter(), programs.compile_seconds
            first, count = training.epoch, min(per_call, training.epochs - training.epoch)
            for number in range(first, first + count):
                training.epoch = number
                self._begin_epoch()
            arguments = (source.data, val.data if val else None, source.key, np.int32(first), np.int32(count))
            called = programs.call("epochs", call, training.state, *arguments, donate=(0,), fixed=fixed)
            training.state, rows = called
            columns = {name: np.asarray(rows[name])[:count].tolist() for name in self._columns(rows)}
            seconds = (time.perf_counter() - start - (programs.compile_seconds - compiling)) / count
            columns["seconds"] = [seconds] * count
            begun, training.step = training.step, training.step + count * source.steps
            self.places[:] = [(first + i, begun + i * source.steps) for i in range(count)]
            self._look_for_bad()
            for i in range(count):
                training.epoch = first + i + 1
                if training.bad_step is not None:
                    training.step = min(training.step, training.bad_step)
                self._finish_epoch({name: column[i] for name, column in columns.items()}, tell=i == count - 1)
                if training.bad_step is not None and training.bad_step < begun + (i + 1) * source.steps:
                    break
            if self._stopped(stop):
                return

    def _stopped(self, stop: StopRequest) -> bool:
        """Return whether to stop before the end, and note why."""
        training = self.training
        if stop and training.epoch < training.epochs:
            training.history.interrupted = True
        return training.history.interrupted or training.stop_reason is not None

    def _epoch(self, stop: StopRequest) -> None:
        """Run what is left of one epoch."""
        training, programs = self.training, self.programs
        start, compiling = time.perf_counter(), programs.compile_seconds
        self.places[:] = [(training.epoch, training.step - training.step_in_epoch)]
        if training.step_in_epoch == 0 or training.totals is None:
            training.totals = None
            self._begin_epoch()
        row = {name: float(value) for name, value in lr_of(training.state.opt_state).items()}
        if training.step_in_epoch:
            row = training.epoch_row or row
        training.epoch_row = row
        calls = self._resident_calls() if isinstance(self.train, Resident) else self._streamed_calls(self.train)
        whole = True
        for loss, is_last in calls:
            self._after_call(loss)
            if training.stop_reason or (stop and not (is_last and training.epoch == training.epochs - 1)):
                training.history.interrupted = bool(stop) and not training.stop_reason
                whole = is_last
                break
        self._drain()
        if not whole:
            return
        row = {**self._logs(), **row}
        if self.validation is not None and (training.epoch + 1) % self.validate_every == 0:
            row |= {f"val_{name}": value for name, value in self.validation.run(training.state).items()}
        row["seconds"] = time.perf_counter() - start - (programs.compile_seconds - compiling)
        training.epoch, training.step_in_epoch, training.totals = training.epoch + 1, 0, None
        self._finish_epoch({name: row[name] for name in self._columns(row)} | {"seconds": row["seconds"]}, tell=True)

    def _columns(self, row: Any) -> list[str]:
        """Return the row's names in the history's order (a dictionary that has been through jit is sorted by name)."""
        task, extra = self.programs.task, self.programs.extra
        names = ["loss", *(metric.name for metric in task.metrics), *extra]
        names = [*names, *(f"val_{name}" for name in names), "lr"]
        others = [name for name in row if name.startswith("val_") and name not in names]
        return [name for name in [*names[:-1], *others, "lr"] if name in row]

    def _finish_epoch(self, row: dict[str, float], tell: bool) -> None:
        """Add an epoch to the history and tell everybody; ``training.epoch`` epochs are done."""
        training = self.training
        training.history.append({"epoch": [training.epoch], **{name: [value] for name, value in row.items()}})
        training.epoch_row = row
        self._tell_epoch_end(self.callbacks)
        if tell and self.on_progress is not None:
            steps = training.steps_per_epoch or 0
            told = Progress(training.epoch, training.epoch * steps, training.epochs * steps, row["loss"], row)
            self.on_progress(told)

    def _begin_epoch(self) -> None:
        """Call `on_epoch_begin`; after an exception in it, only of those that it was not called of."""
        left, self._unbegun = self._unbegun, None
        left = list(self.callbacks if left is None else left)
        for index, callback in enumerate(left):
            self.training.owed = "on_epoch_begin", left[index:]
            callback.on_epoch_begin(self.training)
        self.training.owed = None

    def _tell_epoch_end(self, left: Sequence[Callback]) -> None:
        """Call `on_epoch_end` with the row of the epoch that is done."""
        training = self.training
        logs = {"epoch": training.epoch, **training.epoch_row}
        for index, callback in enumerate(left):
            training.owed = "on_epoch_end", list(left[index:])
            callback.on_epoch_end(training, dict(logs))
        training.owed = None

    # ------------------------------------------------------------------------------------------------------ the steps

    def _resident_calls(self) -> Iterator[tuple[Any, bool]]:
        """Call the device for the epoch's steps; yield each call's last loss, and whether the epoch is done."""
        training, programs, source = self.training, self.programs, self.train
        assert isinstance(source, Resident)
        single = self.plan.steps_per_call == 1
        order = self._order(source, training.epoch)
        epoch = np.int32(training.epoch)
        if training.totals is None:
            training.totals = programs.empty(source.rows)

        def one(state: Any, totals: Any, data: Any, order: Any, epoch: Any, i: Any) -> Any:
            return programs.one(source, state, totals, data, order, epoch, i)

        def some(state: Any, totals: Any, data: Any, order: Any, epoch: Any, first: Any, end: Any) -> Any:
            return programs.some(source, state, totals, data, order, epoch, first, end)

        while training.step_in_epoch < source.steps:
            first = training.step_in_epoch
            count = self._count(source.steps - first)
            arguments = (training.state, training.totals, source.data, order, epoch, np.int32(first))
            if single:
                called = programs.call("step", one, *arguments, donate=(0, 1), fixed=source.fixed)
            else:
                end = np.int32(first + count)
                called = programs.call("steps", some, *arguments, end, donate=(0, 1), fixed=source.fixed)
            training.state, training.totals, loss = called
            training.step_in_epoch, training.step = first + count, training.step + count
            yield loss, training.step_in_epoch == source.steps

    def _order(self, source: Resident, epoch: int) -> jax.Array:
        if not source.traceable or self.programs.eager:
            return self.programs.place.put(source.order(epoch))
        order = lambda key, epoch: source.with_key(key).order(epoch)  # noqa: E731
        return self.programs.call("order", order, source.key, np.int32(epoch), fixed=source.fixed)

    def _count(self, left: int) -> int:
        """Return the steps of the next call: as planned, and never over a step that a callback asked for."""
        count = min(left, self.plan.steps_per_call or left)
        return min([count, *(every - self.training.step % every for every in self.every)])

    def _streamed_calls(self, source: Streamed) -> Iterator[tuple[Any, bool]]:
        """The same for batches that come from the host."""
        training, programs = self.training, self.programs
        if source.steps is not None and training.step_in_epoch >= source.steps:
            return  # resumed behind the last one
        batches = source.epoch(training.epoch, training.step_in_epoch)
        upcoming = next(batches, None)
        while upcoming is not None:
            taken, count = [upcoming], self._count(self.plan.steps_per_call or 1)
            upcoming = next(batches, None)
            while upcoming is not None and len(taken) < count and _shapes(upcoming) == _shapes(taken[0]):
                taken.append(upcoming)
                upcoming = next(batches, None)
            if training.totals is None:
                training.totals = programs.empty(rows_of(source, taken[0]))
            loss = self._send(taken, source.own)
            training.step_in_epoch, training.step = training.step_in_epoch + len(taken), training.step + len(taken)
            yield loss, upcoming is None

    def _send(self, batches: list[Batch], own: bool) -> Any:
        training, programs, per_call = self.training, self.programs, self.plan.steps_per_call or 1
        if per_call == 1:
            batch = programs.place.put_batch(batches[0], own=own)
            arguments = (training.state, training.totals, batch)
            training.state, training.totals, loss = programs.call("batch", programs.batch, *arguments, donate=(0, 1))
            return loss
        # A last chunk that is short is filled up, so that all chunks have one shape.
        filled = batches + batches[:1] * (per_call - len(batches))
        stacked = programs.place.put_batch(jax.tree.map(lambda *arrays: np.stack(arrays), *filled), 1, own)
        arguments = (training.state, training.totals, stacked, np.int32(len(batches)))
        training.state, training.totals, loss = programs.call("chunk", programs.chunk, *arguments, donate=(0, 1))
        return loss

    # ------------------------------------------------------------------------------------------------------- the rest

    def _after_call(self, loss: Any) -> None:
        """Wait until the device is at most a few calls behind, and tell who wants to know."""
        training = self.training
        self._queue.append(loss)
        if len(self._queue) > _QUEUE:
            self._pop()
        if training.state.bad is not None and self.plan.steps_per_call != 1:
            self._look_for_bad()
        for callback in self.callbacks:
            callback.on_steps_end(training)

    def _pop(self) -> None:
        training = self.training
        self.known_loss = float(self._queue.popleft())
        training.known_loss = self.known_loss
        if self.on_progress is not None:
            steps = training.steps_per_epoch or 0
            self.on_progress(Progress(training.epoch + 1, training.step, training.epochs * steps, self.known_loss))

    def _look_for_bad(self) -> None:
        """Find out whether a step was not finite, where that is watched, and which of its tensors was the first."""
        training = self.training
        bad = -1 if training.state.bad is None else int(training.state.bad)
        if bad >= 0 and training.bad_step is None:
            training.bad_step = bad
            training.bad_tensor = training.diagnose()

    def place_of(self, step: int) -> tuple[int, int]:
        """Return (epoch, step in it) of a step that was run last."""
        epoch, begun = next(place for place in reversed(self.places) if place[1] <= step)
        return epoch, step - begun

    def _drain(self) -> None:
        self._queue.clear()
        self._look_for_bad()

    def _logs(self) -> dict[str, float]:
        """Return loss and metrics of the epoch so far; waits for the device."""
        totals: Totals | None = self.training.totals
        if totals is None:
            return {}
        row = jax.device_get(self.programs.read(totals))
        return {name: float(row[name]) for name in self._columns(row)}

    def _tell(self, hook: str) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self.training)


def _shapes(batch: Batch) -> list[Any]:
    return [(np.shape(leaf), leaf.dtype) for leaf in jax.tree.leaves(batch)]
