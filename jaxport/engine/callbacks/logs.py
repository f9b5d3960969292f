"""CSVLogger and JSONLinesLogger: a line in a file for each epoch, as soon as it is over."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

from jaxport.errors import UsageError
from jaxport.viz.table import write_atomic

from .arguments import path_of
from .processes import writes
from .resumable import Resumable

if TYPE_CHECKING:
    import os

    from jaxport.engine.training import Training


class _EpochLog(Resumable):
    """A file with a line for each epoch.

    A line is one write, so that a killed run leaves complete lines. A run that goes on from a checkpoint first takes
    the lines away that were written after it; lines that are missing come from the history.
    """

    every_epoch = False
    kept = ("lines", "epoch")
    header = 0  # lines above the epochs'

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path = path_of(type(self).__name__, "path", path)
        self.append = append
        self.reset()

    def reset(self) -> None:
        """Forget the file of an earlier run."""
        self.lines = 0  # in the file, those of earlier runs too
        self.epoch = 0  # the last one written

    def on_train_begin(self, training: Training) -> None:
        """Begin the file, or take it back to where the checkpoint was written."""
        resumed = self.resumed
        super().on_train_begin(training)
        found = self._read().splitlines(keepends=True) if resumed or self.append else []
        found = [line for line in found if line.endswith(b"\n")]  # a line cut short is no line
        if not resumed:
            self.lines = max(0, len(found) - self.header)
        elif len(found) < self.lines + self.header:  # not the file that the checkpoint's run wrote
            self.reset()
        if resumed:
            found = found[: self.lines + self.header] if self.lines else []
        self._begin(b"".join(found))
        history = training.history
        for index, epoch in enumerate(history.columns.get("epoch", ())):
            if resumed and epoch > self.epoch:
                self._add(history.row(index))

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Write the epoch's line, unless it came from the history already."""
        if int(logs["epoch"]) > self.epoch:
            self._add(logs)

    def _begin(self, content: bytes) -> None:
        if writes():
            write_atomic(self.path, content)

    def _add(self, row: dict[str, float]) -> None:
        self._write(self._line({name: _plain(value) for name, value in row.items()}).encode())
        self.lines, self.epoch = self.lines + 1, int(row["epoch"])

    def _line(self, row: dict[str, Any]) -> str:
        raise NotImplementedError

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._refused(error) from error

    def _write(self, line: bytes) -> None:
        if not writes():
            return
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(line)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> UsageError:
        owner, reason = type(self).__name__, error.strerror or error
        return UsageError(f"{owner}: path={str(self.path)!r} cannot be written: {reason}; give a writable file")


class CSVLogger(_EpochLog):
    """Write each epoch's row to a CSV file: a line of names, then epoch, loss, metrics, val_ of each, lr, seconds.

    A number is written as the shortest decimal that reads back as the same float64; NaN, also of what an epoch does
    not have, as ``nan``. A column that comes later (validation every few epochs) is added to the lines above.

    Args:
        path: of the file; its folder exists.
        append: keep the lines that are there, of earlier runs; otherwise the file is replaced. A run that goes on from
            a checkpoint always keeps its own lines.

    Raises:
        UsageError: path is no path or cannot be written; with append: the file is no such table.

    Source: https://keras.io/api/callbacks/csv_logger/
    """

    header = 1

    def _begin(self, content: bytes) -> None:
        rows = _table(content)
        self.names = rows[0] if rows else []
        if rows and "epoch" not in self.names:
            raise UsageError(
                f"CSVLogger: path={str(self.path)!r} cannot be continued: its first line {self.names} has no 'epoch'; "
                "give another file, or append=False"
            )
        super()._begin(content)

    def _line(self, row: dict[str, Any]) -> str:
        new = [name for name in row if name not in self.names]
        if new:
            rows = _table(self._read())[1:]
            self.names = [*self.names, *new]
            super()._begin(_csv([self.names, *([*line, *["nan"] * len(new)] for line in rows)]).encode())
        return _csv([[row.get(name, math.nan) for name in self.names]])


class JSONLinesLogger(_EpochLog):
    """Write each epoch's row as one line of JSON: ``{"epoch": 1, "loss": 0.5, …}``.

    NaN and infinities, which JSON does not have, are null.

    Args:
        path: of the file; its folder exists.
        append: keep the lines that are there, of earlier runs; otherwise the file is replaced. A run that goes on from
            a checkpoint always keeps its own lines.

    Raises:
        UsageError: path is no path or cannot be written.

    Source: https://jsonlines.org
    """

    def _line(self, row: dict[str, Any]) -> str:
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        return json.dumps(finite, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _csv(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _table(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(errors="replace"), newline="")))
