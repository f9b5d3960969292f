"""WeightsCheckpoint: weight files of the best epochs, or of every few epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxport import interop

from .arguments import make_folder, path_of, whole, whole_or_none
from .monitor import Monitor
from .processes import writes
from .resumable import Resumable

if TYPE_CHECKING:
    import os

    from jaxport.engine.training import Training


class WeightsCheckpoint(Resumable):
    """Save the weights as `.safetensors` files, which PyTorch reads too: those of the best epochs, or the latest ones.

    The files are ``weights-EPOCH-VALUE.safetensors`` (without VALUE if nothing is monitored). A file appears when it is
    complete, and those that fall out of the best are removed after it. A run goes on from a checkpoint of the whole
    training state (`Checkpoints`), not from these.

    Args:
        folder: made if it is not there. Files of other runs in it are left alone, unless a name is used again.
        monitor: the column to go by; None saves every time.
        mode: whether the column should fall ("min") or rise ("max"); "auto" decides by its name.
        keep: how many files stay: the best ones, or without monitor the latest ones; None keeps all.
        every_epochs: epochs from one saving to the next. With monitor, the others are not candidates.

    Attributes:
        files: what is kept, (epoch, value, name) each, the best first, or without monitor the latest.

    Raises:
        UsageError: an argument is wrong, the folder cannot be written; at the first epoch's end: no such column.
        WeightsError: a file cannot be written.

    Differs from Keras' ModelCheckpoint: several files can be kept; an epoch whose value is NaN is never saved; of equal
    values the earlier epoch is better.

    Source: https://keras.io/api/callbacks/model_checkpoint/
    """

    kept = ("files",)

    def __init__(
        self,
        folder: str | os.PathLike[str],
        monitor: str | None = None,
        mode: str = "auto",
        keep: int | None = 1,
        every_epochs: int = 1,
    ) -> None:
        owner = "WeightsCheckpoint"
        self.folder = path_of(owner, "folder", folder)
        self.monitor = None if monitor is None else Monitor(owner, monitor, mode)
        self.keep = whole_or_none(owner, "keep", keep, least=1)
        self.every_epochs = whole(owner, "every_epochs", every_epochs, least=1)
        self.reset()

    def reset(self) -> None:
        """Forget the files of an earlier run; they stay in the folder."""
        self.files: list[list[Any]] = []

    @property
    def best(self) -> str | None:
        """The path of the best file (without monitor, of the latest one); None before the first."""
        return str(self.folder / self.files[0][2]) if self.files else None

    def on_train_begin(self, training: Training) -> None:
        """Make the folder, before the first step takes time."""
        super().on_train_begin(training)
        if writes():
            make_folder("WeightsCheckpoint", "folder", self.folder)

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Save the epoch's weights if it is among the best."""
        epoch = int(logs["epoch"])
        value = None if self.monitor is None else self.monitor.read(training, logs)
        if epoch % self.every_epochs or (self.monitor is not None and value is None):
            return
        ranked = self._ranked([[epoch, value, _file_name(epoch, value)]])
        kept, dropped = ranked[: self.keep], ranked[len(ranked) if self.keep is None else self.keep :]
        if any(entry[0] == epoch for entry in kept):
            self._replace(interop.state_dict(training.module), _file_name(epoch, value), [name for *_, name in dropped])
            self.files = kept

    def _replace(self, weights: dict[str, Any], new: str, old: list[str]) -> None:
        if writes():
            interop.save_file(weights, self.folder / new)
            for name in old:
                (self.folder / name).unlink(missing_ok=True)

    def _ranked(self, new: list[list[Any]]) -> list[list[Any]]:
        entries = [entry for entry in self.files if entry[0] != new[0][0]] + new
        if self.monitor is None:
            return sorted(entries, key=lambda entry: -entry[0])
        sign = 1.0 if self.monitor.mode == "min" else -1.0
        return sorted(entries, key=lambda entry: (sign * entry[1], entry[0]))


def _file_name(epoch: int, value: float | None) -> str:
    return f"weights-{epoch:04d}.safetensors" if value is None else f"weights-{epoch:04d}-{value:.6g}.safetensors"
