"""Callbacks that report: files with a line an epoch, progress, times."""

import csv
import io
import json
import math
import os

import numpy as np
import pytest
from callback_driver import STEPS, drive, drive_with_a_crash, new_training
from rich.console import Console

from jaxport.engine.callbacks import CSVLogger, JSONLinesLogger, LambdaCallback, ProgressBar, Timing
from jaxport.engine.callbacks import progress as progress_module
from jaxport.errors import UsageError

nan = math.nan
ROWS = [{"loss": 0.1 + i / 3, "accuracy": 1 / (i + 1)} for i in range(6)]
# Validation every second epoch, and a loss that is lost.
GAPS = [{"loss": 1.0}, {"loss": 0.5, "val_loss": 2.0}, {"loss": nan}, {"loss": math.inf, "val_loss": 1.5}]


def table(path):
    text = path.read_text()
    return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(io.StringIO(text))]


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# ------------------------------------------------------------------------------------------------------------ files


def test_a_csv_file_has_the_history(tmp_path):
    path = tmp_path / "log.csv"
    training = drive(new_training(6), [CSVLogger(path)], ROWS)
    lines = path.read_text().splitlines()
    assert lines[0] == "epoch,loss,accuracy,lr,seconds"
    assert lines[1] == f"1,{0.1!r},1.0,0.5,0.25"
    assert table(path) == [training.history.row(i) for i in range(6)]


def test_a_column_that_comes_later_joins_the_table(tmp_path):
    drive(new_training(4), [CSVLogger(tmp_path / "log.csv")], GAPS)
    assert (tmp_path / "log.csv").read_text() == (
        "epoch,loss,lr,seconds,val_loss\n1,1.0,0.5,0.25,nan\n2,0.5,0.5,0.25,2.0\n3,nan,0.5,0.25,nan\n4,inf,0.5,0.25,1.5\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_json_lines(tmp_path):
    drive(new_training(4), [JSONLinesLogger(tmp_path / "log.jsonl")], GAPS)
    assert json_lines(tmp_path / "log.jsonl") == [
        {"epoch": 1, "loss": 1.0, "lr": 0.5, "seconds": 0.25},
        {"epoch": 2, "loss": 0.5, "val_loss": 2.0, "lr": 0.5, "seconds": 0.25},
        {"epoch": 3, "loss": None, "lr": 0.5, "seconds": 0.25},
        {"epoch": 4, "loss": None, "val_loss": 1.5, "lr": 0.5, "seconds": 0.25},
    ]


LOGGERS = {"csv": CSVLogger, "jsonl": JSONLinesLogger}
each_logger = pytest.mark.parametrize("kind", LOGGERS)


def read(path):
    return table(path) if path.suffix == ".csv" else json_lines(path)


@each_logger
def test_a_line_is_there_as_soon_as_its_epoch_is_over(kind, tmp_path):
    path, seen = tmp_path / f"log.{kind}", []
    look = LambdaCallback(on_epoch_end=lambda training, logs: seen.append(len(read(path))))
    drive(new_training(3), [LOGGERS[kind](path), look], ROWS)
    assert seen == [1, 2, 3]


@each_logger
def test_a_new_run_replaces_the_file_or_appends(kind, tmp_path):
    path, new = tmp_path / f"log.{kind}", LOGGERS[kind]
    drive(new_training(3), [new(path)], ROWS)
    drive(new_training(2), [new(path)], ROWS)
    assert [row["epoch"] for row in read(path)] == [1, 2]
    drive(new_training(2), [new(path, append=True)], ROWS[2:])
    assert [(row["epoch"], row["loss"]) for row in read(path)] == [(i % 2 + 1, ROWS[i]["loss"]) for i in range(4)]
    assert sum("epoch" in line for line in path.read_text().splitlines()) == (1 if kind == "csv" else 4)


@each_logger
def test_a_line_cut_short_by_a_crash_is_taken_away(kind, tmp_path):
    path, new = tmp_path / f"log.{kind}", LOGGERS[kind]
    drive(new_training(2), [new(path)], ROWS)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[-10:-1])
    drive(new_training(1), [new(path, append=True)], ROWS)
    assert [row["epoch"] for row in read(path)] == [1, 2, 1]
    assert path.read_bytes().startswith(whole)


def test_other_columns_are_appended_beside_the_old_ones(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,mae\n1,7.5\n")
    drive(new_training(1), [CSVLogger(path, append=True)], [{"loss": 2.0}])
    assert path.read_text() == "epoch,mae,loss,lr,seconds\n1,7.5,nan,nan,nan\n1,nan,2.0,0.5,0.25\n"


def test_what_is_no_table_is_not_appended_to(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("dear diary,\n")
    with pytest.raises(UsageError, match=r"CSVLogger: path='.*log\.csv' cannot be continued: its first line \['dear"):
        drive(new_training(1), [CSVLogger(path, append=True)], ROWS)
    assert path.read_text() == "dear diary,\n"


@each_logger
@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize(("saved", "crashed"), [(1, 1), (1, 3), (2, 5), (5, 6)])
def test_a_resumed_run_repeats_no_line(kind, append, saved, crashed, tmp_path):
    rows = [row | ({"val_loss": 1.0 * i} if i % 2 else {}) for i, row in enumerate(ROWS)]
    paths = [tmp_path / f"{name}.{kind}" for name in ("whole", "parts")]
    for path in paths:
        drive(new_training(2), [LOGGERS[kind](path)], ROWS)
    drive(new_training(6), [LOGGERS[kind](paths[0], append)], rows)
    drive_with_a_crash(lambda: [LOGGERS[kind](paths[1], append)], rows, saved, crashed)
    assert paths[0].read_text() == paths[1].read_text()


@each_logger
def test_lines_that_a_checkpoint_came_before_are_written_from_the_history(kind, tmp_path):
    """The checkpoint is saved before the logger's turn, and the process killed right after."""
    path, new = tmp_path / f"log.{kind}", LOGGERS[kind]
    first, logger = new_training(6), new(path)
    drive(first, [logger], ROWS, until=2, end=False)
    state = logger.state_dict()
    drive(first, [], ROWS, until=3, end=False)
    second = new(path)
    second.load_state_dict(state)
    drive(first, [second], ROWS)
    assert [row["epoch"] for row in read(path)] == [1, 2, 3, 4, 5, 6]


@each_logger
def test_a_file_that_is_gone_is_written_again(kind, tmp_path):
    path, new = tmp_path / f"log.{kind}", LOGGERS[kind]
    first, logger = new_training(6), new(path)
    drive(first, [logger], ROWS, until=3, end=False)
    path.unlink()
    second = new(path)
    second.load_state_dict(logger.state_dict())
    drive(first, [second], ROWS)
    assert [row["epoch"] for row in read(path)] == [1, 2, 3, 4, 5, 6]


@each_logger
def test_a_file_that_cannot_be_written_is_an_error_before_training(kind, tmp_path):
    training = new_training(2)
    with pytest.raises(UsageError, match=r"path='.*none/log' cannot be written: No such file"):
        drive(training, [LOGGERS[kind](tmp_path / "none" / "log")], ROWS)
    with pytest.raises(UsageError, match=rf"{LOGGERS[kind].__name__}: path='.*' cannot be written: Is a directory"):
        drive(training, [LOGGERS[kind](tmp_path, append=True)], ROWS)
    assert training.step == 0
    with pytest.raises(UsageError, match=f"{LOGGERS[kind].__name__}: path must be a path, got 3"):
        LOGGERS[kind](3)


# --------------------------------------------------------------------------------------------------------- progress


def shown(callback_options=None, terminal=False, **options):
    """Return what a run prints, without colours."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=100, color_system=None, legacy_windows=False)
    bar = ProgressBar(console=console, **(callback_options or {}))
    training = new_training(**({"epochs": 3, "verbose": 1} | options))
    drive(training, [bar], [{"loss": 1.0, "accuracy": 0.5}] * training.epochs)
    return file.getvalue()


def test_lines_where_there_is_no_terminal():
    lines = shown().splitlines()
    assert lines[:3] == [
        "epoch 1/3  loss 1.0000  accuracy 0.5000  250.0 ms  left 0:00",
        "epoch 2/3  loss 1.0000  accuracy 0.5000  250.0 ms  left 0:00",
        "epoch 3/3  loss 1.0000  accuracy 0.5000  250.0 ms",
    ]
    assert lines[3].startswith("9 steps in ")
    assert len(lines) == 4


def test_nothing_when_silent():
    assert shown(verbose=0) == ""
    assert shown({"log_every": 1}, terminal=True, verbose=0) == ""


def test_a_line_every_few_steps():
    lines = shown({"log_every": 2}, epochs=2).splitlines()
    assert [line for line in lines if "step " in line] == [
        f"epoch {epoch}/2  step {step}  loss 1.0000  accuracy 0.5000" for epoch, step in ((1, 2), (2, 4), (2, 6))
    ]
    assert ProgressBar(log_every=2).every_steps == 2
    assert ProgressBar().every_steps is None


def test_many_epochs_take_a_hundred_lines():
    lines = [line.split("/")[0] for line in shown(epochs=250).splitlines() if line.startswith("epoch")]
    assert lines[:3] == ["epoch   1", "epoch   3", "epoch   6"]
    assert lines[-1] == "epoch 250"
    assert len(lines) == 85
    assert len(shown({"every_epochs": 100}, epochs=250).splitlines()) == 1 + 2 + 1 + 1


def test_the_time_left_and_the_reason_to_stop():
    file = io.StringIO()
    training = new_training(500, verbose=1)
    stop = LambdaCallback(on_epoch_end=lambda training, logs: training.stop("it is [late]"))
    drive(training, [ProgressBar(console=Console(file=file)), stop], [{"loss": 1e-7}] * 500)
    first, second, _ = file.getvalue().splitlines()
    assert first == "epoch   1/500  loss 1.000e-07  250.0 ms  left 2:05"
    assert second == "stopped: it is [late]"


def test_a_bar_on_a_terminal():
    text = shown(terminal=True)
    assert "━" in text
    assert "3/3" in text
    assert "\x1b[?25l" in text  # the cursor is hidden
    assert text.count("\x1b[?25h") == text.count("\x1b[?25l")  # and comes back
    assert "epoch 3/3  loss 1.0000  accuracy 0.5000  250.0 ms" in text


def test_a_bar_is_closed_after_an_exception():
    console = Console(file=io.StringIO(), force_terminal=True)
    bar, training = ProgressBar(console=console), new_training(2, verbose=1)
    bar.on_train_begin(training)
    bar.close()
    bar.close()
    drive(training, [bar], [{"loss": 1.0}] * 2)
    assert bar._bar is None


def test_no_steps_wait_for_the_device():
    """Loss and metrics are read at log_every alone."""
    reads = []

    class Counting(ProgressBar):
        def on_steps_end(self, training):
            real = training.read_logs
            training.read_logs = lambda: (reads.append(training.step), real())[1]
            super().on_steps_end(training)
            training.read_logs = real

    console = Console(file=io.StringIO(), force_terminal=True)
    drive(new_training(2, verbose=1), [Counting(console=console)], [{"loss": 1.0}] * 2)
    assert reads == []
    drive(new_training(2, verbose=1), [Counting(log_every=3, console=console)], [{"loss": 1.0}] * 2)
    assert reads == [3, 6]


def test_a_notebook_without_widgets_gets_lines(monkeypatch):
    console = Console(file=io.StringIO(), force_jupyter=True)
    monkeypatch.setattr(progress_module.importlib.util, "find_spec", lambda name: None)
    assert not progress_module._live(console)
    monkeypatch.setattr(progress_module.importlib.util, "find_spec", lambda name: object())
    assert progress_module._live(console)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")]
)
def test_the_clock(seconds, text):
    assert progress_module._clock(seconds) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"log_every": 0}, "ProgressBar: log_every must be a whole number of at least 1, got 0"),
        ({"every_epochs": 1.5}, "every_epochs must be a whole number of at least 1, got 1.5"),
        ({"console": "stdout"}, r"console must be a rich\.console\.Console, got 'stdout'"),
    ],
)
def test_arguments_of_the_bar(options, message):
    with pytest.raises(UsageError, match=message):
        ProgressBar(**options)


# ------------------------------------------------------------------------------------------------------------ times


def test_times_of_a_run():
    timing, training = Timing(examples=30), new_training(4)
    training.history.compile_seconds = 0.75
    drive(training, [timing], ROWS)
    assert timing.seconds == [0.25] * 4
    assert timing.steps == 4 * STEPS
    found = timing.summary()
    assert 0 < found.pop("total_seconds") < 60
    assert found == {
        "compile_seconds": 0.75, "epochs": 4, "epoch_seconds": 0.25, "step_seconds": 0.25 / STEPS,
        "steps_per_second": STEPS / 0.25, "examples_per_second": 120.0,
    }  # fmt: skip
    assert str(timing).startswith("4 epochs in ")
    assert str(timing).endswith("0.75 s compiling; 250 ms an epoch, 83.3 ms a step, 120 examples a second")


def test_times_of_a_run_that_was_resumed():
    training, (timing,) = drive_with_a_crash(lambda: [Timing()], ROWS, saved=2, crashed=4)
    assert isinstance(timing, Timing)
    assert timing.seconds == [0.25] * 6
    assert timing.steps == training.step == 6 * STEPS
    assert "examples_per_second" not in timing.summary()


def test_times_of_nothing():
    assert Timing().summary() == {"compile_seconds": 0.0, "total_seconds": 0.0, "epochs": 0.0}
    assert str(Timing()) == "0 epochs in 0.00 s, 0.00 s compiling"
    with pytest.raises(UsageError, match="Timing: examples must be a whole number of at least 1, got 0"):
        Timing(examples=0)


def test_what_only_reads_logs_lets_epochs_run_together(tmp_path):
    for callback in (ProgressBar(), CSVLogger(tmp_path / "a"), JSONLinesLogger(tmp_path / "b"), Timing()):
        assert not callback.every_epoch
        assert callback.every_steps is None


def test_a_log_is_one_write_a_line(tmp_path, monkeypatch):
    """A killed process then leaves complete lines."""
    sizes, path = [], tmp_path / "log.csv"
    look = LambdaCallback(on_epoch_end=lambda training, logs: sizes.append(os.path.getsize(path)))
    writes = []
    real = CSVLogger._write
    monkeypatch.setattr(CSVLogger, "_write", lambda self, line: (writes.append(line), real(self, line)))
    drive(new_training(3), [CSVLogger(path), look], ROWS)
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in writes)
    assert np.diff([0, *sizes]).tolist()[1:] == [len(line) for line in writes[1:]]
