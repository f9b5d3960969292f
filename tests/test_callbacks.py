"""Callbacks that stop a run, keep weights or change the learning rate, on a scripted run."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from callback_driver import STEPS, drive, drive_with_a_crash, new_training, same_weights, weights_of

from jaxport import optim
from jaxport.engine.callbacks import (
    Callback,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ReduceLROnPlateau,
    TerminateOnNaN,
    WeightsCheckpoint,
)
from jaxport.errors import UsageError
from jaxport.interop import load_file
from jaxport.optim import lr_scheduler

pytestmark = pytest.mark.usefixtures("strict_jax")
nan = math.nan


def rows(*values, name="val_loss", **columns):
    """One row an epoch; None leaves the column out, as an epoch without validation does."""
    found = [{"loss": 1.0} | ({} if value is None else {name: value}) for value in values]
    return [row | {key: column[i] for key, column in columns.items()} for i, row in enumerate(found)]


class Recorder(Callback):
    """Keeps the weights at each epoch's end."""

    def __init__(self):
        self.weights = []

    def on_epoch_end(self, training, logs):
        self.weights.append(weights_of(training))


# ---------------------------------------------------------------------------------------------------- early stopping

# What Keras 3.15 does with the same values: epochs run, and the epoch whose weights it restores (from 1).
STOPS = {
    "patience 0": ([3, 2, 1, 1, 0], {}, 4, 3),
    "patience 1 is patience 0": ([3, 2, 1, 1, 0], {"patience": 1}, 4, 3),
    "patience 2": ([3, 2, 2.5, 2.1, 0], {"patience": 2}, 4, 2),
    "improves in time": ([3, 2, 2.5, 1.9, 2, 1.8], {"patience": 2}, 6, 6),
    "equal is no improvement": ([2, 2, 2, 0], {"patience": 2}, 3, 1),
    "min_delta": ([3, 2.95, 2.9, 2.0, 0], {"patience": 2, "min_delta": 0.2}, 3, 1),
    "min_delta adds up": ([3, 2.95, 2.7, 2.65, 2.6], {"patience": 3, "min_delta": 0.2}, 5, 3),
    "rises": ([0.1, 0.3, 0.2, 0.2, 0.9], {"monitor": "val_accuracy", "patience": 2}, 4, 2),
    "told to rise": ([1, 3, 2, 2, 9], {"mode": "max", "patience": 2}, 4, 2),
    "baseline not beaten": ([5, 4, 3, 3.5, 0], {"baseline": 1.0, "patience": 2}, 4, 3),
    "baseline not beaten while improving": ([5, 4, 3, 2, 1.5], {"baseline": 1.0, "patience": 2}, 5, 5),
    "baseline beaten": ([5, 0.9, 0.95, 0.94, 0], {"baseline": 1.0, "patience": 2}, 4, 2),
    "starts later": ([1, 0.5, 8, 7, 7.5, 0], {"start_from_epoch": 2}, 5, 4),
    "epochs without a value": ([3, None, 4, None, 4, 0], {"patience": 2}, 5, 1),
    "never stops": ([5, 4, 3], {"patience": 2}, 3, 3),
    "never stops, the best is earlier": ([5, 3, 4], {"patience": 2}, 3, 2),
    "first epoch cannot stop": ([3], {}, 1, 1),
}
# Where we differ: Keras takes a first NaN as the best for ever.
NANS = {
    "NaN first": ([nan, 3, 2, 2.5, 0], {"patience": 1}, 4, 3),
    "NaN in between": ([3, nan, nan, 1], {"patience": 2}, 3, 1),
    "NaN throughout": ([nan, nan, nan], {"patience": 1}, 2, 1),
}


@pytest.mark.parametrize("case", [*STOPS, *NANS])
def test_early_stopping(case):
    values, options, epochs, best = (STOPS | NANS)[case]
    name = options.get("monitor", "val_loss")
    recorder, stopping = Recorder(), EarlyStopping(**options)
    training = drive(new_training(len(values)), [recorder, stopping], rows(*values, name=name))
    assert len(training.history) == epochs
    assert stopping.best_epoch == best
    assert (stopping.stopped_epoch == epochs) == (training.stop_reason is not None)
    for kept, now in zip(recorder.weights[best - 1], weights_of(training), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_early_stopping_says_why():
    training = drive(new_training(9), [EarlyStopping(patience=2)], rows(3, 0.123456789, 1, 2, 0))
    assert training.stop_reason == "val_loss has not improved on 0.123457 of epoch 2"
    training = drive(new_training(9), [EarlyStopping(baseline=0.1)], rows(3, 2, 2.5))
    assert training.stop_reason == "val_loss has not improved on 2 of epoch 2 and the baseline 0.1"
    training = drive(new_training(9), [EarlyStopping()], rows(nan, nan))
    assert training.stop_reason == "val_loss is NaN"


def test_early_stopping_without_restoring():
    recorder, stopping = Recorder(), EarlyStopping(restore_best_weights=False)
    training = drive(new_training(9), [recorder, stopping], rows(1, 2, 0))
    for last, now in zip(recorder.weights[-1], weights_of(training), strict=True):
        np.testing.assert_array_equal(last, now)
    assert stopping.best_weights is None
    assert stopping.best == 1


def test_the_best_weights_survive_a_step_that_takes_the_arrays_over():
    stopping = EarlyStopping(patience=5)
    training = drive(new_training(3), [stopping], rows(1, 2, 3), until=1, end=False)
    assert stopping.best_weights is not None
    kept = [np.asarray(w) for w in stopping.best_weights]
    for leaf in training.state.params["weight"], training.state.params["bias"]:
        leaf[...].delete()
    for one, other in zip(kept, stopping.best_weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_interrupted_run_keeps_its_last_weights():
    """It may go on from there."""

    def interrupt(training):
        training.history.interrupted = True

    recorder = Recorder()
    training = drive(
        new_training(3), [recorder, LambdaCallback(on_train_end=interrupt), EarlyStopping()], rows(1, 1, 1)
    )
    for last, now in zip(recorder.weights[-1], weights_of(training), strict=True):
        np.testing.assert_array_equal(last, now)


@pytest.mark.parametrize(("patience", "epochs"), [(2, 3), (4, 5)])
def test_a_run_that_was_stopped_stays_so_unless_patience_grows(patience, epochs):
    table = rows(1, 2, 3, 4, 5, 6, 7)
    first = EarlyStopping(patience=2)
    training = drive(new_training(7), [first], table)
    assert len(training.history) == 3
    again, training.stop_reason = EarlyStopping(patience=patience), None
    again.load_state_dict(first.state_dict())
    drive(training, [again], table)
    assert len(training.history) == epochs
    assert training.stop_reason == "val_loss has not improved on 1 of epoch 1"
    assert again.stopped_epoch == epochs


def test_one_object_serves_two_runs():
    stopping = EarlyStopping(patience=1)
    drive(new_training(5), [stopping], rows(0.1, 0.2, 0.0, 0.0, 0.0))
    again = drive(new_training(5), [stopping], rows(9, 8, 7, 7, 0))
    assert len(again.history) == 4
    assert stopping.best_epoch == 3


UNKNOWN = {
    "val_los": r"monitor='val_los' is no column of this run; it has loss, val_loss, lr, seconds$",
    "los": r"monitor='los' is no column of this run; it has loss, val_loss, lr, seconds$",
}
MONITORING = {
    "EarlyStopping": lambda name, folder: EarlyStopping(name, mode="min"),
    "WeightsCheckpoint": lambda name, folder: WeightsCheckpoint(folder, name, mode="min"),
    "ReduceLROnPlateau": lambda name, folder: ReduceLROnPlateau(name, mode="min"),
}


@pytest.mark.parametrize("kind", MONITORING)
@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_column_is_an_error_at_the_first_epoch(kind, name, tmp_path):
    training = new_training(3)
    with pytest.raises(UsageError, match=f"{kind}: {UNKNOWN[name]}"):
        drive(training, [MONITORING[kind](name, tmp_path)], rows(1, 2, 3))
    assert len(training.history) == 1


@pytest.mark.parametrize("kind", MONITORING)
def test_a_run_without_validation_is_named(kind, tmp_path):
    with pytest.raises(UsageError, match=f"{kind}: monitor='val_loss' .* fit was given no validation data"):
        drive(new_training(3), [MONITORING[kind]("val_loss", tmp_path)], [{"loss": 1.0}] * 3)


# --------------------------------------------------------------------------------------------------------- weights


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_best_weights_are_kept(tmp_path):
    recorder, saving = Recorder(), WeightsCheckpoint(tmp_path / "a" / "b", "val_loss", keep=2)
    drive(new_training(6), [recorder, saving], rows(3, 1, nan, 2, 1, 0.5))
    assert names(tmp_path / "a" / "b") == ["weights-0002-1.safetensors", "weights-0006-0.5.safetensors"]
    assert saving.best == str(tmp_path / "a" / "b" / "weights-0006-0.5.safetensors")
    for epoch, name in ((2, "weights-0002-1.safetensors"), (6, "weights-0006-0.5.safetensors")):
        stored = load_file(tmp_path / "a" / "b" / name)
        assert sorted(stored) == ["bias", "weight"]
        bias, weight = recorder.weights[epoch - 1]
        np.testing.assert_array_equal(stored["weight"], weight)
        np.testing.assert_array_equal(stored["bias"], bias)


@pytest.mark.parametrize(
    ("values", "options", "left"),
    [
        ([3, 2, 1], {"monitor": None}, ["weights-0003"]),
        ([3, 2, 1, 0], {"monitor": None, "keep": None}, [f"weights-000{i}" for i in (1, 2, 3, 4)]),
        ([3, 2, 1, 0], {"monitor": None, "keep": 2, "every_epochs": 2}, ["weights-0002", "weights-0004"]),
        ([3, 0, 1, 2], {"every_epochs": 3}, ["weights-0003-1"]),
        ([3, 4, 1e-7, 9], {}, ["weights-0003-1e-07"]),
        ([3, 4, 5], {"mode": "max", "keep": 2}, ["weights-0002-4", "weights-0003-5"]),
        ([3, 2, 4], {"keep": None}, ["weights-0001-3", "weights-0002-2", "weights-0003-4"]),
        ([None, 2, None, 1], {}, ["weights-0004-1"]),
    ],
)
def test_which_weights_stay(values, options, left, tmp_path):
    saving = WeightsCheckpoint(tmp_path, **({"monitor": "val_loss"} | options))
    table = rows(*values)
    if values[0] is None:  # the run has the column, later
        table[0]["val_loss"] = nan
    drive(new_training(len(values)), [saving], table)
    assert names(tmp_path) == [f"{name}.safetensors" for name in left]


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "weights-0001-9.safetensors").write_bytes(b"another run's")
    drive(new_training(2), [WeightsCheckpoint(tmp_path, "val_loss")], rows(3, 2))
    assert names(tmp_path) == ["weights-0001-9.safetensors", "weights-0002-2.safetensors"]


def test_a_folder_that_cannot_be_made_is_an_error_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"WeightsCheckpoint: folder='.*file/x' cannot be made: .*give a folder"):
        drive(new_training(2), [WeightsCheckpoint(tmp_path / "file" / "x")], rows(1, 2))


# ------------------------------------------------------------------------------------------------------ the rate


def lrs(training):
    return training.history["lr"]


def test_a_function_sets_the_rate_before_each_epoch():
    seen = []

    def schedule(epoch, lr):
        seen.append((epoch, lr))
        return lr if epoch < 2 else lr * 0.5

    training = drive(new_training(4, lr=0.1), [LearningRateScheduler(schedule)], rows(*range(4)))
    assert [epoch for epoch, _ in seen] == [0, 1, 2, 3]
    assert seen[0][1] == 0.1  # as the user wrote it, not as float32 holds it
    np.testing.assert_allclose(lrs(training), [0.1, 0.1, 0.05, 0.025], rtol=1e-6)


@pytest.mark.parametrize("result", [-0.1, nan, None, "fast", [0.1], True])
def test_a_function_that_returns_no_rate(result):
    callback = LearningRateScheduler(lambda epoch, lr: lr if epoch == 0 else result)
    with pytest.raises(UsageError, match=r"schedule\(epoch=1, lr\) must be a finite number of at least 0, got"):
        drive(new_training(3), [callback], rows(1, 2, 3))


@pytest.mark.parametrize(
    "scheduler",
    [
        lr_scheduler.StepLR(step_size=2, gamma=0.1),
        lr_scheduler.LinearLR(start_factor=0.1, total_iters=3),
        lr_scheduler.CosineAnnealingLR(T_max=5),
        lr_scheduler.SequentialLR(
            [lr_scheduler.ConstantLR(factor=0.5, total_iters=2), lr_scheduler.ExponentialLR(gamma=0.9)], milestones=[2]
        ),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_a_scheduler_steps_after_each_epoch(scheduler):
    state, wanted = scheduler.init(0.1), []
    for _ in range(6):
        wanted.append(float(state.lr[0]))
        state = scheduler.step(state)
    training = drive(new_training(6, lr=0.1), [LearningRateScheduler(scheduler)], rows(*range(6)))
    assert lrs(training) == wanted
    assert wanted[0] != wanted[-1]


def test_every_parameter_group_has_its_rate():
    def new():
        optimizer = optim.groups(
            [{"params": "weight", "lr": 0.1}, {"params": "bias", "lr": 0.2}], lambda lr: optim.SGD(lr=lr)
        )
        return new_training(3, optimizer=optimizer)

    training = drive(new(), [LearningRateScheduler(lambda epoch, lr: lr / 2)], rows(1, 2, 3))
    np.testing.assert_allclose(training.lr, [0.0125, 0.025], rtol=1e-6)
    training = drive(new(), [LearningRateScheduler(lr_scheduler.ExponentialLR(0.5))], rows(1, 2, 3))
    np.testing.assert_allclose(training.lr, [0.0125, 0.025], rtol=1e-6)
    training = drive(new(), [ReduceLROnPlateau(patience=0, min_lr=[0.0, 0.15])], rows(1, 2, 0))
    np.testing.assert_allclose(training.lr, [0.01, 0.15], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "options", "wanted"),
    [
        ([3, 3, 3, 3, 3], {"patience": 1}, [1, 1, 1, 0.1, 0.1]),
        ([3, 2, 1, 1, 1], {"patience": 0, "factor": 0.5}, [1, 1, 1, 1, 0.5]),
        ([1, 2, 3, 3, 2], {"patience": 0, "mode": "max"}, [1, 1, 1, 1, 0.1]),
        ([3, 3, 3, 3, 3], {"patience": 0, "cooldown": 2, "factor": 0.5}, [1, 1, 0.5, 0.5, 0.5]),
        ([3, 3, 3, 3, 3], {"patience": 0, "min_lr": 0.25, "factor": 0.5}, [1, 1, 0.5, 0.25, 0.25]),
        ([3, nan, 3, None, 3], {"patience": 1}, [1, 1, 1, 0.1, 0.1]),
    ],
)
def test_a_plateau_lowers_the_rate(values, options, wanted):
    training = drive(new_training(5, lr=1.0), [ReduceLROnPlateau(**options)], rows(*values))
    np.testing.assert_allclose(lrs(training), wanted, rtol=1e-6)


def test_a_rate_that_others_set_is_the_one_that_is_lowered():
    def change(training, logs):
        if logs["epoch"] == 1:
            training.lr = 0.5

    callbacks = [LambdaCallback(on_epoch_end=change), ReduceLROnPlateau(patience=0)]
    training = drive(new_training(3, lr=1.0), callbacks, rows(3, 3, 3))
    np.testing.assert_allclose(lrs(training), [1.0, 0.5, 0.05], rtol=1e-6)


@pytest.mark.parametrize("make", [lambda: LearningRateScheduler(lambda epoch, lr: lr), ReduceLROnPlateau])
def test_an_optimiser_without_a_rate_in_its_state(make):
    with pytest.raises(UsageError, match="the optimiser keeps no learning rate in its state; use one of"):
        drive(new_training(2, optimizer=optax.sgd(0.1)), [make()], rows(1, 2))


# ----------------------------------------------------------------------------------------------------- bad numbers


def test_a_bad_step_stops_the_run():
    def spoil(training):
        if training.step == STEPS + 1:
            training.bad_step, training.bad_tensor = training.step, "gradient of weight"

    training = drive(new_training(5), [LambdaCallback(on_steps_end=spoil), TerminateOnNaN()], rows(1, 2, 3, 4, 5))
    assert training.stop_reason == f"step {STEPS + 1}: gradient of weight is not finite"
    assert len(training.history) == 2
    assert TerminateOnNaN.guard


@pytest.mark.parametrize("loss", [nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run(loss):
    training = drive(new_training(5), [TerminateOnNaN()], [{"loss": 1.0}, {"loss": loss}, {"loss": 1.0}])
    assert training.stop_reason == f"epoch 2: the loss is {loss}"
    assert len(training.history) == 2


# -------------------------------------------------------------------------------------------------------- functions


def test_functions_are_called_at_their_hooks():
    calls = []
    hooks = ["on_train_begin", "on_epoch_begin", "on_steps_end", "on_epoch_end", "on_train_end"]
    functions = {name: lambda training, *logs, name=name: calls.append((name, training.step, *logs)) for name in hooks}
    callback = LambdaCallback(**functions, every_steps=2)
    drive(new_training(2), [callback], rows(1, 2))
    assert [call[:2] for call in calls] == [
        ("on_train_begin", 0), ("on_epoch_begin", 0), ("on_steps_end", 2), ("on_epoch_end", 3), ("on_epoch_begin", 3),
        ("on_steps_end", 4), ("on_steps_end", 6), ("on_epoch_end", 6), ("on_train_end", 6),
    ]  # fmt: skip
    assert calls[3][2]["val_loss"] == 1
    drive(new_training(2), [LambdaCallback()], rows(1, 2))


# -------------------------------------------------------------------------------------------------------- arguments

BAD = {
    "patience": (lambda: EarlyStopping(patience=-1), "EarlyStopping: patience must be a whole .* at least 0, got -1"),
    "patience type": (lambda: EarlyStopping(patience=1.5), "patience must be a whole number of at least 0, got 1.5"),
    "patience bool": (lambda: EarlyStopping(patience=True), "patience must be a whole number of at least 0, got True"),
    "min_delta": (lambda: EarlyStopping(min_delta=-0.1), "min_delta must be a finite number of at least 0, got -0.1"),
    "baseline": (lambda: EarlyStopping(baseline=nan), "baseline must be a finite number, got nan"),
    "start": (lambda: EarlyStopping(start_from_epoch="2"), "start_from_epoch must be a whole .* least 0, got '2'"),
    "mode": (lambda: EarlyStopping(mode="down"), "EarlyStopping: mode must be 'min', 'max' or 'auto', got 'down'"),
    "unclear": (lambda: EarlyStopping("score"), "EarlyStopping: whether 'score' should fall or rise is not known"),
    "monitor": (lambda: EarlyStopping(None), "monitor must be a column's name, such as 'val_loss', got None"),
    "keep": (lambda: WeightsCheckpoint("x", keep=0), "WeightsCheckpoint: keep must be a whole .* least 1, got 0"),
    "every": (lambda: WeightsCheckpoint("x", every_epochs=0), "every_epochs must be a whole .* least 1, got 0"),
    "folder": (lambda: WeightsCheckpoint(7), "WeightsCheckpoint: folder must be a path, got 7"),
    "schedule": (lambda: LearningRateScheduler(0.1), r"schedule must be a function \(epoch, lr\) → lr or .*, got 0.1"),
    "plateau": (
        lambda: LearningRateScheduler(lr_scheduler.ReduceLROnPlateau()), r"use callbacks.ReduceLROnPlateau\(monitor=…\)"
    ),
    "factor": (lambda: ReduceLROnPlateau(factor=1.0), "ReduceLROnPlateau: factor must be < 1, got 1.0"),
    "threshold": (lambda: ReduceLROnPlateau(threshold_mode="x"), "threshold_mode must be 'rel' or 'abs', got 'x'"),
    "hook": (lambda: LambdaCallback(on_epoch_end=3), "LambdaCallback: on_epoch_end must be a function, got 3"),
    "steps": (lambda: LambdaCallback(every_steps=0), "every_steps must be a whole number of at least 1, got 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_arguments_are_checked_when_a_callback_is_made(case):
    make, message = BAD[case]
    with pytest.raises(UsageError, match=message):
        make()


def test_rates_of_another_number_of_groups():
    with pytest.raises(UsageError, match="min_lr must be one value, or one for each of the 1 groups"):
        drive(new_training(2), [ReduceLROnPlateau(min_lr=[0.1, 0.2])], rows(1, 2))


# ------------------------------------------------------------------------------------------ interrupted and resumed

VALUES = [5, 4, 4.5, 4.4, 3, 3.5, 3.4, 3.3]
RESUMED = {
    "EarlyStopping": lambda folder: EarlyStopping(patience=3),
    "EarlyStopping, not restored": lambda folder: EarlyStopping(patience=3, restore_best_weights=False),
    "WeightsCheckpoint": lambda folder: WeightsCheckpoint(folder, "val_loss", keep=2),
    "WeightsCheckpoint, latest": lambda folder: WeightsCheckpoint(folder, keep=2, every_epochs=2),
    "LearningRateScheduler": lambda folder: LearningRateScheduler(lambda epoch, lr: lr * 0.9),
    "StepLR": lambda folder: LearningRateScheduler(lr_scheduler.StepLR(2)),
    "SequentialLR": lambda folder: LearningRateScheduler(
        lr_scheduler.SequentialLR([lr_scheduler.LinearLR(), lr_scheduler.CosineAnnealingLR(9)], milestones=[3])
    ),
    "ReduceLROnPlateau": lambda folder: ReduceLROnPlateau(patience=1, cooldown=1, factor=0.7),
    "TerminateOnNaN": lambda folder: TerminateOnNaN(),
    "LambdaCallback": lambda folder: LambdaCallback(),
}


@pytest.mark.parametrize("saved", [2, 5, 7])
@pytest.mark.parametrize("kind", RESUMED)
def test_interrupted_and_resumed_equals_uninterrupted(kind, saved, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    once = RESUMED[kind](whole)
    a = drive(new_training(len(VALUES)), [once], rows(*VALUES))
    b, (again,) = drive_with_a_crash(lambda: [RESUMED[kind](parts)], rows(*VALUES), saved, min(saved + 2, len(VALUES)))
    assert a.history.columns == b.history.columns
    assert a.stop_reason == b.stop_reason
    same_weights(a, b)
    if whole.exists():
        assert names(whole) == names(parts)
        for name in names(whole):
            assert (whole / name).read_bytes() == (parts / name).read_bytes()
    if isinstance(once, EarlyStopping) and isinstance(again, EarlyStopping):
        assert [getattr(once, n) for n in ("best", "best_epoch", "stopped_epoch", "wait")] == [
            getattr(again, n) for n in ("best", "best_epoch", "stopped_epoch", "wait")
        ]


def test_a_checkpoint_of_another_schedule_is_refused():
    first = LearningRateScheduler(lr_scheduler.SequentialLR([lr_scheduler.LinearLR(), lr_scheduler.StepLR(1)], [3]))
    drive(new_training(3), [first], rows(1, 2, 3))
    second = LearningRateScheduler(lr_scheduler.StepLR(2))
    second.load_state_dict(first.state_dict())
    with pytest.raises(UsageError, match="the checkpoint's schedule is another one than StepLR"):
        drive(new_training(3), [second], rows(1, 2, 3))


def test_rates_are_exact_across_a_checkpoint():
    """The rate in the state is float32; the schedule's further digits are in the checkpoint too."""
    scheduler = LearningRateScheduler(lr_scheduler.ExponentialLR(0.9))
    drive(new_training(3, lr=0.1), [scheduler], rows(1, 2, 3))
    assert [array.dtype for array in scheduler.state_dict()["arrays"] if array.dtype == jnp.float32]
