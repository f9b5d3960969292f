"""TensorBoard: scalars, histograms, the model's graph, pictures, through tensorboardX."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxport.errors import UsageError

from .arguments import make_folder, path_of, whole_or_none
from .processes import writes
from .resumable import Resumable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from tensorboardX import SummaryWriter

    from jaxport.engine.training import Training


class TensorBoard(Resumable):
    """Write what TensorBoard shows: ``tensorboard --logdir DIR``.

    Scalars are the history's columns under their names (loss, val_loss, accuracy, lr, seconds, …) over the epochs; the
    tab "Custom Scalars" draws training and validation of one quantity together. Histograms are the parameters under
    their state_dict keys. The graph is the model in evaluation mode, a box for each module, with the shapes that flow
    between them.

    Args:
        log_dir: folder of the event files, made if it is not there. Give each run its own, below a common one.
        histograms: epochs from one set of histograms to the next, the initial weights first; None for none.
        graph: whether to draw the model; it is drawn where its input is known.
        input_shape: of one input, with the batch axis: (1, 1, 28, 28); None for what the run is given.
        log_every: also write loss and metrics of the epoch so far every so many steps, as a run "steps" of its own;
            each waits for the device.

    Raises:
        UsageError: an argument is wrong; tensorboardX is not installed; the folder cannot be written.

    A run that goes on from a checkpoint writes to the same folder; TensorBoard hides the values of epochs that are run
    again.

    Source: https://keras.io/api/callbacks/tensorboard/
    """

    kept = ("epoch",)

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        *,
        histograms: int | None = None,
        graph: bool = True,
        input_shape: tuple[int, ...] | None = None,
        log_every: int | None = None,
    ) -> None:
        owner = "TensorBoard"
        self.log_dir = path_of(owner, "log_dir", log_dir)
        self.histograms = whole_or_none(owner, "histograms", histograms, least=1)
        self.log_every = self.every_steps = whole_or_none(owner, "log_every", log_every, least=1)
        self.graph, self.input_shape = graph, _shape(input_shape)
        self.every_epoch = histograms is not None
        self._writers: dict[str, Any] = {}
        self.reset()

    def reset(self) -> None:
        """Forget an earlier run."""
        self.epoch = 0  # the last one written

    @property
    def writer(self) -> SummaryWriter:
        """The tensorboardX writer, for what else is to be logged (text, embeddings, …)."""
        return self._open("")

    # ----------------------------------------------------------------------------------------------------- the hooks

    def on_train_begin(self, training: Training) -> None:
        """Open the files; write the graph and the initial histograms, or what the checkpoint's run had not written."""
        resumed = self.resumed
        super().on_train_begin(training)
        self.close()
        self._open("", purge=training.epoch + 1 if resumed else None)
        if self.log_every is not None:
            self._open("steps", purge=training.step + 1 if resumed else None)
        if not resumed:
            self._begin(training)
        for index, epoch in enumerate(training.history.columns.get("epoch", ())):
            if resumed and epoch > self.epoch:
                self._scalars(training.history.row(index))

    def on_steps_end(self, training: Training) -> None:
        """Write the epoch so far, every `log_every` steps."""
        if self.log_every is not None and training.step % self.log_every == 0:
            for name, value in training.logs().items():
                self._open("steps").add_scalar(name, value, training.step)

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Write the epoch's row, and the histograms if it is time."""
        self._scalars(logs)
        if self.histograms is not None and self.epoch % self.histograms == 0:
            self._histograms(training)

    def on_train_end(self, training: Training) -> None:
        """Finish the files."""
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the last epoch written; what is written up to here is on the disk when the checkpoint is."""
        self.close()  # tensorboardX's flush leaves its queue alone; the next value opens a new file
        return super().state_dict()

    def close(self) -> None:
        """Finish the files; the next value opens new ones."""
        writers, self._writers = self._writers, {}
        for writer in writers.values():
            writer.close()

    # -------------------------------------------------------------------------------------------------- more to write

    def add_image(self, tag: str, image: Any, step: int | None = None, dataformats: str = "CHW") -> None:
        """Write a picture: (C, H, W) bytes, or floats from 0 to 1; `dataformats` names other layouts ("HW", "HWC").

        `step` is the epoch by default, as for the other two.
        """
        self.writer.add_image(tag, np.asarray(image), self._at(step), dataformats=dataformats)

    def add_images(self, tag: str, images: Any, step: int | None = None, dataformats: str = "NCHW") -> None:
        """Write several pictures of one size as one: (N, C, H, W) bytes, or floats from 0 to 1."""
        self.writer.add_images(tag, np.asarray(images), self._at(step), dataformats=dataformats)

    def add_figure(self, tag: str, figure: Figure, step: int | None = None) -> None:
        """Write a matplotlib figure as a picture."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self.add_image(tag, np.asarray(canvas.buffer_rgba())[..., :3], step, dataformats="HWC")

    def _at(self, step: int | None) -> int:
        return self.epoch if step is None else step

    # ---------------------------------------------------------------------------------------------------- the details

    def _begin(self, training: Training) -> None:
        spec = self.input_shape or training.input_spec
        if self.graph and spec is not None:
            from .tensorboard_graph import add_graph

            add_graph(self.writer, training.module, spec, training.task.prepare)
        if self.histograms is not None:
            self._histograms(training)

    def _scalars(self, row: dict[str, float]) -> None:
        from tensorboardX.summary import scalar

        first, self.epoch = self.epoch == 0, int(row["epoch"])
        known = [scalar(name, float(value)) for name, value in row.items() if name != "epoch" and value == value]
        if known:
            for other in known[1:]:
                known[0].MergeFrom(other)  # one event for all: a fifth of the time
            file_writer: Any = self.writer.file_writer
            file_writer.add_summary(known[0], self.epoch)
        pairs = [name for name in row if f"val_{name}" in row]
        if first and pairs:
            both = {name: ["Multiline", [f"^{name}$", f"^val_{name}$"]] for name in pairs}
            self.writer.add_custom_scalars({"training and validation": both})

    def _histograms(self, training: Training) -> None:
        for name, parameter in training.module.named_parameters():
            values = np.asarray(parameter[...], np.float64).reshape(-1)
            if (finite := values[np.isfinite(values)]).size:
                self.writer.add_histogram(name, finite, self.epoch)

    def _open(self, name: str, purge: int | None = None) -> SummaryWriter:
        if name not in self._writers:
            try:
                from tensorboardX import SummaryWriter
            except ImportError as error:
                raise UsageError("TensorBoard needs tensorboardX: pip install 'jaxport[viz]'") from error
            folder = self.log_dir / name
            if writes():
                make_folder("TensorBoard", "log_dir", folder)
            # tensorboardX names a file by the second, and empties one that is there.
            suffix = f".{sum(1 for _ in folder.glob('events.*')):04d}.{os.getpid()}"
            options = {"purge_step": purge, "flush_secs": 10, "filename_suffix": suffix}
            self._writers[name] = SummaryWriter(str(folder), write_to_disk=writes(), **options)
        return self._writers[name]


def _shape(shape: Any) -> tuple[int, ...] | None:
    right = isinstance(shape, (tuple, list)) and len(shape) > 0 and all(isinstance(n, int) and n > 0 for n in shape)
    if shape is not None and not right:
        raise UsageError(f"TensorBoard: input_shape must be sizes with the batch first, (1, 1, 28, 28), got {shape!r}")
    return None if shape is None else tuple(shape)
