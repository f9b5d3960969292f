"""What a training run reports."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """The record of a run.

    Attributes:
        columns: one list a column, one entry an epoch: epoch, loss, each metric, and val_ of each.
        steps: optimiser steps taken.
        dispatch: how steps were dispatched, "scan" or "steps".
        compile_seconds: time spent tracing and compiling.
        train_seconds: all other time, data transfer and validation included.
        interrupted: whether the run was stopped before its last epoch.
        stop_reason: why a callback stopped it.
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

    def append(self, rows: dict[str, list[float]]) -> None:
        """Add epochs, column by column."""
        for name, values in rows.items():
            self.columns.setdefault(name, []).extend(values)

    def last(self, prefix: str = "") -> dict[str, float]:
        """Return the last epoch's loss and metrics: the training ones, or with prefix "val_" the validation ones."""
        names = [
            name
            for name in self.columns
            if name not in ("epoch", "lr", "seconds") and name.startswith("val_") == (prefix == "val_")
        ]
        return {name.removeprefix(prefix): self.columns[name][-1] for name in names}
