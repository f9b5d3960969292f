"""What a training run reports: the history, a table with one row an epoch."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from jaxport.errors import UsageError
from jaxport.viz.history import ABOUT_THE_RUN, draw_history, save_figure

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

Mode = Literal["min", "max"]

_FALLING = {"loss", "error", "err", "mae", "mse", "rmse", "mape", "mspe", "perplexity", "nll", "hinge", "seconds"}
_RISING = {"acc", "accuracy", "auc", "auroc", "precision", "recall", "f1", "r2", "dice", "iou", "specificity"}
_SHOWN = 12  # rows of a long history that its text shows, the first and the last ones


def mode_of(name: str) -> Mode | None:
    """Return whether a column is better when it falls ("min") or rises ("max"), by its name; None if that is unknown.

    ``val_top5_accuracy`` rises, ``dice_loss`` falls: an error's word decides before a score's.
    """
    words = re.split(r"[^a-z0-9]+", name.lower().removeprefix("val_"))
    if any(word in _FALLING for word in words):
        return "min"
    return "max" if any(word in _RISING or re.fullmatch(r"top\d*", word) for word in words) else None


def check_mode(owner: str, name: str, mode: str | None) -> Mode:
    """Return "min" or "max" for a column; None and "auto" are decided by its name.

    Raises:
        UsageError: `mode` is another one, or the name says nothing.
    """
    if mode in ("min", "max"):
        return mode
    if mode not in (None, "auto"):
        raise UsageError(f"{owner}: mode must be 'min', 'max' or 'auto', got {mode!r}")
    found = mode_of(name)
    if found is None:
        raise UsageError(f"{owner}: whether {name!r} should fall or rise is not known; give mode='min' or mode='max'")
    return found


@dataclass(repr=False)
class History:
    """The record of a run; ``history["loss"]`` is a column, `str()` a table.

    Attributes:
        columns: one list a column, one entry an epoch: epoch (from 1), loss, each metric, val_ of each, lr, seconds.
            A value that an epoch does not have (validation every few epochs) is NaN.
        steps: optimiser steps taken.
        dispatch: how steps were dispatched: "scan", "chunks" or "steps".
        compile_seconds: time spent tracing and compiling.
        train_seconds: all other time, data transfer and validation included.
        interrupted: whether the run was stopped before its last epoch.
        stop_reason: why it stopped before its last epoch, if a callback asked for it.
    """

    columns: dict[str, list[float]] = field(default_factory=dict)
    steps: int = 0
    dispatch: str = ""
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    interrupted: bool = False
    stop_reason: str | None = None

    def __len__(self) -> int:
        return len(self.columns.get("epoch", ()))

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> list[float]:
        """Return a column.

        Raises:
            UsageError: there is none of that name.
        """
        if name not in self.columns:
            raise UsageError(f"the history has no column {name!r}; it has {', '.join(self.columns) or 'none yet'}")
        return self.columns[name]

    def append(self, rows: Mapping[str, list[float]]) -> None:
        """Add epochs, column by column; what either side lacks becomes NaN, so that all columns stay of one length."""
        before, count = len(self), len(rows["epoch"])
        for name in [*self.columns, *(name for name in rows if name not in self.columns)]:
            column = self.columns.setdefault(name, [math.nan] * before)
            column.extend(rows.get(name, [math.nan] * count))

    def row(self, index: int = -1) -> dict[str, float]:
        """Return one epoch's values, by default the last one's."""
        return {name: column[index] for name, column in self.columns.items()}

    @property
    def quantities(self) -> list[str]:
        """The columns that measure the model: all but epoch, lr and seconds."""
        return [name for name in self.columns if name not in ABOUT_THE_RUN]

    def last(self, prefix: str = "") -> dict[str, float]:
        """Return the last epoch's loss and metrics: the training ones, or with prefix "val_" the validation ones."""
        names = [name for name in self.quantities if name.startswith("val_") == (prefix == "val_")]
        return {name.removeprefix(prefix): self.columns[name][-1] for name in names}

    def best(self, name: str, mode: Mode | None = None) -> tuple[int, float]:
        """Return (epoch, value) of a column's best entry, the first of equal ones; NaN is never best.

        Args:
            name: of the column.
            mode: "min" or "max"; None decides by the name.

        Raises:
            UsageError: no such column, or no number in it; a name that does not say which is better.
        """
        mode = check_mode("best", name, mode)
        known = [(epoch, value) for epoch, value in zip(self["epoch"], self[name], strict=True) if value == value]
        if not known:
            raise UsageError(f"the history's column {name!r} has no number in its {len(self)} epochs")
        epoch, value = (min if mode == "min" else max)(known, key=lambda pair: pair[1])
        return int(epoch), value

    def to_pandas(self) -> pandas.DataFrame:
        """Return the columns as a DataFrame, one row an epoch.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UsageError("to_pandas needs pandas: pip install 'jaxport[data]'") from error
        return pandas.DataFrame(self.columns)

    def plot(self, path: str | os.PathLike[str] | None = None, title: str | None = None) -> Figure:
        """Draw loss and metrics against the epoch, training dashed and validation solid; a notebook shows the figure.

        Args:
            path: also written there; ends in `.png`; the file appears when it is complete.
            title: stands above the panels.

        Raises:
            UsageError: matplotlib is not installed; no epoch is over; path does not end in `.png` or cannot be written.
        """
        figure = draw_history(self.columns, title)
        if path is not None:
            save_figure(figure, path)
        return figure

    # ------------------------------------------------------------------------------------------------------- as JSON

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; NaN and infinities, which JSON does not have, are strings."""
        columns = {name: [_encode(value) for value in column] for name, column in self.columns.items()}
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"columns": columns}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> History:
        """Return the history that `to_dict` wrote.

        Raises:
            UsageError: `values` is not one; names what is missing or unknown.
        """
        names = {item.name for item in fields(cls)}
        if wrong := names ^ set(values):
            missing, unknown = sorted(names & wrong), sorted(wrong - names)
            raise UsageError(f"values is no history: missing {missing}, unknown {unknown}")
        columns = {name: [_decode(value) for value in column] for name, column in values["columns"].items()}
        return cls(**{**values, "columns": columns})

    # ------------------------------------------------------------------------------------------------------- as text

    def __str__(self) -> str:
        half = _SHOWN // 2
        shown = [*range(len(self))] if len(self) <= _SHOWN else [*range(half), *range(len(self) - half, len(self))]
        cells = [[name, *(_cell(name, column[i]) for i in shown)] for name, column in self.columns.items()]
        widths = [max(map(len, column)) for column in cells]
        rows = zip(*cells, strict=True)
        lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
        if len(self) > len(shown):
            lines.insert(1 + half, f"… {len(self) - len(shown):,} more")
        return "\n".join([*lines, self._closing()])

    __repr__ = __str__

    def _closing(self) -> str:
        line = f"{len(self):,} epochs, {self.steps:,} steps in {self.train_seconds:.1f} s"
        line += f" and {self.compile_seconds:.1f} s compiling"
        if self.stop_reason:
            return f"{line}; stopped: {self.stop_reason}"
        return f"{line}; interrupted" if self.interrupted else line


def _cell(name: str, value: float) -> str:
    if name == "epoch":
        return f"{int(value)}"
    if value != value:
        return "-"
    return f"{value:.2f}" if name == "seconds" else f"{value:.4g}" if name == "lr" else f"{value:.4f}"


def _encode(value: Any) -> Any:
    """Turn a number (Python's, NumPy's or JAX's) into a JSON value."""
    plain = value.item() if hasattr(value, "item") else value
    return plain if not isinstance(plain, float) or math.isfinite(plain) else repr(plain)


def _decode(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value
