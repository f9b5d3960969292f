"""Goldens recorded from PyTorch models, and JAX models written apart from them checked against the files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxport.errors import UsageError, WeightsError
from jaxport.parity import golden, golden_check, guards
from jaxport.parity.describe_torch import describe_torch
from jaxport.parity.golden import Golden
from jaxport.parity.golden_compare import Run, compare
from jaxport.parity.golden_record import record
from jaxport.parity.result import Report

DTYPES = ("float64", "float32")


class Net(torch.nn.Module):
    """Convolution, normalisation, dropout and a head that is called twice; a parameter that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, 3)
        self.norm = torch.nn.BatchNorm2d(5)
        self.drop = torch.nn.Dropout(0.4)
        self.fc = torch.nn.Linear(5, 5)
        self.unused = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.drop(torch.relu(self.norm(self.conv(x)))).mean((2, 3)) * scale[:, None]
        first = self.fc(x)
        return self.fc(torch.tanh(first)), first


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    net = Net()
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    mended = guards.randomise(state, describe_torch(net), seed=1)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in mended.items()})
    return net


RNG = np.random.default_rng(0)
INPUTS = (RNG.normal(0.3, 1.0, (2, 3, 7, 9)).astype(np.float32), np.asarray([2, 3]))


@pytest.fixture(scope="module")
def file(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("golden") / "net.safetensors"
    record(net, INPUTS, path, modes=("eval", "train"), draws=2, title="a net")
    return path


@pytest.fixture
def net_golden(file: Path) -> Golden:
    return golden.read(file)


def forward(params: dict, x: Any, scale: Any, train: bool, masks: Any, n: int = 1) -> Any:
    """Return the two outputs, layers' outputs and buffers of the same model in JAX, with channels last."""
    kernel = params["conv.weight"].transpose(2, 3, 1, 0)
    conv = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    conv = conv + params["conv.bias"]
    mean, var = params["norm.running_mean"], params["norm.running_var"]
    buffers = {}
    if train:
        mean, var = conv.mean((0, 1, 2)), conv.var((0, 1, 2))
        count = conv.size // 5
        buffers["norm.running_mean"] = 0.9 * params["norm.running_mean"] + 0.1 * mean
        buffers["norm.running_var"] = 0.9 * params["norm.running_var"] + 0.1 * var * count / (count - n)
    norm = (conv - mean) / jnp.sqrt(var + 1e-5) * params["norm.weight"] + params["norm.bias"]
    hidden = jax.nn.relu(norm)
    if train:
        hidden = hidden * masks[0].transpose(0, 2, 3, 1) / 0.6
    hidden = hidden.mean((1, 2)) * scale[:, None].astype(hidden.dtype)
    first = hidden @ params["fc.weight"].T + params["fc.bias"]
    second = jnp.tanh(first) @ params["fc.weight"].T + params["fc.bias"]
    layers = {"conv": conv, "norm": norm, "fc": first, "fc call 2": second}
    return (second, first), layers, buffers


def jax_run(found: Golden, mode: str, dtype: str, model: Callable[..., Any] = forward) -> Run:
    """Run it on a golden's inputs, forward and backward."""
    with jax.enable_x64(dtype == "float64"):
        params = {k: jnp.asarray(v, dtype) for k, v in found.state.items() if v.dtype.kind == "f"}
        x = jnp.asarray(found.inputs[0].transpose(0, 2, 3, 1), dtype)
        scale, masks = jnp.asarray(found.inputs[1]), [jnp.asarray(m, dtype) for m in found.masks(mode)]
        cotangents = [jnp.asarray(c, dtype) for c in found.cotangents(mode)]

        def run(params: dict, x: Any) -> Any:
            outputs, layers, buffers = model(params, x, scale, mode == "train", masks)
            total = sum((c * out).sum() for c, out in zip(cotangents, outputs, strict=True))
            return total, (outputs, layers, buffers)

        (of_params, of_x), (outputs, layers, buffers) = jax.jit(jax.grad(run, (0, 1), has_aux=True))(params, x)
    named = {**layers, "": outputs[0], "[1]": outputs[1]}
    gradients = {key: value for key, value in of_params.items() if "running" not in key}
    return Run(named, gradients, [of_x], buffers or None)


def check(found: Golden, mode: str, model: Callable[..., Any] = forward, dtypes: Sequence[str] = DTYPES) -> Report:
    with jax.numpy_rank_promotion("allow"):
        runs = {dtype: jax_run(found, mode, dtype, model) for dtype in dtypes}
    axes = {"input 0": (0, 2, 3, 1)}
    return compare(found, runs, mode=mode, axes=axes)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_model_written_apart_passes(net_golden: Golden, mode: str) -> None:
    report = check(net_golden, mode)
    assert report.ok, [(tensor.name, tensor.note) for tensor in report.tensors if not tensor.ok]
    names = {tensor.name for tensor in report.tensors}
    outputs = {f"output {name}" for name in ("conv", "norm", "fc", "fc call 2", "model", "[1]")}
    gradients = {f"gradient {layer}.{kind}" for layer in ("conv", "norm", "fc") for kind in ("weight", "bias")}
    buffers = {"buffer norm.running_mean", "buffer norm.running_var"} if mode == "train" else set()
    assert names == outputs | gradients | buffers | {"input_gradient input 0"}
    assert all(tensor.floor is not None and tensor.float64 is not None for tensor in report.tensors)


def test_the_biased_running_variance_is_found(net_golden: Golden) -> None:
    report = check(net_golden, "train", lambda *args: forward(*args, n=0), ["float64"])
    assert [tensor.name for tensor in report.tensors if not tensor.ok] == ["buffer norm.running_var"]


def test_masks_that_are_not_replayed_are_found(net_golden: Golden) -> None:
    def other(params: dict, x: Any, scale: Any, train: bool, masks: Any) -> Any:
        return forward(params, x, scale, train, [1 - masks[0]])

    assert not check(net_golden, "train", other, ["float64"]).ok


def test_the_file_says_what_was_recorded(net_golden: Golden, net: Net) -> None:
    assert net_golden.title == "a net"
    assert net_golden.manifest["environment"]["torch"] == torch.__version__
    assert list(net_golden.outputs()) == ["conv", "norm", "drop", "fc", "fc call 2", "", "[1]"]
    layers = describe_torch(net)
    assert list(net_golden.layers) == list(layers)
    for path, layer in net_golden.layers.items():
        assert (layer.kind, dict(layer.settings)) == (layers[path].kind, dict(layers[path].settings))
        assert list(layer.arrays) == list(layers[path].arrays)
    assert net_golden.seen().gradients["unused"] is None
    assert "num_batches_tracked" in str(list(net_golden.seen("train").buffers))
    assert "scratch" not in net_golden.seen("train").buffers
    assert net_golden.seen("eval").buffers == {}
    assert net_golden.masks("eval") == []
    with torch.no_grad():
        net.eval()
        second, _ = net(torch.from_numpy(INPUTS[0]), torch.from_numpy(INPUTS[1]))
    truth = net_golden.outputs()[""]
    np.testing.assert_allclose(second.numpy(), truth, rtol=0, atol=1e-6)
    seen = net_golden.outputs(dtype="float32")[""]
    # Of several draws the furthest: what PyTorch gives by itself is no further.
    assert np.abs(second.numpy() - truth).max() <= np.abs(seen - truth).max()
    assert {len(values) for values in net_golden.seen().activation_gradients.values()} == {1}


def test_the_model_is_left_as_it_was(net: Net, tmp_path: Path) -> None:
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.train()
    record(net, INPUTS, tmp_path / "a.safetensors", modes=("train",), draws=0)
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net.conv.weight.dtype == torch.float32


def test_the_same_seed_gives_the_same_file(net: Net, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for path, seed, memory in zip(files, (3, 3, 4), (2 << 30, 0, 0), strict=True):
        record(net, INPUTS, path, draws=1, seed=seed, memory=memory)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes() != files[2].read_bytes()


def test_float32_is_the_furthest_of_the_draws(net: Net, tmp_path: Path) -> None:
    apart = []
    for draws in (0, 3):
        record(net, INPUTS, tmp_path / "a.safetensors", draws=draws, gradients=False)
        found = golden.read(tmp_path / "a.safetensors")
        truth, rounded = found.outputs(), found.outputs(dtype="float32")
        apart.append([float(np.abs(rounded[name] - truth[name]).max()) for name in truth])
        # Without weights the inputs' last bits are what changes.
        record(lambda x: torch.sin(3.0 * x).sum(0), INPUTS[0], tmp_path / "a.safetensors", draws=draws)
        found = golden.read(tmp_path / "a.safetensors")
        apart[-1].append(float(np.abs(found.outputs(dtype="float32")[""] - found.outputs()[""]).max()))
    assert apart[1][-1] > apart[0][-1]
    assert all(more >= one for one, more in zip(*apart, strict=True))
    assert any(more > one for one, more in zip(*apart, strict=True))


def test_a_mode_does_not_change_the_next(net: Net, file: Path, tmp_path: Path) -> None:
    record(net, INPUTS, tmp_path / "a.safetensors", modes=("train",), draws=2)
    both, alone = golden.read(file), golden.read(tmp_path / "a.safetensors")
    names = [name for name in alone.arrays if name.startswith("train/")]
    assert all(np.array_equal(alone.arrays[name], both.arrays[name]) for name in names)


def test_weights_and_inputs_are_rounded_for_both_precisions(tmp_path: Path) -> None:
    model, x = torch.nn.Linear(3, 4, dtype=torch.float64), RNG.normal(size=(2, 3))
    record(model, x, tmp_path / "a.safetensors", draws=0)
    found = golden.read(tmp_path / "a.safetensors")
    weight, bias = (found.state[key].astype(np.float64) for key in ("weight", "bias"))
    assert found.state["weight"].dtype == np.float32
    np.testing.assert_array_equal(found.inputs[0], x.astype(np.float32))
    assert found.compare({"": found.inputs[0].astype(np.float64) @ weight.T + bias}).ok


def test_layers_can_be_chosen(net: Net, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for layers, names in ((False, ["", "[1]"]), (["f*", "norm"], ["norm", "fc", "fc call 2", "", "[1]"])):
        record(net, INPUTS, path, layers=layers, gradients=False, dtypes=("float64",))
        found = golden.read(path)
        assert list(found.outputs()) == names
        assert found.cotangents("eval") == []
        assert found.seen().gradients == {}
        assert list(found.layers) == ["", "conv", "norm", "drop", "fc"]
    report = found.compare(found.outputs(), {"fc.weight": np.ones((5, 5))})
    assert "PyTorch recorded no gradient of 'fc.weight'" in report.findings[0].message
    with pytest.raises(UsageError, match="dtype='float32' was not recorded, only float64"):
        found.compare({}, dtype="float32")


def test_a_function_is_recorded(tmp_path: Path) -> None:
    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.cdist(a, b, p=1)

    record(distance, (torch.rand(2, 3), torch.rand(4, 3)), tmp_path / "a.safetensors")
    found = golden.read(tmp_path / "a.safetensors")
    a, b = (array.astype(np.float64) for array in found.inputs)
    assert found.title == "distance"
    assert found.compare({"": np.abs(a[:, None] - b[None]).sum(-1)}).ok


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "suffix": ({"path": "a.npz"}, r"path='a\.npz': a golden's name ends in \.safetensors"),
    "dtypes": ({"dtypes": ("float16",)}, "dtypes=.*a sequence of float64 and float32"),
    "no float64": ({"dtypes": ("float32",)}, "float64 is needed"),
    "dtypes text": ({"dtypes": "float64"}, "dtypes='float64': a sequence"),
    "modes": ({"modes": ("test",)}, "modes=.*a sequence of eval and train"),
    "draws": ({"draws": -1}, "draws=-1: 0 or more"),
    "inputs": ({"inputs": ["text"]}, r"inputs\[0\]: an array of numbers is needed, got str"),
    "none": ({"inputs": ()}, r"inputs\[0\]: an array of numbers is needed, got nothing"),
    "shape": ({"inputs": np.ones((2, 4), np.float32)}, r"does not take inputs of float32\[2, 4\]: RuntimeError: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_said(name: str, tmp_path: Path) -> None:
    options, message = WRONG[name]
    arguments = {"inputs": np.ones((2, 3), np.float32), "path": tmp_path / "a.safetensors", **options}
    with pytest.raises(UsageError, match=message):
        record(torch.nn.Linear(3, 2), **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be written"):
        record(torch.nn.Linear(3, 2), np.ones((2, 3), np.float32), tmp_path / "no" / "a.safetensors")


def test_a_dropout_that_cannot_be_replayed_is_said(tmp_path: Path) -> None:
    lstm = torch.nn.LSTM(3, 4, num_layers=2, dropout=0.5)
    inputs = np.ones((5, 2, 3), np.float32)
    with pytest.raises(UsageError, match="a dropout inside LSTM cannot be recorded"):
        record(lstm, inputs, tmp_path / "a.safetensors", modes=("train",))
    record(lstm, inputs, tmp_path / "a.safetensors", draws=0)
    assert list(golden.read(tmp_path / "a.safetensors").outputs()) == ["", "[1]", "[2]"]


class Pictures(torch.nn.Module):
    """A convolution with a norm, flattened for a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 3)
        self.norm = torch.nn.BatchNorm2d(3)
        self.head = torch.nn.Linear(3 * 2 * 3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.conv(x))).flatten(1))


class FlaxPictures(nnx.Module):
    """The same in Flax, with channels last; `eps` is right at 1e-5."""

    def __init__(self, eps: float = 1e-5) -> None:
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(2, 3, (3, 3), padding="VALID", rngs=rngs)
        self.norm = nnx.BatchNorm(3, momentum=0.9, epsilon=eps, rngs=rngs)
        self.head = nnx.Linear(18, 4, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm(self.conv(x)))
        return self.head(x.reshape(x.shape[0], -1))


def test_a_flax_model_is_checked_against_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Pictures()
    state = guards.randomise({k: v.numpy() for k, v in model.state_dict().items()}, describe_torch(model), seed=1)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    x = np.random.default_rng(0).normal(0.3, 1.0, (5, 2, 4, 5)).astype(np.float32)
    record(model, x, tmp_path / "a.safetensors", modes=("eval", "train"), draws=1)
    found = golden.read(tmp_path / "a.safetensors")
    report = golden_check.check(FlaxPictures(), found)
    # Flax stores the biased running variance: the one thing that differs.
    assert [tensor.name for tensor in report.tensors if not tensor.ok] == ["buffer norm.running_var"]
    assert report.settings["flatten"] == {"head": (3, 2, 3)}
    assert {tensor.mode for tensor in report.tensors} == {"eval", "train"}
    kinds = {tensor.kind for tensor in report.tensors}
    assert kinds == {"input", "output", "gradient", "activation_gradient", "input_gradient", "buffer"}
    wrong = golden_check.check(FlaxPictures(1e-3), found, modes=["eval"], dtypes=["float64"])
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.name == "output norm"


def test_equal_weights_are_not_tied_and_tied_ones_are(tmp_path: Path) -> None:
    class Heads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (torch.nn.Linear(3, 4) for _ in range(3))
            self.b.weight = self.a.weight
            for part in (self.a, self.b, self.c):
                torch.nn.init.zeros_(part.bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(x) + self.b(x) * self.c(x)

    record(Heads(), np.ones((2, 3), np.float32), tmp_path / "a.safetensors", draws=0)
    layers = golden.read(tmp_path / "a.safetensors").layers
    assert layers["a"].arrays["weight"] is layers["b"].arrays["weight"]
    assert not np.shares_memory(layers["a"].arrays["bias"], layers["c"].arrays["bias"])
