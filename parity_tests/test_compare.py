"""compare: any two models, what is found of them, and where it is said to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxport import parity
from jaxport.errors import UsageError
from jaxport.parity.result import Report, Verdict

X = (np.random.default_rng(0).normal(size=(5, 3)) + 0.3).astype(np.float32)


class Torch(torch.nn.Module):
    """Two Linears with a norm between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 4)
        self.norm = torch.nn.LayerNorm(4)
        self.last = torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.nn.functional.gelu(self.norm(self.first(x))))


class Jax(nnx.Module):
    """The same in plain Flax, with room for mistakes."""

    def __init__(self, rngs: nnx.Rngs, eps: float = 1e-5, approximate: bool = False, **other: Any) -> None:
        self.dense = nnx.Linear(3, 4, rngs=rngs)
        self.ln = nnx.LayerNorm(4, epsilon=eps, use_fast_variance=False, rngs=rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)
        self.approximate, self.other = approximate, nnx.data(other)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.ln(self.dense(x))
        x = jax.nn.gelu(x, approximate=self.approximate)
        if "detached" in self.other:
            x = jax.lax.stop_gradient(x)
        out = self.head(x)
        return out * jnp.nan if "nan" in self.other else out[:, :1] if "narrow" in self.other else out


def linen() -> Any:
    class Net(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = flax.linen.Dense(4, name="dense")(x)
            x = flax.linen.LayerNorm(epsilon=1e-5, use_fast_variance=False, name="ln")(x)
            return flax.linen.Dense(2, name="head")(jax.nn.gelu(x, approximate=False))

    net = Net()
    return parity.Linen(net, net.init(jax.random.key(0), jnp.asarray(X)))


class Equinox(eqx.Module):
    """The same of one example, in Equinox."""

    first: eqx.nn.Linear
    norm: eqx.nn.LayerNorm
    last: eqx.nn.Linear

    def __init__(self) -> None:
        key = jax.random.key(0)
        self.first, self.last = eqx.nn.Linear(3, 4, key=key), eqx.nn.Linear(4, 2, key=key)
        self.norm = eqx.nn.LayerNorm(4)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last(jax.nn.gelu(self.norm(self.first(x)), approximate=False))


def function() -> Any:
    def apply(params: Any, x: jax.Array) -> Any:
        hidden = x @ params["first"]["weight"].T + params["first"]["bias"]
        mean = hidden.mean(-1, keepdims=True)
        normal = (hidden - mean) / jnp.sqrt(((hidden - mean) ** 2).mean(-1, keepdims=True) + 1e-5)
        x = jax.nn.gelu(normal * params["norm"]["weight"] + params["norm"]["bias"], approximate=False)
        return x @ params["last"]["weight"].T + params["last"]["bias"], {"first": hidden}

    shapes = {"first": {"weight": (4, 3), "bias": (4,)}, "norm": {"weight": (4,), "bias": (4,)}}
    shapes["last"] = {"weight": (2, 4), "bias": (2,)}
    return parity.Function(apply, jax.tree.map(jnp.zeros, shapes, is_leaf=lambda s: isinstance(s, tuple)))


def compared(jax_model: Any, inputs: Any = X, **options: Any) -> Report:
    torch.manual_seed(0)
    return parity.compare(jax_model, Torch(), inputs, **{"randomise": True, **options})


def made(**mistakes: Any) -> Jax:
    return Jax(nnx.Rngs(0), **mistakes)


@pytest.mark.parametrize("make", [made, linen, Equinox, function], ids=["nnx", "linen", "equinox", "function"])
def test_the_same_model_in_every_library(make: Callable[[], Any]) -> None:
    report = compared(make())
    assert report.ok, [t for t in report.tensors if not t.ok]
    outputs = {tensor.torch_path for tensor in report.of("output")}
    assert {"first", ""} <= outputs
    assert len(report.of("gradient")) == 6
    assert [tensor.torch_path for tensor in report.of("input_gradient")] == ["input 0"]
    assert all(t.float64 and t.float64.max_rel <= 1e-10 and t.float32 and t.floor is not None for t in report.tensors)


def test_where_they_part_and_why() -> None:
    report = compared(made(eps=1e-3))
    first = report.first_divergence
    assert first is not None
    assert not report.ok
    assert (first.kind, first.torch_path, first.jax_path) == ("output", "norm", "ln")
    assert first.float64
    assert first.local64
    assert first.float64.max_rel > 1e-6
    assert first.float64.index == tuple(np.unravel_index(first.float64.index[0] * 4 + first.float64.index[1], (5, 4)))
    # What comes after it is apart as well, and not by its own fault.
    last = next(t for t in report.of("output") if t.torch_path == "last")
    assert not last.ok
    assert last.local64
    assert last.local64.max_rel <= 1e-10
    assert [finding.rule for finding in report.findings if finding.rule.startswith("cause/")] == ["cause/eps"]


def test_a_difference_between_layers() -> None:
    first = compared(made(approximate=True)).first_divergence
    assert first is not None
    assert (first.kind, first.torch_path) == ("input", "last")


def test_a_gradient_that_is_cut_off() -> None:
    report = compared(made(detached=True))
    assert report.first_divergence is not None
    assert report.first_divergence.kind in ("activation_gradient", "gradient")
    wrong = {tensor.torch_path for tensor in report.of("gradient") if not tensor.ok}
    assert wrong == {"first.weight", "first.bias", "norm.weight", "norm.bias"}


def test_nan_and_shapes_are_differences() -> None:
    report = compared(made(nan=True), gradients=False)
    (output,) = (tensor for tensor in report.of("output") if not tensor.torch_path)
    assert output.verdict is Verdict.DIFFERENT
    assert "NaN" in output.note
    report = compared(made(narrow=True))
    (output,) = (tensor for tensor in report.of("output") if not tensor.torch_path)
    assert output.verdict is Verdict.DIFFERENT
    assert output.note == "shape (5, 1), PyTorch has (5, 2)"


def test_weights_of_jax_or_of_neither() -> None:
    assert compared(made(), weights="jax").ok
    report = compared(made(), weights=None, randomise=False, allow=["guard/zero-bias", "guard/unit-scale"])
    assert not report.ok  # each has its own random weights


def square() -> tuple[nnx.Linear, torch.nn.Module]:
    """Return two square layers with PyTorch's weights, copied by hand without the transpose."""
    torch.manual_seed(0)
    ours, theirs = nnx.Linear(3, 3, rngs=nnx.Rngs(0)), torch.nn.Linear(3, 3)
    ours.kernel.set_value(jnp.asarray(theirs.weight.detach().numpy()))
    ours.bias.set_value(jnp.asarray(theirs.bias.detach().numpy()))  # type: ignore[union-attr]
    return ours, theirs


def test_a_square_matrix_that_someone_forgot_to_transpose() -> None:
    ours, theirs = square()
    allowed = ["guard/square-weight", "guard/equal-dims"]
    report = parity.compare(ours, theirs, X, weights=None, allow=allowed)
    (finding,) = (finding for finding in report.findings if finding.rule == "weights/layout")
    assert "transposed" in finding.fix
    ours.kernel.set_value(ours.kernel.get_value().T)
    report = parity.compare(ours, theirs, X, weights=None, allow=allowed)
    assert report.ok
    assert not [finding for finding in report.findings if finding.rule == "weights/layout"]


def test_one_precision() -> None:
    narrow = compared(made(), dtypes=("float32",))
    assert narrow.ok
    assert all(tensor.float64 is None and tensor.float32 is not None for tensor in narrow.tensors)
    assert not compared(made(eps=1e-2), dtypes=("float32",)).ok


def test_a_degenerate_state_does_not_pass_unless_told() -> None:
    report = compared(made(), randomise=False)
    assert not report.ok
    assert {f.rule for f in report.findings if f.level == "error"} == {"guard/zero-bias", "guard/unit-scale"}
    assert compared(made(), randomise=False, allow=["guard/zero-bias", "guard/unit-scale"]).ok


def test_neither_model_is_changed() -> None:
    torch.manual_seed(0)
    reference, model = Torch(), made()
    before = {key: value.clone() for key, value in reference.state_dict().items()}
    own = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model)))
    parity.compare(model, reference, X, randomise=True)
    assert all(torch.equal(before[key], value) for key, value in reference.state_dict().items())
    jax.tree.map(np.testing.assert_array_equal, own, nnx.to_pure_dict(nnx.state(model)))
    assert nnx.Linear.__call__.__qualname__ == "Linear.__call__"


def test_a_layer_that_is_called_twice() -> None:
    class TwiceTorch(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = torch.nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.cell(torch.tanh(self.cell(x)))

    class Twice(nnx.Module):
        def __init__(self) -> None:
            self.cell = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.cell(jnp.tanh(self.cell(x)))

    report = parity.compare(Twice(), TwiceTorch(), X)
    assert report.ok
    assert [t.torch_path for t in report.of("output")] == ["cell", "cell call 2", ""]


def test_what_goes_wrong_is_said_early() -> None:
    with pytest.raises(UsageError, match="jax_model: it takes the inputs in no layout"):
        compared(nnx.Linear(9, 2, rngs=nnx.Rngs(0)))
    with pytest.raises(UsageError, match=r"torch_model: it does not take inputs of \[\(5, 7\)\]"):
        compared(made(), np.zeros((5, 7), np.float32))
    with pytest.raises(UsageError, match="a function needs its parameters"):
        compared(lambda x: x)
    with pytest.raises(UsageError, match=r"modes: .*eval and train"):
        compared(made(), modes="eval")
    with pytest.raises(UsageError, match="weights: "):
        compared(made(), weights="mine", randomise=False)
    with pytest.raises(UsageError, match="torch_model: a torch"):
        parity.compare(made(), lambda x: x, X)  # type: ignore[arg-type]


def test_large_arrays_go_to_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    x = (np.random.default_rng(0).normal(size=(4096, 3)) + 0.3).astype(np.float32)
    seen: list[int] = []
    from jaxport.parity import seen as module

    keep = module.Store.keep
    monkeypatch.setattr(module.Store, "keep", lambda s, a: (seen.append(len(list(tmp_path.iterdir()))), keep(s, a))[1])
    streamed: list[Any] = []
    from jaxport.parity.observe_jax import JaxModel

    run = JaxModel._streamed
    monkeypatch.setattr(JaxModel, "_streamed", lambda self, *args: (streamed.append(self.dtype), run(self, *args))[1])
    assert compared(made(), x, memory=0, gradients=False, modes=("eval",)).ok
    assert streamed == [np.float64, np.float32]
    assert max(seen) == 1
    assert not list(tmp_path.iterdir())


class InPlace(torch.nn.Module):
    """PyTorch's model, which writes to its input, to a layer's result and to what goes into the next."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x += 1.0
        hidden = self.norm(self.first(x))
        hidden *= 2.0
        out = self.last(hidden)
        if not torch.is_grad_enabled():  # the gradient of `last` needs it
            hidden.zero_()
        return out.mul_(3.0)


class OutOfPlace(nnx.Module):
    """The same without writing."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first, self.last = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)
        self.norm = nnx.LayerNorm(4, epsilon=1e-5, use_fast_variance=False, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last(self.norm(self.first(x + 1.0)) * 2.0) * 3.0


@pytest.mark.parametrize("gradients", [True, False])
def test_what_pytorch_writes_in_place_is_seen_as_it_was(gradients: bool) -> None:
    inputs = X.copy()
    report = parity.compare(OutOfPlace(nnx.Rngs(0)), InPlace(), inputs, randomise=True, gradients=gradients)
    assert report.ok
    assert len(report.of("input")) == len(report.of("output")) - 1 == 3
    assert np.array_equal(inputs, X)


def test_an_array_that_several_layers_see_is_taken_once() -> None:
    from jaxport.parity.observe_jax import JaxModel
    from jaxport.parity.observe_torch import TorchModel

    watch = {"0", "1", "2"}
    theirs = TorchModel(
        torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)), torch.float32
    )
    seen = theirs.run([X], False, watch=watch)
    assert seen.calls["0", 0].outputs[0] is seen.calls["1", 0].inputs[0]
    assert seen.calls["2", 0].outputs[0] is seen.outputs[0]
    model = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.Linear(4, 2, rngs=nnx.Rngs(1)))
    ours = JaxModel(model, np.float32).run([X], False, watch={"layers.0", "layers.1"})
    assert ours.calls["layers.0", 0].outputs[0] is ours.calls["layers.1", 0].inputs[0]
    assert ours.calls["layers.1", 0].outputs[0] is ours.outputs[0]


def test_the_first_pass_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from jaxport.parity.observe_torch import TorchModel

    passes: list[Any] = []
    run = TorchModel._run
    monkeypatch.setattr(TorchModel, "_run", lambda self, *args: (passes.append(self.dtype), run(self, *args))[1])
    assert compared(made(), gradients=False).ok
    assert passes == [torch.float32, torch.float64]


def test_a_script_reproduces_the_first_difference(tmp_path: Path) -> None:
    report = compared(made(eps=1e-3), repro=tmp_path, gradients=False)
    assert any(finding.rule == "repro/written" for finding in report.findings)
    assert {path.name for path in tmp_path.iterdir()} == {"norm.npz", "norm.py"}


@pytest.mark.parametrize("kind", ["LSTM", "MultiheadAttention"])
def test_a_dropout_that_cannot_be_replayed_is_an_error(kind: str) -> None:
    class Inner(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            lstm = torch.nn.LSTM(4, 4, 2, dropout=0.5, batch_first=True)
            self.inner = lstm if kind == "LSTM" else torch.nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True)
            self.last = torch.nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.inner(x) if kind == "LSTM" else self.inner(x, x, x)
            return self.last(out[0])

    model, x = nnx.Linear(4, 2, rngs=nnx.Rngs(0)), np.ones((3, 5, 4), np.float32)
    report = parity.compare(model, Inner(), x, modes=("train",), gradients=False)
    (finding,) = (finding for finding in report.findings if finding.rule == "dropout/hidden")
    assert finding.level == "error"
