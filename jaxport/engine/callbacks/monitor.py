"""Monitor: the column that a callback watches, and which of two values is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxport.engine.history import Mode, check_mode
from jaxport.errors import UsageError

if TYPE_CHECKING:
    from jaxport.engine.training import Training


class Monitor:
    """A column of the history, such as "val_loss".

    Args:
        owner: the callback, for messages.
        name: of the column.
        mode: "min", "max", or "auto", which the column's name decides.

    Raises:
        UsageError: an unknown mode, or "auto" for a name that says nothing.
    """

    def __init__(self, owner: str, name: str, mode: str = "auto") -> None:
        if not isinstance(name, str) or not name:
            raise UsageError(f"{owner}: monitor must be a column's name, such as 'val_loss', got {name!r}")
        self.owner, self.name = owner, name
        self.mode: Mode = check_mode(owner, name, mode)

    def read(self, training: Training, logs: dict[str, float]) -> float | None:
        """Return this epoch's value; None if it has none (no validation in this epoch, or NaN).

        Raises:
            UsageError: the run has no such column; names those that it has.
        """
        value = logs.get(self.name)
        # Validation every few epochs has not been yet in the first ones.
        due = getattr(training.options, "validate_every", 1) if self.name.startswith("val_") else 1
        if value is None and self.name not in training.history and logs["epoch"] >= due:
            raise UsageError(self._unknown(logs))
        return None if value is None or value != value else float(value)

    def better(self, value: float, than: float | None, min_delta: float = 0.0) -> bool:
        """Return whether `value` is better than another by more than `min_delta`; everything is better than None."""
        if than is None:
            return True
        return value < than - min_delta if self.mode == "min" else value > than + min_delta

    def _unknown(self, logs: dict[str, float]) -> str:
        names = [name for name in logs if name != "epoch"]
        text = f"{self.owner}: monitor={self.name!r} is no column of this run; it has {', '.join(names)}"
        validated = any(name.startswith("val_") for name in names)
        return text if validated or not self.name.startswith("val_") else f"{text}; fit was given no validation data"
