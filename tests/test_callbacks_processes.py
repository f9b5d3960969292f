"""With several processes, one writes; all take part in what reads the device."""

import io

import jax
import pytest
from callback_driver import drive, new_training
from rich.console import Console

from jaxport.engine import callbacks

ROWS = [{"loss": 3.0 - i, "val_loss": 3.0 - i} for i in range(3)]


def reports(folder):
    console = Console(file=io.StringIO(), force_terminal=True)
    made = [
        callbacks.ProgressBar(log_every=2, console=console),
        callbacks.CSVLogger(folder / "log.csv"),
        callbacks.JSONLinesLogger(folder / "log.jsonl"),
        callbacks.WeightsCheckpoint(folder / "weights", "val_loss"),
        callbacks.TensorBoard(folder / "board", histograms=1, log_every=2, input_shape=(1, 2)),
        callbacks.LivePlot(folder / "live.png", share=1),
    ]
    return made, console.file


@pytest.mark.parametrize("process", [0, 1])
def test_only_the_first_process_writes(process, tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(jax, "process_index", lambda: process)
    made, shown = reports(tmp_path)
    reads = []
    training = new_training(3, verbose=1)
    training.read_logs = lambda: {"loss": 1.0}
    real = type(training).logs
    monkeypatch.setattr(type(training), "logs", lambda self: (reads.append(self.step), real(self))[1])
    drive(training, made, ROWS)
    assert reads == [2, 2, 4, 4, 6, 6, 8, 8]  # by all processes
    assert made[3].files[0][0] == 3
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ([] if process else ["board", "live.png", "log.csv", "log.jsonl", "weights"])
    assert (shown.getvalue() == "") == bool(process)
