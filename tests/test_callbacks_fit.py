"""Callbacks in real runs, through ``engine.fit``."""

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from jaxport import engine, metrics, nn, optim
from jaxport.engine.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    JSONLinesLogger,
    LambdaCallback,
    LearningRateScheduler,
    ProgressBar,
    ReduceLROnPlateau,
    TensorBoard,
    TerminateOnNaN,
    Timing,
    WeightsCheckpoint,
)
from jaxport.errors import UsageError
from jaxport.interop import load_file, load_state_dict, state_dict
from jaxport.optim import lr_scheduler

pytestmark = pytest.mark.usefixtures("strict_jax")
both_dispatches = pytest.mark.parametrize("dispatch", ["scan", "steps"])


def model() -> nn.Module:
    rngs = nnx.Rngs(0)
    return nn.Sequential(nn.Linear(3, 8, rngs=rngs), nn.Tanh(), nn.Linear(8, 4, rngs=rngs))


def examples(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 3)).astype(np.float32), rng.integers(0, 4, n).astype(np.int32)


TRAIN, VALIDATION = examples(11, 0), examples(7, 1)


def fit(*callbacks: Callback, module: nn.Module | None = None, **options: Any) -> tuple[nn.Module, engine.History]:
    """11 examples in steps of 4; labels at random, so that validation gets worse soon."""
    module = module or model()
    defaults: dict[str, Any] = {
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optim.SGD(lr=0.5, momentum=0.9),
        "epochs": 8,
        "batch_size": 4,
        "validation": VALIDATION,
        "metrics": (metrics.Accuracy(),),
        "dispatch": "scan",
    }
    history = engine.fit(module, TRAIN, callbacks=callbacks, **(defaults | options))
    return module, history


def same(a: nn.Module, b: nn.Module) -> None:
    one, other = state_dict(a), state_dict(b)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


@both_dispatches
def test_early_stopping_leaves_the_best_epochs_model(dispatch):
    weights: list[dict[str, np.ndarray]] = []
    record = LambdaCallback(on_epoch_end=lambda training, logs: weights.append(state_dict(training.module)))
    stopping = EarlyStopping(patience=2)
    module, history = fit(record, stopping, epochs=40, dispatch=dispatch)
    epoch, value = history.best("val_loss")
    assert len(history) == stopping.stopped_epoch == epoch + 2 < 40
    assert history.stop_reason is not None
    assert history.stop_reason.startswith(f"val_loss has not improved on {value:.6g} of epoch {epoch}")
    for key, kept in state_dict(module).items():
        np.testing.assert_array_equal(kept, weights[epoch - 1][key])
    found = engine.evaluate(module, VALIDATION, loss=nn.CrossEntropyLoss(), batch_size=4)
    assert found["loss"] == pytest.approx(value, rel=1e-6)


def test_validation_every_few_epochs_is_waited_for(tmp_path):
    stopping = EarlyStopping(patience=1, min_delta=100.0)
    _, history = fit(stopping, CSVLogger(tmp_path / "log.csv"), validate_every=3, epochs=20)
    assert len(history) == stopping.stopped_epoch == 6
    rows = list(csv.DictReader(io.StringIO((tmp_path / "log.csv").read_text())))
    assert [row["val_loss"] == "nan" for row in rows] == [True, True, False] * 2
    with pytest.raises(UsageError, match="monitor='val_los' is no column of this run"):
        fit(EarlyStopping("val_los", mode="min"), validate_every=3)
    with pytest.raises(UsageError, match=r"monitor='val_loss' .* fit was given no validation data"):
        fit(EarlyStopping(), validation=None)


@pytest.mark.parametrize(
    "options", [{}, {"dispatch": "steps"}, {"dispatch": None, "steps_per_call": 2}], ids=["scan", "steps", "chunks"]
)
def test_reports_change_nothing_and_agree_with_the_history(options, tmp_path):
    plain, wanted = fit(**options)
    out = io.StringIO()
    board = TensorBoard(tmp_path / "board", log_every=2) if options else TensorBoard(tmp_path / "board")
    timing = Timing()
    reports = [
        CSVLogger(tmp_path / "log.csv"), JSONLinesLogger(tmp_path / "log.jsonl"), board, timing,
        ProgressBar(console=Console(file=out, width=200)),
    ]  # fmt: skip
    module, history = fit(*reports, verbose=1, **options)
    same(plain, module)
    assert history.quantities == wanted.quantities == ["loss", "accuracy", "val_loss", "val_accuracy"]
    for name in history.quantities:
        assert history[name] == wanted[name]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "log.csv").read_text())))
    assert [{k: float(v) for k, v in row.items()} for row in rows] == [history.row(i) for i in range(8)]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [history.row(i) for i in range(8)]
    assert timing.steps == 8 * 3
    assert timing.seconds == history["seconds"]
    assert timing.summary()["examples_per_second"] == pytest.approx(8 * 11 / sum(history["seconds"]))
    shown = [line.split("  ")[0] for line in out.getvalue().splitlines()]
    assert shown[:8] == [f"epoch {epoch}/8" for epoch in range(1, 9)]
    assert len(shown) == 9


def test_reports_let_short_epochs_run_in_one_call(tmp_path):
    """All epochs' rows come after the call that ran them: the weights are the last ones already."""
    seen = []
    look = LambdaCallback(on_epoch_end=lambda training, logs: seen.append(training.step), every_epoch=False)
    fit(
        look,
        CSVLogger(tmp_path / "log.csv"),
        TensorBoard(tmp_path / "board"),
        ProgressBar(),
        TerminateOnNaN(),
        Timing(),
    )
    assert seen == [8 * 3] * 8
    seen.clear()
    fit(look, EarlyStopping(patience=99))
    assert seen == [3 * epoch for epoch in range(1, 9)]


@both_dispatches
def test_a_schedule_after_each_epoch_is_that_inside_the_step(dispatch):
    """As ``optim.scheduled(…, every=steps)``, which is compared with PyTorch elsewhere."""
    schedule = lr_scheduler.StepLR(step_size=2, gamma=0.3)
    inside = optim.scheduled(optim.SGD(lr=0.5, momentum=0.9), schedule, every=3)
    a, wanted = fit(optimizer=inside, dispatch=dispatch)
    b, history = fit(LearningRateScheduler(schedule), dispatch=dispatch)
    same(a, b)
    assert history["lr"] == wanted["lr"]
    assert len(set(history["lr"])) == 4
    c, history = fit(LearningRateScheduler(lambda epoch, lr: 0.5 * 0.3 ** (epoch // 2)), dispatch=dispatch)
    np.testing.assert_allclose(history["lr"], wanted["lr"], rtol=1e-6)
    for key, value in state_dict(c).items():
        np.testing.assert_allclose(value, state_dict(a)[key], rtol=1e-4, atol=1e-6)


def test_a_plateau_lowers_the_rate():
    _, history = fit(ReduceLROnPlateau(patience=0, factor=0.5, threshold=0.0), epochs=12)
    wanted, best, rate = [], math.inf, 0.5
    for value in history["val_loss"]:
        wanted.append(rate)
        rate, best = (rate, value) if value < best else (rate * 0.5, best)
    assert history["lr"] == wanted
    assert rate < 0.5


def test_the_best_weights_on_the_disk_give_the_best_value(tmp_path):
    saving = WeightsCheckpoint(tmp_path, "val_loss", keep=2)
    _, history = fit(saving)
    assert saving.best is not None
    module = model()
    load_state_dict(module, load_file(saving.best))
    found = engine.evaluate(module, VALIDATION, loss=nn.CrossEntropyLoss(), batch_size=4)
    assert found["loss"] == pytest.approx(history.best("val_loss")[1], rel=1e-6)
    assert sorted(history["val_loss"])[:2] == [value for _, value, _ in saving.files]
    assert len(list(tmp_path.iterdir())) == 2


def test_the_graph_and_the_histograms_of_a_run(tmp_path):
    board = TensorBoard(tmp_path, histograms=4)
    fit(board, LambdaCallback(on_train_end=lambda training: board.add_image("image", np.zeros((3, 2, 2), np.uint8))))
    data = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("events.*")))
    for text in (b"Linear[0]/weight", b"Tanh[1]", b"0.weight", b"2.bias", b"val_accuracy", b"image"):
        assert text in data, text


class Fails(Callback):
    """Raises in its second epoch."""

    def on_epoch_end(self, training, logs):
        if logs["epoch"] == 2:
            raise RuntimeError("the disk is on fire")


def test_what_is_open_is_closed_after_an_exception(tmp_path):
    out = io.StringIO()
    board, bar = TensorBoard(tmp_path), ProgressBar(console=Console(file=out, force_terminal=True, width=100))
    with pytest.raises(RuntimeError, match="the disk is on fire"):
        fit(board, bar, Fails(), verbose=1)
    assert board._writers == {}
    assert bar._bar is None
    assert out.getvalue().count("\x1b[?25h") == out.getvalue().count("\x1b[?25l") == 1  # the cursor is back
    assert b"val_loss" in next(tmp_path.glob("events.*")).read_bytes()


@both_dispatches
def test_a_number_that_is_not_finite_stops_the_run_at_its_step(dispatch):
    def spoil(training):
        if training.epoch == 2:
            training.lr = 1e38

    change = LambdaCallback(on_epoch_begin=spoil)
    module, history = fit(change, TerminateOnNaN(), dispatch=dispatch, check_values=False)
    assert history.stop_reason is not None
    assert history.stop_reason.startswith("step ")
    assert history.stop_reason.endswith(" is not finite")
    assert 6 <= int(history.stop_reason.split()[1].rstrip(":")) < 9
    assert len(history) < 8
    assert all(np.isfinite(value).all() for value in state_dict(module).values())


def test_the_steps_rows_are_those_of_the_epoch_so_far():
    """The last of an epoch's is the epoch's."""
    seen: dict[int, dict[str, float]] = {}
    watch = LambdaCallback(on_steps_end=lambda t: seen.__setitem__(t.step, t.logs()), every_steps=1)
    _, history = fit(watch, epochs=2)
    assert sorted(seen) == [1, 2, 3, 4, 5, 6]
    for epoch in (1, 2):
        assert seen[3 * epoch] == {name: history[name][epoch - 1] for name in ("loss", "accuracy")}
