"""ProgressBar: where a run is, as a bar on a terminal and as lines elsewhere."""

from __future__ import annotations

import importlib.util
import math
import time
from typing import TYPE_CHECKING

from jaxport.errors import UsageError
from jaxport.viz.history import ABOUT_THE_RUN

from .arguments import whole_or_none
from .base import Callback
from .processes import writes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from jaxport.engine.training import Training

LINES = 100  # lines for epochs in a run of many, if nothing else is asked for


class ProgressBar(Callback):
    """Show epoch, steps, loss, metrics, seconds and the time left.

    On a terminal a bar is drawn below a line for each epoch, in a notebook likewise (with ipywidgets); elsewhere there
    are the lines alone. ``fit(verbose=0)`` shows nothing.

    Args:
        log_every: also print a line with loss and metrics of the epoch so far every so many steps; each waits for the
            device.
        every_epochs: epochs from one line to the next; None prints each, but no more than about 100 in all.
        console: where to print; None for standard error.

    Raises:
        UsageError: an argument is wrong.
    """

    every_epoch = False

    def __init__(
        self, log_every: int | None = None, every_epochs: int | None = None, console: Console | None = None
    ) -> None:
        self.log_every = self.every_steps = whole_or_none("ProgressBar", "log_every", log_every, least=1)
        self.every_epochs = whole_or_none("ProgressBar", "every_epochs", every_epochs, least=1)
        if console is not None and not hasattr(console, "print"):
            raise UsageError(f"ProgressBar: console must be a rich.console.Console, got {console!r}")
        self.console = console
        self._bar: Progress | None = None

    def on_train_begin(self, training: Training) -> None:
        """Start the bar."""
        from rich.console import Console

        self.close()
        self._out = self.console or Console(stderr=True)
        self._start, self._first_step, self._epoch_start = time.perf_counter(), training.step, time.perf_counter()
        self._seconds: list[float] = []
        if training.verbose > 0 and writes() and _live(self._out):
            self._bar = _bar(self._out)
            self._task = self._bar.add_task("compiling", total=None)
            self._bar.start()
        if training.verbose > 1:
            self._print(f"{training.plan}")

    def on_steps_end(self, training: Training) -> None:
        """Move the bar; print a line if it is time. Nothing waits for the device but that line."""
        if training.verbose < 1:
            return
        self._move(training, training.epoch + 1)
        if self.log_every is not None and training.step % self.log_every == 0:
            values = _values(training.logs())
            self._print(f"epoch {_of(training.epoch + 1, training.epochs)}  step {training.step:,}  {values}")

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Print the epoch's line."""
        now = time.perf_counter()
        seconds, self._epoch_start = logs.get("seconds", now - self._epoch_start), now
        self._seconds = [*self._seconds[-9:], seconds]
        if training.verbose < 1:
            return
        epoch, every = int(logs["epoch"]), self.every_epochs or -(-training.epochs // LINES)
        self._move(training, epoch)
        if epoch % every == 0 or epoch in (1, training.epochs):
            left = (training.epochs - epoch) * sum(self._seconds) / len(self._seconds)
            end = f"  left {_clock(left)}" if left else ""
            self._print(f"epoch {_of(epoch, training.epochs)}  {_values(logs)}  {_short(seconds)}{end}")

    def on_train_end(self, training: Training) -> None:
        """Take the bar away, and say how long it took and why the run stopped."""
        self.close()
        if training.verbose < 1:
            return
        if training.stop_reason is not None:
            self._print(f"stopped: {training.stop_reason}")
        steps, seconds = training.step - self._first_step, time.perf_counter() - self._start
        self._print(f"{steps:,} steps in {_short(seconds)}")

    def close(self) -> None:
        """Take the bar away; also right when no run is going on, or one ended in an exception."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()

    def _move(self, training: Training, epoch: int) -> None:
        if self._bar is not None:
            each = training.steps_per_epoch
            total = None if each is None else each * training.epochs
            text = f"epoch {_of(epoch, training.epochs)}"
            if training.known_loss is not None:
                text += f"  loss {_number(training.known_loss)}"
            self._bar.update(self._task, description=text, completed=training.step, total=total)

    def _print(self, line: str) -> None:
        if writes():
            self._out.print(line, highlight=False, markup=False, soft_wrap=True)


def _live(console: Console) -> bool:
    """Whether a bar can be redrawn in place."""
    if console.is_jupyter:
        return importlib.util.find_spec("ipywidgets") is not None
    return console.is_terminal and not console.is_dumb_terminal


def _bar(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), Remaining())
    return Progress(*columns, console=console, transient=True)


def _values(logs: dict[str, float]) -> str:
    known = [(name, value) for name, value in logs.items() if name not in ABOUT_THE_RUN]
    return "  ".join(f"{name} {_number(value)}" for name, value in known)


def _number(value: float) -> str:
    small = value != 0 and abs(value) < 1e-3 and math.isfinite(value)
    return f"{value:.3e}" if small else f"{value:.4f}"


def _of(epoch: int, epochs: int) -> str:
    return f"{epoch:>{len(str(epochs))}}/{epochs}"


def _short(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 60 else _clock(seconds)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
