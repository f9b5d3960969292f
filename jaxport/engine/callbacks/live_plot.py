"""LivePlot: the picture of the history, drawn again as the epochs go by."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from jaxport.errors import UsageError

from .arguments import number, path_of
from .base import Callback
from .processes import writes

if TYPE_CHECKING:
    import os

    from jaxport.engine.training import Training


class LivePlot(Callback):
    """Draw loss and metrics after each epoch, into a file, and in a notebook in the same place of the output.

    The file is replaced whole: a viewer that follows it sees no half picture. Drawing takes its time: an epoch is
    passed over where it would take more than `share` of the run's time. The last picture, at the end, has all epochs.

    Args:
        path: of the PNG; None draws in a notebook only.
        title: stands above the panels.
        share: of the run's time that drawing may take, up to 1; 1 draws after every epoch.

    Raises:
        UsageError: an argument is wrong; no path, and this is no notebook; matplotlib is not installed.
    """

    every_epoch = False

    def __init__(
        self, path: str | os.PathLike[str] | None = None, title: str | None = None, share: float = 0.2
    ) -> None:
        self.path = None if path is None else path_of("LivePlot", "path", path, (".png",))
        self.title = title
        self.share = number("LivePlot", "share", share, least=0.0)
        if self.share > 1:
            raise UsageError(f"LivePlot: share must be at most 1, got {share!r}")

    def on_train_begin(self, training: Training) -> None:
        """See where to draw."""
        self._display = _display()
        if self.path is None and self._display is None:
            raise UsageError("LivePlot: path is None, and this is no notebook; give the path of a .png file")
        if self.path is not None and not self.path.parent.is_dir():
            raise UsageError(f"LivePlot: path={str(self.path)!r} is in no folder that exists; give one that does")
        self._handle: Any = None
        self._took, self._drawn = 0.0, 0
        self._done = time.perf_counter()

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Draw, unless the last drawing was a short while ago."""
        if self.share == 1 or (time.perf_counter() - self._done) * self.share >= self._took * (1 - self.share):
            self._draw(training)

    def on_train_end(self, training: Training) -> None:
        """Draw what is new since the last picture."""
        if len(training.history) > self._drawn:
            self._draw(training)

    def _draw(self, training: Training) -> None:
        if not writes():
            return
        start = time.perf_counter()
        figure = training.history.plot(self.path, self.title)
        if self._display is not None:
            if self._handle is None:
                self._handle = self._display(figure, display_id=True)
            else:
                self._handle.update(figure)
        self._done = time.perf_counter()
        self._took, self._drawn = self._done - start, len(training.history)


def _display() -> Any:
    """Return IPython's display if this is a notebook, else None."""
    if "IPython" not in sys.modules:  # a notebook has imported it
        return None
    ipython: Any = import_module("IPython")
    shell = ipython.get_ipython()
    return ipython.display.display if shell is not None and hasattr(shell, "kernel") else None
