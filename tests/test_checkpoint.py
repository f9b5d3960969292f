"""Checkpoints: what they hold, when they are made, how a run goes on from one, and what is refused."""

import json
import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_runs import (
    EPOCHS,
    STEPS,
    WAYS,
    At,
    Net,
    Runs,
    collated,
    differences,
    examples,
    source,
    the_callbacks,
)

from jaxport import cli, data, engine, nn, optim
from jaxport.engine.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    TerminateOnNaN,
    Timing,
    WeightsCheckpoint,
)
from jaxport.engine.checkpoint_store import Store
from jaxport.engine.checkpoint_values import names_of_arrays, put_together, take_apart
from jaxport.errors import UsageError
from jaxport.optim.swa_utils import get_ema_avg_fn

ALL = EPOCHS * STEPS


class Killed(KeyboardInterrupt):
    """Ends a run like a kill: nothing is saved any more."""


def kill(training: Any) -> None:
    raise Killed


def fail(training: Any) -> None:
    raise RuntimeError("a callback that raises")


@pytest.fixture(scope="module")
def runs() -> Runs:
    return Runs()


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What runs come to that were never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    return {way: runs.train(way, [*the_callbacks(folder / way), Checkpoint(folder / way, None, 2)]) for way in WAYS}


def ended(run: dict[str, Any]) -> dict[str, Any]:
    """An outcome without what helps to test."""
    return {**run, "callbacks": [state for state in run["callbacks"] if state]}


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


# ----------------------------------------------------------------------------------------------------------- going on


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("way", WAYS)
def test_a_run_goes_on_from_the_middle_of_an_epoch(
    runs: Runs, whole: Any, way: str, count: int, tmp_path: Path
) -> None:
    folder = tmp_path / "c"
    make = lambda: [*the_callbacks(folder), Checkpoint(folder, every_epochs=None, every_steps=2)]  # noqa: E731
    with pytest.raises(Killed):
        runs.train(way, [*make(), At("on_steps_end", count + 3, kill)])
    assert 0 < steps_in(folder)[-1] < ALL
    # Other weights and other random streams to begin with: all comes from the checkpoint.
    assert differences(ended(whole[way]), ended(runs.train(way, make(), rngs=5))) == []


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_epoch_begin", "on_steps_end"])
@pytest.mark.parametrize("way", ["scan", "loader"])
def test_a_callback_that_raises_costs_nothing(runs: Runs, way: str, hook: str, tmp_path: Path) -> None:
    def make(folder: Path, failing: list[Callback]) -> list[Callback]:
        stopping, scheduler, log = the_callbacks(folder)
        falling = LearningRateScheduler(lambda epoch, lr: lr * 0.9)
        return [Checkpoint(folder, every_epochs=3), scheduler, falling, *failing, stopping, log]

    wanted = runs.train(way, make(tmp_path / "a", []))
    with pytest.raises(RuntimeError, match="a callback that raises"):
        runs.train(way, make(tmp_path / "b", [At(hook, 2, fail)]))
    assert differences(ended(wanted), ended(runs.train(way, make(tmp_path / "b", [])))) == []


@pytest.mark.parametrize("way", ["scan", "loader"])
def test_a_validation_that_fails_costs_nothing(runs: Runs, way: str, tmp_path: Path) -> None:
    class Batches:
        def __init__(self, fails_at: int) -> None:
            self.left = fails_at

        def __iter__(self) -> Any:
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("no validation")
            yield examples(8)

    wanted = runs.train(way, [Checkpoint(tmp_path / "a", 3)], validation=Batches(99))
    with pytest.raises(RuntimeError, match="no validation"):
        runs.train(way, [Checkpoint(tmp_path / "b", 3)], validation=Batches(2))
    assert steps_in(tmp_path / "b") == [10]
    assert differences(wanted, runs.train(way, [Checkpoint(tmp_path / "b", 3)], validation=Batches(99))) == []


@pytest.mark.parametrize("way", ["scan", "steps"])
def test_ctrl_c_and_going_on(runs: Runs, whole: Any, way: str, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    interrupt = At("on_steps_end", 3, lambda training: signal.raise_signal(signal.SIGINT))
    part = runs.train(way, [*the_callbacks(folder), Checkpoint(folder, 1, 2), interrupt])
    assert part["steps"] < ALL
    assert steps_in(folder)[-1] == part["steps"]
    made = runs.train(way, [*the_callbacks(folder), Checkpoint(folder, 1, 2)])
    assert differences(ended(whole[way]), ended(made)) == []


def test_it_saves_after_all_others_wherever_it_stands(runs: Runs, whole: Any, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    with pytest.raises(Killed):
        runs.train("scan", [Checkpoint(folder, 1, 2), *the_callbacks(folder), At("on_epoch_begin", 3, kill)])
    made = runs.train("scan", [Checkpoint(folder, 1, 2), *the_callbacks(folder)])
    assert differences(ended(whole["scan"]), ended(made)) == []


def test_more_epochs_than_before(runs: Runs, whole: Any, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    runs.train("scan", [*the_callbacks(folder), Checkpoint(folder, None, 2)], epochs=2)
    made = runs.train("scan", [*the_callbacks(folder), Checkpoint(folder, None, 2)])
    assert differences(ended(whole["scan"]), ended(made)) == []


def test_a_run_that_had_all_its_epochs_is_over_at_once(runs: Runs, whole: Any, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    steps = At("on_steps_end", 1, fail)
    runs.train("scan", [*the_callbacks(folder), Checkpoint(folder, None, 2)])
    made = runs.train("scan", [*the_callbacks(folder), Checkpoint(folder, None, 2), steps])
    assert differences(ended(whole["scan"]), ended(made)) == []


def test_early_stopping_stays_stopped(runs: Runs, tmp_path: Path) -> None:
    make = lambda: [EarlyStopping("loss", min_delta=100.0, patience=1), Checkpoint(tmp_path / "c", 3)]  # noqa: E731
    first, second = runs.train("scan", make(), epochs=9), runs.train("scan", make(), epochs=9)
    assert first["columns"]["epoch"] == second["columns"]["epoch"] == [1.0, 2.0]
    assert differences(first, second) == []


def test_weight_files_and_times_go_on(runs: Runs, tmp_path: Path) -> None:
    def make(name: str) -> list[Callback]:
        files = WeightsCheckpoint(tmp_path / name / "w", "val_loss", keep=2)
        return [files, Timing(), Checkpoint(tmp_path / name / "c")]

    wanted = runs.train("scan", make("a"))
    with pytest.raises(Killed):
        runs.train("scan", [*make("b"), At("on_epoch_end", 3, kill)])
    made = runs.train("scan", make("b"))
    assert wanted["callbacks"][0] == made["callbacks"][0]
    assert len(made["callbacks"][1]["seconds"]) == EPOCHS
    assert sorted(p.name for p in (tmp_path / "a/w").iterdir()) == sorted(p.name for p in (tmp_path / "b/w").iterdir())


def test_the_csv_file_is_that_of_one_run(runs: Runs, tmp_path: Path) -> None:
    def lines(name: str) -> list[str]:
        return [line.rpartition(",")[0] for line in (tmp_path / f"{name}.csv").read_text().splitlines()]

    runs.train("scan", [*the_callbacks(tmp_path / "a"), Checkpoint(tmp_path / "a", 2)])
    with pytest.raises(Killed):
        runs.train("scan", [*the_callbacks(tmp_path / "b"), Checkpoint(tmp_path / "b", 2), At("on_epoch_end", 3, kill)])
    assert len(lines("b")) == 4
    runs.train("scan", [*the_callbacks(tmp_path / "b"), Checkpoint(tmp_path / "b", 2)])
    assert lines("a") == lines("b")


@pytest.mark.parametrize(
    "options",
    [{"average": get_ema_avg_fn(0.9)}, {"precision": "float16", "norm": False}, {"optimizer": optim.SGD(lr=0.1)}],
    ids=["average", "float16", "no-momentum"],
)
def test_averages_loss_scales_and_empty_states(options: dict[str, Any], tmp_path: Path) -> None:
    runs = Runs(**options)
    wanted = runs.train("scan", [Checkpoint(tmp_path / "a", None, 3)])
    with pytest.raises(Killed):
        runs.train("scan", [Checkpoint(tmp_path / "b", None, 3), At("on_steps_end", 4, kill)])
    assert differences(ended(wanted), ended(runs.train("scan", [Checkpoint(tmp_path / "b", None, 3)]))) == []


@pytest.mark.parametrize("streamed", [True, False])
def test_a_loader_that_had_begun_goes_on_where_it_was(runs: Runs, streamed: bool, tmp_path: Path) -> None:
    def loader(epoch: int) -> data.DataLoader:
        made = data.DataLoader(examples(), 8, shuffle=True, collate=collated if streamed else None, to_device=False)
        made.load_state_dict({"seed": 0, "epoch": epoch, "position": 0})
        return made

    way, begun = "loader" if streamed else "scan", loader(7)
    wanted = runs.train(way, [Checkpoint(tmp_path / "a")], train_data=begun)
    assert begun.state_dict() == {"seed": 0, "epoch": 7 + EPOCHS, "position": 0}
    with pytest.raises(Killed):
        runs.train(way, [Checkpoint(tmp_path / "b"), At("on_epoch_end", 2, kill)], train_data=loader(7))
    fresh = loader(0)
    assert differences(ended(wanted), ended(runs.train(way, [Checkpoint(tmp_path / "b")], train_data=fresh))) == []
    assert fresh.state_dict() == begun.state_dict()
    again = loader(0)
    runs.train(way, [Checkpoint(tmp_path / "b")], train_data=again)  # is over at once
    assert again.state_dict() == begun.state_dict()


def test_batches_without_a_length(runs: Runs, tmp_path: Path) -> None:
    class Batches:
        def __iter__(self) -> Any:
            x, y = examples(40)
            return ((x[i : i + 8], y[i : i + 8]) for i in range(0, 40, 8))

    make = lambda name: Checkpoint(tmp_path / name, every_epochs=1, every_steps=5)  # noqa: E731
    wanted = runs.train("loader", [make("a")], train_data=Batches(), validation=None)
    assert steps_in(tmp_path / "a") == [10, 15, 20]
    with pytest.raises(Killed):
        runs.train("loader", [make("b"), At("on_epoch_end", 2, kill)], train_data=Batches(), validation=None)
    made = runs.train("loader", [make("b")], train_data=Batches(), validation=None)
    assert differences(ended(wanted), ended(made)) == []


def test_a_step_that_is_not_finite_is_never_saved(tmp_path: Path) -> None:
    runs = Runs(optim.SGD(lr=1e30), guard=True)
    for _ in range(2):  # the second run tries the bad step again
        stopping = TerminateOnNaN()
        runs.train("steps", [stopping, Checkpoint(tmp_path / "c", 1, 1)])
        saved = json.loads((tmp_path / "c" / str(steps_in(tmp_path / "c")[-1]) / "run" / "metadata").read_text())
        assert saved["position"]["step"] == steps_in(tmp_path / "c")[-1] < 4


def test_the_model_goes_on(tmp_path: Path) -> None:
    def fit(name: str, more: list[Callback]) -> engine.Model:
        model = engine.Model(Net())
        model.compile(nn.CrossEntropyLoss(), optim.Adam())
        checkpoint = Checkpoint(tmp_path / name, keep=None)
        model.fit(examples(), 3, callbacks=[checkpoint, *more], batch_size=8, verbose=0, dispatch="scan")
        return model

    wanted = fit("a", [])
    with pytest.raises(Killed):
        fit("b", [At("on_epoch_end", 2, kill)])
    made = fit("b", [])
    for one, other in zip(*(jax.tree.leaves(model._current()[1].opt_state) for model in (wanted, made)), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(UsageError, match=r"seed=0; this run has seed=1; start anew in another folder"):
        wanted.fit(examples(), 3, callbacks=[Checkpoint(tmp_path / "a")], batch_size=8, verbose=0, dispatch="scan")


# ---------------------------------------------------------------------------------------------------- when it is saved


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ({"keep": None}, [5, 10, 15, 20]),
        ({"keep": 2}, [15, 20]),
        ({"every_epochs": 3, "keep": None}, [15, 20]),
        ({"every_epochs": None, "keep": None}, [20]),
        ({"every_epochs": None, "every_steps": 5, "keep": None}, [5, 10, 15, 20]),
        ({"every_epochs": 2, "every_steps": 4, "keep": None}, [4, 8, 10, 12, 16, 20]),
        ({"every_epochs": 2, "every_steps": 4, "keep": None, "asynchronous": False}, [4, 8, 10, 12, 16, 20]),
    ],
)
def test_when_it_is_saved(runs: Runs, arguments: dict[str, Any], steps: list[int], tmp_path: Path) -> None:
    runs.train("scan", [Checkpoint(tmp_path / "c", **arguments)], validation=None)
    assert steps_in(tmp_path / "c") == steps
    assert not [path for path in (tmp_path / "c").iterdir() if "tmp" in path.name]


def test_a_stop_inside_an_epoch_is_saved(runs: Runs, tmp_path: Path) -> None:
    stop = At("on_steps_end", 7, lambda training: training.stop("enough"))
    made = runs.train("steps", [Checkpoint(tmp_path / "c"), stop])
    assert steps_in(tmp_path / "c") == [5, 7]
    assert made["steps"] == 7


def test_two_in_one_run(runs: Runs, tmp_path: Path) -> None:
    make = lambda: [Checkpoint(tmp_path / "a", keep=1), Checkpoint(tmp_path / "b", 2, keep=None)]  # noqa: E731
    with pytest.raises(Killed):
        runs.train("scan", [*make(), At("on_epoch_end", 4, kill)])
    runs.train("scan", make())
    assert steps_in(tmp_path / "a") == [20]
    assert steps_in(tmp_path / "b") == [10, 20]


def test_what_is_written_later_is_what_was_there(runs: Runs, tmp_path: Path) -> None:
    """The next steps take the state's memory over while it is written."""
    seen: dict[int, Any] = {}

    def look(training: Any) -> None:
        seen[training.step] = np.array(jax.tree.leaves(training.state.params)[0], copy=True)

    runs.train("steps", [LambdaCallback(on_steps_end=look), Checkpoint(tmp_path / "c", None, 3, keep=None)])
    store = Store(tmp_path / "c", None, False)
    for step in (3, 9, 18):
        arrays = store.read_arrays(step, dict.fromkeys(store.read_values(step)["arrays"]))
        name = next(name for name in arrays if name.startswith("state.params"))
        np.testing.assert_array_equal(arrays[name], seen[step])
    store.close()


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.fixture(scope="module")
def made(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch and a half."""
    folder = tmp_path_factory.mktemp("made") / "c"
    stop = At("on_steps_end", 7, lambda training: training.stop("enough"))
    runs.train("steps", [EarlyStopping("loss", patience=9), Checkpoint(folder, asynchronous=False), stop])
    return folder


def copied(made: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(made, tmp_path / "c"))


def refusal(runs: Runs, folder: Path, callbacks: Any = None, **options: Any) -> str:
    callbacks = [EarlyStopping("loss", patience=9)] if callbacks is None else callbacks
    checkpoint = Checkpoint(folder, resume=options.pop("resume", True))
    with pytest.raises(UsageError) as caught:
        runs.train("steps", [*callbacks, checkpoint], **options)
    assert not any(getattr(callback, "resumed", False) for callback in callbacks), "a callback was changed"
    return str(caught.value)


def test_other_runs_are_refused(runs: Runs, made: Path) -> None:
    name = f"checkpoint {made / '7'}"
    assert refusal(runs, made, seed=2) == (
        f"{name} is of a run with seed=1; this run has seed=2; start anew in another folder"
    )
    told = refusal(runs, made, batch_size=9)
    assert "batch_size=8, steps_per_epoch=5; this run has batch_size=9, steps_per_epoch=4" in told
    assert "examples=36; this run has examples=37" in refusal(runs, made, train_data=examples(37))
    told = refusal(runs, made, [Timing(), EarlyStopping("loss")])
    assert f"{name} is of a run with the callbacks EarlyStopping; this run has Timing, EarlyStopping (those" in told
    assert "resume is False" in refusal(runs, made, resume=False)


def test_another_loader_seed_is_refused(runs: Runs, tmp_path: Path) -> None:
    runs.train("loader", [Checkpoint(tmp_path / "c")], epochs=1)
    loader = source("loader")
    loader.seed = 4
    with pytest.raises(UsageError, match="loader_seed=3; this run has loader_seed=4"):
        runs.train("loader", [Checkpoint(tmp_path / "c")], train_data=loader)


def test_other_models_and_optimisers_are_refused(made: Path) -> None:
    told = refusal(Runs(width=7), made)
    assert "is of another model or optimiser; different: state.params.fc1.bias is float32[6], needed is" in told
    assert "unknown: state.opt_state" in refusal(Runs(optim.SGD(lr=0.1)), made)
    told = refusal(Runs(average=get_ema_avg_fn(0.9)), made)
    assert "is of another model or optimiser; missing: state.average" in told


@pytest.mark.parametrize("layout", [0, 2])
def test_another_layout_is_refused(runs: Runs, made: Path, layout: int, tmp_path: Path) -> None:
    folder = copied(made, tmp_path)
    values = json.loads((folder / "7/run/metadata").read_text())
    (folder / "7/run/metadata").write_text(json.dumps({**values, "layout": layout, "jaxport": "9.9"}))
    wanted = f"has layout {layout}; this version reads layout 1: go on with the version that wrote it (jaxport 9.9), or"
    assert wanted in refusal(runs, folder)
    (folder / "7/run/metadata").write_text("[]")
    assert "is none of jaxport's" in refusal(runs, folder)


def test_damaged_ones_are_named(runs: Runs, made: Path, tmp_path: Path) -> None:
    nodes = [path.relative_to(made) for path in (made / "7/arrays/d").iterdir()]
    needed = [Path("7/run/metadata"), Path("7/arrays/manifest.ocdbt"), Path("7/arrays/_METADATA"), *nodes]
    for number, path in enumerate(needed):
        folder = copied(made, tmp_path / str(number))
        content = (folder / path).read_bytes()
        (folder / path).write_bytes(content[: len(content) // 2])
        told = refusal(runs, folder)
        assert f"checkpoint {folder / '7'} is damaged (" in told, path
        assert "delete that folder" in told


def test_after_deleting_a_damaged_one_the_run_goes_on_from_the_one_before(
    runs: Runs, made: Path, tmp_path: Path
) -> None:
    import shutil

    folder = copied(made, tmp_path)
    shutil.rmtree(folder / "7")
    assert runs.train("steps", [EarlyStopping("loss", patience=9), Checkpoint(folder)])["steps"] == ALL


def test_a_folder_that_cannot_be_written(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"Checkpoint: folder='.*file/c' cannot be made: Not a directory"):
        runs.train("steps", [Checkpoint(tmp_path / "file/c")])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"every_epochs": 0}, "Checkpoint: every_epochs must be a whole number of at least 1, got 0"),
        ({"every_steps": 1.5}, "Checkpoint: every_steps must be a whole number of at least 1, got 1.5"),
        ({"keep": 0}, "Checkpoint: keep must be a whole number of at least 1, got 0"),
        ({"folder": 3}, "Checkpoint: folder must be a path, got 3"),
    ],
)
def test_arguments(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Checkpoint(**{"folder": "c", **arguments})


# ------------------------------------------------------------------------------------------------- what callbacks keep


def test_values_and_arrays_are_taken_apart_and_put_together() -> None:
    key = jax.random.key(3)
    bf16 = np.asarray(jnp.arange(3, dtype=jnp.bfloat16))
    value = {
        "numbers": [1, 2.5, True, None, float("nan"), -float("inf"), np.float32(0.1), np.int64(7)],
        "nested": {"a": (np.arange(3), [bf16]), "empty": np.zeros((0, 2), np.float16), "text": "ä"},
        "jax": [jnp.ones((2, 2)), key],
    }
    arrays: dict[str, Any] = {}
    plain = json.loads(json.dumps(take_apart(value, "x", arrays), allow_nan=False))
    assert sorted(names_of_arrays(plain)) == sorted(name for name, array in arrays.items() if array.size)
    back = put_together(plain, {name: np.asarray(array) for name, array in arrays.items()}.__getitem__)
    assert repr(back["numbers"]) == repr([1, 2.5, True, None, float("nan"), -float("inf"), float(np.float32(0.1)), 7])
    for one, other in zip(jax.tree.leaves(value["nested"]), jax.tree.leaves(back["nested"]), strict=True):
        assert isinstance(one, str) or (one.dtype == other.dtype and one.tobytes() == other.tobytes())
    assert jax.random.key_data(back["jax"][1]).tolist() == jax.random.key_data(key).tolist()
    assert back["jax"][1].dtype == key.dtype


@pytest.mark.parametrize(
    "value", [{1, 2}, {1: "a"}, np.array(["a"]), object(), b"x"], ids=["set", "key", "text", "object", "bytes"]
)
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"callback 0 \(Mine\): state_dict has .*; a checkpoint keeps numbers"):
        take_apart({"a": [value]}, "callback 0 (Mine)", {})


def test_importing_callbacks_loads_no_orbax() -> None:
    import subprocess
    import sys

    code = "import sys, jaxport.engine.callbacks; sys.exit('orbax.checkpoint' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_saving_leaves_training_alone(runs: Runs, tmp_path: Path) -> None:
    plain = runs.train("steps", [LambdaCallback(on_steps_end=lambda training: None)])
    saved = runs.train("steps", [Checkpoint(tmp_path / "c", 1, 3)])
    assert differences(ended(plain), ended(saved)) == []


def test_the_command_line_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    base = ["run", "digits", "--json", "--out", out]
    assert cli.main([*base, "--epochs", "1", "--checkpoint-every", "1"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert cli.main([*base, "--epochs", "2", "--checkpoint-every", "1"]) == 2
    assert "has checkpoints, and resume is False" in capsys.readouterr().err
    assert cli.main([*base, "--epochs", "2", "--resume"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert (first["epochs"], second["epochs"]) == (1, 2)
    assert second["steps"] == 2 * first["steps"]
    assert cli.main(["run", "digits", "--resume"]) == 2
    assert "--resume needs --out DIR" in capsys.readouterr().err
