"""Checkpoint: everything that training depends on, kept so that a run that was killed goes on as if it had not been."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxport.errors import UsageError

from .callbacks.arguments import make_folder, path_of, whole_or_none
from .callbacks.base import Callback
from .checkpoint_content import check_values, pack, unpack

if TYPE_CHECKING:
    import os

    from .checkpoint_store import Store
    from .training import Training


class Checkpoint(Callback):
    """Save the whole state of training every few epochs or steps, and go on from the newest when a run starts again.

    A checkpoint holds parameters, buffers, random streams, the optimiser's state, the weights' average, the unfinished
    epoch's sums, where the run and its loader are, the history, and what every callback remembers. A run that was
    killed at any moment, started again with the same arguments, ends with the same bits as one that never stopped.
    ``epochs`` may be another number; a run whose epochs are done already is over at once.

    Orbax writes them: a checkpoint is complete or not there. What is saved is as of after all other callbacks. A run
    that is stopped, interrupted (Ctrl-C), or left by a callback that raises saves where it stands.

    Args:
        folder: of this run alone, made if it is not there; each checkpoint is a folder in it, named by its step.
        every_epochs: epochs from one to the next, None for none at epochs' ends but the last one's.
        every_steps: also every so many steps; calls to the device end there.
        keep: how many of the newest stay, None for all.
        resume: whether to go on from the newest; otherwise the folder must have none.
        asynchronous: writes while training goes on; the run's end waits for it.

    Raises:
        UsageError: an argument is wrong; the folder cannot be written; it has checkpoints and `resume` is False; the
            newest is damaged, of another layout, model, optimiser, seed, batch size, data, or of other callbacks.

    Differs from Keras' BackupAndRestore: all of the above but the weights, the optimiser and the epoch is kept too;
    several checkpoints stay, also after the run.

    Source: https://orbax.readthedocs.io, https://keras.io/api/callbacks/backup_and_restore/
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every_epochs: int | None = 1,
        every_steps: int | None = None,
        keep: int | None = 3,
        resume: bool = True,
        asynchronous: bool = True,
    ) -> None:
        owner = "Checkpoint"
        self.folder = path_of(owner, "folder", folder)
        self.every_epochs = whole_or_none(owner, "every_epochs", every_epochs, least=1)
        self.every_steps = whole_or_none(owner, "every_steps", every_steps, least=1)
        self.keep = whole_or_none(owner, "keep", keep, least=1)
        self.resume, self.asynchronous = resume, asynchronous
        self._store: Store | None = None
        self._saved = 0  # the step of the last one, or at which the run began

    # --------------------------------------------------------------------------------------------- called by the run

    def restore(self, training: Training, callbacks: Sequence[Callback]) -> bool:
        """Put the run and its callbacks back to the newest checkpoint; return whether there is one.

        Raises:
            UsageError: see the class; nothing is changed then.
        """
        store = self._open(training)
        number = store.latest()
        if number is None:
            return False
        try:
            self._resume(store, number, training)
        except BaseException:
            self.close()
            raise
        self._saved = training.step
        return True

    def _open(self, training: Training) -> Store:
        from .checkpoint_store import Store

        make_folder("Checkpoint", "folder", self.folder)
        self.close()
        self._store = Store(self.folder, self.keep, self.asynchronous)
        self._saved = training.step
        return self._store

    def _resume(self, store: Store, number: int, training: Training) -> None:
        if not self.resume:
            raise UsageError(
                f"Checkpoint: folder={str(self.folder)!r} has checkpoints, and resume is False; resume=True goes on "
                "from them, another folder keeps them"
            )
        owner, values = f"checkpoint {store.path(number)}", store.read_values(number)
        like = check_values(owner, values, training)
        unpack(owner, values, store.read_arrays(number, like), training)

    def rescue(self, training: Training, callbacks: Sequence[Callback]) -> None:
        """Save where the run stands, because an exception ends it.

        Not after a KeyboardInterrupt, which may come in the middle of a step's bookkeeping.
        """
        if isinstance(sys.exception(), KeyboardInterrupt) or self._store is None:
            return
        try:
            self._save(training)
            self._store.wait()
        except Exception as error:  # the first exception is the one that the user must see
            warnings.warn(f"nothing was saved after the exception: {error}", UserWarning, stacklevel=2)

    # ------------------------------------------------------------------------------------------------------ the hooks

    def on_train_begin(self, training: Training) -> None:
        """Open the folder, if another checkpoint's was resumed from."""
        if self._store is None:
            self._open(training)

    def on_steps_end(self, training: Training) -> None:
        """Save if it is time, or the run was stopped inside an epoch."""
        if training.step_in_epoch == training.steps_per_epoch:
            return  # the epoch's end comes next
        if training.stop_reason or self._due(training.step, self.every_steps):
            self._save(training)

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Save if it is time, or the run is over."""
        over = training.stop_reason is not None or training.epoch >= training.epochs
        if over or self._due(training.epoch, self.every_epochs) or self._due(training.step, self.every_steps):
            self._save(training)

    def on_train_end(self, training: Training) -> None:
        """Save what an interrupted run has, and wait until everything is written."""
        self._save(training)
        if self._store is not None:
            self._store.wait()

    def close(self) -> None:
        """Wait for what is being written."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    @staticmethod
    def _due(count: int, every: int | None) -> bool:
        return every is not None and count % every == 0

    def _save(self, training: Training) -> None:
        """Save, unless this place was saved already, or a step was not finite: the run goes on from before it."""
        bad = training.state.bad
        if self._store is None or training.step == self._saved or (bad is not None and int(bad) >= 0):
            return
        self._store.write(training.step, *pack(training))
        self._saved = training.step
