"""The benchmark's whole epochs, inference and half precision, without PyTorch: inputs, JAX's sides, gate, rows."""

import dataclasses
import json
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxport import bench, engine, nn, ports
from jaxport.bench import infer_jax, runner, tasks, values, worker
from jaxport.bench.epoch_jax import JaxEpoch, without_dropout
from jaxport.bench.infer_jax import JaxInfer
from jaxport.bench.inputs import STEPS, load_inputs, make_inputs, save_inputs
from jaxport.bench.process import WorkerError
from jaxport.bench.recipe import load_recipe, recipe_of, save_recipe
from jaxport.errors import UsageError
from jaxport.interop import load_state_dict, state_dict

# Losses judged in bfloat16, and what the gate says. Allowed: 4 · 0.01 + 2⁻⁸ · 2.
HALF = bench.Reference([2.0, 1.0], [2.01, 1.0], "bfloat16")
GATE = {
    "just inside": ([2.0, 1.047], None),
    "just outside": ([2.0, 1.05], "losses differ"),
    "a quarter off": ([1.5, 1.0], "losses differ"),
}


@pytest.mark.parametrize("name", GATE)
def test_gate_in_half_precision(name):
    losses, expected = GATE[name]
    assert (bench.disagreement(losses, HALF) or "").startswith(f"the {expected}" if expected else "")
    assert (bench.disagreement(losses, HALF) is None) == (expected is None)
    assert "too chaotic" in (bench.disagreement(losses, dataclasses.replace(HALF, eager=[2.1, 1.0])) or "")


def test_gate_names_what_it_compares():
    outputs = bench.Reference(np.zeros(4) + 1, np.zeros(4) + 1, task="infer-1")
    assert "outputs differ: 2 and PyTorch's 1 at number 3" in (
        bench.disagreement(np.array([1, 1, 2, 1]), outputs) or ""
    )
    epochs = bench.Reference([1.0], [1.0], task="epoch")
    assert "at epoch 1" in (bench.disagreement([1.1], epochs) or "")


def test_rows_say_how_many_examples_a_second():
    measured = [
        bench.Measurement("jax", [2.0], [[1.0]], {"peak_memory_mb": 5.0}),
        bench.Measurement("torch", [4.0], [[1.0]]),
    ]
    reference = bench.Reference([1.0], [1.0], task="epoch")
    jax_row, torch_row = bench.judge("digits", 3, 32, measured, reference, examples=70, task="epoch", data="made up")
    assert (jax_row.examples_per_s, torch_row.examples_per_s) == (35_000.0, 17_500.0)
    assert (jax_row.task, jax_row.dtype, jax_row.data, jax_row.peak_memory_mb) == ("epoch", "float32", "made up", 5.0)
    assert jax_row.ratio_to_best_torch == 2.0
    assert bench.judge("digits", 3, 32, measured, None)[0].examples_per_s == 16_000.0


# ------------------------------------------------------------------------------------------------------------ inputs


@pytest.mark.parametrize(
    ("name", "task"),
    [("linreg_plane", "epoch"), ("quadratic", "epoch"), ("imdb", "infer-1"), ("quadratic", "infer-256")],
)
def test_inputs_come_back_as_they_were(name, task, tmp_path):
    port = ports.get(name)
    inputs = make_inputs(port, 3, task=task, dtype="bfloat16")
    save_inputs(inputs, tmp_path)
    np.testing.assert_equal(dataclasses.asdict(load_inputs(tmp_path)), dataclasses.asdict(inputs))
    assert (inputs.task, inputs.dtype) == (task, "bfloat16")
    if task != "epoch":
        assert inputs.x.shape == (1, int(task.removeprefix("infer-")), *port.input_shape)
        assert inputs.x.dtype == port.input_dtype


def test_an_epoch_is_cut_with_a_short_batch_at_its_end():
    inputs = make_inputs(ports.get("digits"), 3, task="epoch")
    assert (len(inputs.x), inputs.batch, inputs.x.dtype) == (3 * 32 + 16, 32, np.uint8)
    assert inputs.order.shape == (2, 2 * 32 + 16)
    assert (np.sort(inputs.order) == np.arange(80)).all()
    assert (inputs.order[0] != inputs.order[1]).any()
    assert inputs.source.startswith("112 examples, ")
    assert worker.sizes(inputs) == {
        "steps": 4,
        "batch": 32,
        "examples": 112,
        "data": f"{inputs.source}; 2 epochs in a call",
    }


def test_a_pass_is_no_longer_than_the_recipe():
    embedded = [name for name in STEPS if name not in ("titanic", "mnist_logistic", "fashion_mnist", "mnist_cnn")]
    for name in (name for name in embedded if name not in ("resnet", "unet")):
        port = ports.get(name)
        examples = len(port.load().train.x)
        assert STEPS[name] <= port.epochs * -(-examples // (port.batch_size or examples)), name
    assert make_inputs(ports.get("linreg_plane"), task="epoch").steps == ports.get("linreg_plane").epochs == 200
    assert make_inputs(ports.get("linreg_plane"), 2, task="epoch").steps == 2
    assert make_inputs(ports.get("linreg_plane")).steps == 5_600


def test_a_pass_of_many_examples_has_fewer_epochs(monkeypatch):
    whole = make_inputs(ports.get("linreg_plane"), task="epoch")
    for epochs, most in ((3, 3.5), (1, 0.5)):
        monkeypatch.setattr("jaxport.bench.epoch_inputs.CALL_EXAMPLES", int(most * len(whole.x)))
        assert make_inputs(ports.get("linreg_plane"), task="epoch").steps == epochs


def test_the_recipe_comes_back_as_it_was(tmp_path):
    for name in ports.names():
        recipe = recipe_of(ports.get(name))
        save_recipe(recipe, tmp_path)
        assert json.dumps(dataclasses.asdict(load_recipe(tmp_path))) == json.dumps(dataclasses.asdict(recipe))
    assert recipe_of(ports.get("linreg_matrix")).loss.options == {"reduction": "sum"}


# -------------------------------------------------------------------------------------------------------- JAX's sides


@pytest.fixture(scope="module")
def plane():
    """Three steps of the plane, the last one short, and its side."""
    port = ports.get("linreg_plane")
    inputs = make_inputs(port, 2, task="epoch")
    return port, inputs, JaxEpoch(port, inputs)


def test_the_gates_order_is_that_of_fit(plane):
    port, inputs, side = plane
    model = engine.Model(port.build(0))
    load_state_dict(model.module, inputs.weights)
    model.compile(port.loss(), port.make_optimizer())
    for rows, loss in zip(inputs.order, side.values(), strict=True):  # the second call goes on where the first ended
        data = inputs.x[rows], inputs.y[rows]
        expected = model.fit(data, batch_size=10, shuffle=False, verbose=0).columns["loss"][0]
        np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_every_call_begins_at_the_initial_weights(plane):
    _, inputs, side = plane
    first = side.one_pass()[1]
    weights = state_dict(side.model.module)
    assert side.one_pass()[1] == first
    assert any((weights[key] != inputs.weights[key]).any() for key in weights)
    side._reset()
    np.testing.assert_equal(state_dict(side.model.module), inputs.weights)


def test_a_call_that_takes_fewer_steps_is_refused(plane):
    port, inputs, _ = plane
    side = JaxEpoch(port, inputs)
    side._fit = lambda rows, epochs, *rest: JaxEpoch._fit(side, 10, epochs, *rest)
    with pytest.raises(WorkerError, match=r"the timed call took 2 of 6 steps"):
        side.one_pass()


def test_dropout_is_off_in_the_gate_alone():
    module = nn.Sequential(nn.Identity(), nn.Dropout(0.5, rngs=nnx.Rngs(0)), nn.Dropout2d(0.1, rngs=nnx.Rngs(0)))
    assert [part.p for part in without_dropout(module).modules() if "Dropout" in type(part).__name__] == [0.0, 0.0]


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-6), ("bfloat16", 2.0**-6)])
def test_inference_is_the_models_own(dtype, rtol):
    port = ports.get("titanic")
    inputs = make_inputs(port, 2, task="infer-256", dtype=dtype)
    module = port.build(0)
    load_state_dict(module, inputs.weights)
    side = JaxInfer(port, inputs)
    seconds, output = side.one_pass()
    expected = np.asarray(jax.jit(module.eval())(jnp.asarray(inputs.x[0])))
    assert output.shape == (256,)
    np.testing.assert_allclose(output, expected.ravel(), rtol=0, atol=rtol * np.abs(expected).max())
    assert (np.abs(output - expected.ravel()).max() > 1e-5) == (dtype == "bfloat16")
    assert seconds > 0
    assert {"compile_s", "peak_memory_mb", "device"} <= set(side.facts())


# ------------------------------------------------------------------------------------------------------------ workers


class Slow:
    """Takes as long as it says."""

    steps = 2

    def __init__(self, *seconds: float) -> None:
        self.seconds, self.taken = seconds, 0

    def one_pass(self):
        self.taken += 1
        return self.seconds[min(self.taken, len(self.seconds)) - 1], [1.0]

    def facts(self):
        return {}


@pytest.mark.parametrize(
    ("seconds", "ms", "passes"), [((3.0,), 1500.0, 1), ((0.5, 0.2), 100.0, 3), ((0.9, 0.4), 200.0, 2)]
)
def test_a_long_first_pass_is_timed_too(seconds, ms, passes):
    side = Slow(*seconds)
    assert worker.timed_round(side, 0.3)["ms"] == pytest.approx(ms)
    assert side.taken == passes


def test_many_values_go_through_a_file(tmp_path):
    few, many = [0.5, 1.5], np.arange(5_000) / 3
    assert values.packed({"ms": 1.0, "losses": few}, tmp_path / "a.npy") == {"ms": 1.0, "losses": few}
    answer = json.loads(json.dumps(values.packed({"losses": many}, tmp_path / "a.npy")))
    np.testing.assert_equal(values.unpacked(answer["losses"]), many)


def test_what_does_not_apply_is_said(monkeypatch):
    assert "whole epochs" in tasks.does_not_apply("torch-dataloader", "step")
    assert tasks.does_not_apply("torch-dataloader", "epoch") is None
    assert tasks.does_not_apply("torch-compile", "infer-1") is None
    monkeypatch.setattr(tasks, "_has_keras_side", lambda: False)
    assert tasks.does_not_apply("keras", "step") == "Keras is not installed: pip install keras"


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Rounds of one pass, and temporary files where a test can look for them."""
    monkeypatch.setattr(runner, "ROUND_S", 0.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_an_epoch_through_the_processes(quick):
    told = []
    (row,) = bench.run(["linreg_matrix"], ["jax"], tasks=["epoch"], steps=3, rounds=1, on_progress=told.append)
    assert (row.port, row.task, row.dtype, row.steps, row.batch, row.rounds) == (
        "linreg_matrix",
        "epoch",
        "float32",
        1,
        5,
        1,
    )
    assert row.reason == "no PyTorch side to compare with"
    assert row.data == "5 examples, of 5 in the data set; 2 epochs in a call"
    assert row.variant == "Model.fit, scan"
    for value in (row.ms_per_step, row.examples_per_s, row.first_epoch_s, row.second_start_s, row.peak_memory_mb):
        assert value > 0
    assert [progress.done for progress in told] == list(range(told[0].total))
    assert list(quick.iterdir()) == []


def test_inputs_that_cannot_be_made_are_rows(quick, monkeypatch):
    real = runner.worker_command
    dead = ["false"]
    monkeypatch.setattr(runner, "worker_command", lambda role, *rest: dead if role == "setup" else real(role, *rest))
    monkeypatch.setattr(runner, "_check", lambda *options: None)  # PyTorch is not asked for anything
    told: list[bench.Progress] = []
    rows = bench.run(["linreg_matrix"], ["jax", "torch-dataloader"], rounds=2, tasks=["step"], on_progress=told.append)
    assert [row.framework for row in rows] == ["jax", "torch-dataloader"]
    assert all(row.ms_per_step is None and row.reason.startswith("there are no inputs: ") for row in rows)
    assert len(told) == told[0].total


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ["step", "fit"]}, r"tasks has 'fit'; those that exist are step, epoch, infer-1, infer-256"),
        ({"tasks": []}, "tasks has nothing"),
        ({"dtypes": ["float16"]}, r"dtypes has 'float16'; those that exist are float32, bfloat16"),
    ],
)
def test_usage_errors(arguments, message):
    with pytest.raises(UsageError, match=message):
        bench.run(["digits"], ["jax"], **arguments)


def test_inference_runs_in_the_calling_thread(monkeypatch):
    asked = []
    monkeypatch.setattr(infer_jax, "dispatch_at_once", lambda: asked.append(True))
    port = ports.get("linreg_points")
    worker._side_with_jax("jax", port.name, make_inputs(port, 2, task="infer-1"))
    assert asked == [True]
    worker._side_with_jax("jax", port.name, make_inputs(port, 2, task="step"))
    assert asked == [True]
    monkeypatch.undo()
    settings = []
    monkeypatch.setattr(jax.config, "update", lambda *setting: settings.append(setting))
    infer_jax.dispatch_at_once()
    assert settings == [("jax_cpu_enable_async_dispatch", False)]
