"""What cannot be transferred is said, and what is wrong is found: no weight is filled by chance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from foreign_weight_cases import QUICK, Cells, random_torch, rnn

import jaxport.nn
from jaxport.errors import UsageError
from jaxport.parity.align import align
from jaxport.parity.describe_jax import describe_jax
from jaxport.parity.describe_torch import describe_torch
from jaxport.parity.foreign import Function, Linen
from jaxport.parity.weights import Plan, cast, fill, leaves, plan, probe
from jaxport.parity.weights.fill_torch import fill_torch
from jaxport.parity.weights.find_flatten import find_flatten, find_unflatten

T = torch.nn


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    """Compute in float64; foreign layers promote dtypes and ranks of their own accord."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def rngs() -> nnx.Rngs:
    return nnx.Rngs(0)


def planned(model: Any, module: torch.nn.Module, mapping: Any = None, **options: Any) -> Plan:
    ours, theirs = describe_jax(model), describe_torch(module)
    return plan(ours, theirs, align(ours, theirs, mapping), **options)


def errors(made: Plan) -> list[str]:
    return [f"{finding.rule}: {finding.message}" for finding in made.findings if finding.level == "error"]


class Net(nnx.Module):
    """Any layers under names."""

    def __init__(self, **layers: Any) -> None:
        for name, layer in layers.items():
            setattr(self, name, layer)


class Equinox(eqx.Module):
    """The same of Equinox, of one layer."""

    layer: Any


def dense(into: int, out: int, **options: Any) -> nnx.Linear:
    return nnx.Linear(into, out, rngs=rngs(), **options)


ERRORS: list[tuple[str, Any, Any, list[str]]] = [
    ("a bias that PyTorch does not have", lambda: Net(fc=dense(3, 4)), lambda: {"fc": T.Linear(3, 4, bias=False)},
     ["weights/unfilled-leaf: fc.bias is not filled: fc has no bias"]),
    ("a bias that JAX does not have", lambda: Net(fc=dense(3, 4, use_bias=False)), lambda: {"fc": T.Linear(3, 4)},
     ["weights/unused-key: fc.bias is not used: fc has no such array"]),
    ("another shape", lambda: Net(fc=dense(3, 4, use_bias=False)), lambda: {"fc": T.Linear(4, 3, bias=False)},
     ["weights/shape: fc.kernel cannot be filled: fc.weight is (3, 4), and (4, 3) would fit (axes (1, 0))"]),
    ("a layer that JAX does not have", lambda: Net(fc=dense(3, 4)), lambda: {"fc": T.Linear(3, 4), "b": T.PReLU()},
     ["weights/unused-key: b.weight is not used: no layer of the JAX model was found for it"]),
    ("a parameter that PyTorch does not have", lambda: Net(fc=dense(3, 4), scale=nnx.Param(jnp.ones(5))),
     lambda: {"fc": T.Linear(3, 4)},
     ["weights/unfilled-leaf: scale is not filled: no layer of the PyTorch model was found for it"]),
    ("another number of heads", lambda: Net(a=nnx.MultiHeadAttention(3, 6, rngs=rngs())),
     lambda: {"a": T.MultiheadAttention(6, 2)}, ["weights/heads: num_heads is 3 in JAX, 2 in PyTorch"]),
    ("bias_k of attention", lambda: Net(a=nnx.MultiHeadAttention(2, 6, rngs=rngs())),
     lambda: {"a": T.MultiheadAttention(6, 2, add_bias_kv=True)},
     ["weights/unused-key: a.bias_k is not used: a has no such array",
      "weights/unused-key: a.bias_v is not used: a has no such array"]),
    ("groups of a transposed convolution", lambda: Net(c=nnx.ConvTranspose(4, 6, (3,), use_bias=False, rngs=rngs())),
     lambda: {"c": T.ConvTranspose1d(4, 6, 3, groups=2, bias=False)},
     ["weights/shape: c.kernel cannot be filled: c.weight is (4, 3, 3), and (4, 6, 3) would fit (axes (1, 2, 0), "
      "spatial axes turned round)"]),
    ("one slope for many", lambda: Net(p=nnx.PReLU()), lambda: {"p": T.PReLU(3)},
     ["weights/shape: p.negative_slope cannot be filled: p.weight is (3,), and (1,) would fit (one number)"]),
    ("Equinox's BatchNorm", lambda: Equinox(eqx.nn.BatchNorm(3, "n", mode="batch")), lambda: {"x": T.BatchNorm1d(3)},
     [f"weights/unused-key: x.running_{name} is not used: running statistics, which Equinox keeps in a State beside "
      "the model" for name in ("mean", "var")]),
    ("an LSTM's projection", lambda: Net(r=rnn(nnx.LSTMCell)()), lambda: {"r": T.LSTM(3, 4, proj_size=2)},
     ["weights/shape: r.cell.hi.kernel, r.cell.hf.kernel, r.cell.hg.kernel, r.cell.ho.kernel cannot be filled: "
      "r.weight_hh_l0 is (16, 2), and (16, 4) would fit (transposed, 4 gates apart)",
      "weights/unused-key: r.weight_hr_l0 is not used: r.cell has no such array"]),
]  # fmt: skip


@pytest.mark.parametrize(("model", "module", "expected"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_what_does_not_fit_is_an_error(model: Any, module: Any, expected: list[str]) -> None:
    assert errors(planned(model(), T.ModuleDict(module()))) == expected


@pytest.mark.parametrize("cell", [False, True])
def test_gru_bias_has_no_place_in_nnx(cell: bool) -> None:
    model = Net(r=rnn(nnx.GRUCell)())
    layer = Cells(T.GRUCell(3, 4)) if cell else T.GRU(3, 4)
    module = random_torch(T.ModuleDict({"r": layer}))
    key = "r.cell.bias_hh" if cell else "r.bias_hh_l0"
    (message,) = errors(planned(model, module))
    assert message.startswith(f"weights/not-representable: {key}[8:12] is not zero")
    assert "flax.nnx.GRUCell has no b_hn" in message


def test_gru_is_transferred_where_that_bias_is_zero() -> None:
    module = random_torch(T.GRU(3, 4, batch_first=True))
    with torch.no_grad():
        module.bias_hh_l0[8:] = 0  # type: ignore[index]
    model = cast(rnn(nnx.GRUCell)(), jnp.float64)
    made = planned(model, module)
    assert [(finding.rule, finding.level) for finding in made.findings] == [("weights/not-representable", "warning")]
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    state = {key: value.numpy() for key, value in module.state_dict().items()}
    output = fill(model, made.to_jax(state))(jnp.asarray(x))
    expected = module(torch.from_numpy(x))[0].detach().numpy()
    assert np.abs(np.asarray(output) - expected).max() <= 1e-12 * np.abs(expected).max()
    assert set(made.gradients_to_torch(leaves(model))) == set(state) - {"bias_hh_l0"}


def test_an_lstm_without_biases_is_filled_with_zeros_and_said() -> None:
    model, module = cast(rnn(nnx.LSTMCell)(), jnp.float64), random_torch(T.LSTM(3, 4, bias=False))
    made = planned(model, module)
    assert {(finding.rule, finding.level) for finding in made.findings} == {("weights/no-bias", "warning")}
    arrays = made.to_jax(module.state_dict())
    assert not any(value.any() for key, value in arrays.items() if key.endswith("bias"))
    assert {value.dtype for value in arrays.values()} == {np.dtype("float64")}
    assert arrays.keys() == leaves(model).keys()
    assert set(made.to_torch(arrays)) == set(module.state_dict())


def test_tied_tensors_of_two_leaves_are_a_warning() -> None:
    module = T.ModuleDict({"a": T.Linear(4, 4, bias=False), "b": T.Linear(4, 4, bias=False)})
    module["b"].weight = module["a"].weight
    model = Net(a=dense(4, 4, use_bias=False), b=dense(4, 4, use_bias=False))
    (finding,) = planned(model, module).findings
    assert (finding.rule, finding.level) == ("weights/tied", "warning")


def test_gradients_of_leaves_whose_tensor_is_one_are_added() -> None:
    module = T.ModuleDict({"a": T.Linear(4, 4, bias=False), "b": T.Linear(4, 4, bias=False)})
    module["b"].weight = module["a"].weight
    made = planned(Net(a=dense(4, 4, use_bias=False), b=dense(4, 4, use_bias=False)), module)
    gradients = made.gradients_to_torch({"a.kernel": np.full((4, 4), 2.0), "b.kernel": np.full((4, 4), 3.0)})
    assert (gradients["a.weight"] == 5.0).all()
    assert (gradients["b.weight"] == 5.0).all()


def test_a_buffer_of_a_users_class_is_a_warning() -> None:
    module = T.ModuleDict({"fc": T.Linear(3, 4)})
    module.register_buffer("mask", torch.ones(5, 5))
    (finding,) = planned(Net(fc=dense(3, 4)), module).findings
    assert (finding.rule, finding.level, finding.torch_path) == ("weights/unused-buffer", "warning", "mask")


def test_a_constant_of_nnx_keeps_its_value() -> None:
    model = Net(fc=dense(3, 4), table=nnx.Variable(jnp.ones(7)))
    (finding,) = planned(model, T.ModuleDict({"fc": T.Linear(3, 4)})).findings
    assert (finding.rule, finding.level, finding.jax_path) == ("weights/constant", "info", "table")


def test_to_jax_and_back_name_all_that_is_missing() -> None:
    made = planned(Net(fc=dense(3, 4)), T.ModuleDict({"fc": T.Linear(3, 4)}))
    with pytest.raises(UsageError, match=r"the state dict lack 2 of 2 that the plan needs: fc.weight, fc.bias"):
        made.to_jax({})
    with pytest.raises(UsageError, match=r"the JAX arrays lack 1 of 2 that the plan needs: fc.bias"):
        made.to_torch({"fc.kernel": np.zeros((3, 4))})
    with pytest.raises(UsageError, match=r"fc.weight: shape \(3, 4\) in the state dict, \(4, 3\) in the plan"):
        made.to_jax({"fc.weight": np.zeros((3, 4)), "fc.bias": np.zeros(4)})


MODELS: list[Any] = [
    lambda: Net(fc=dense(3, 4)),
    lambda: Linen(nn.Dense(4), nn.Dense(4).init(jax.random.key(0), jnp.ones((2, 3)))),
    lambda: Function(lambda p, x: x, {"fc": {"kernel": jnp.ones((3, 4))}}),
]


@pytest.mark.parametrize("model", MODELS, ids=["nnx", "linen", "function"])
def test_fill_names_all_that_does_not_fit(model: Any) -> None:
    made = model()
    key = next(key for key in leaves(made) if key.endswith("kernel"))
    with pytest.raises(UsageError, match=rf"nothing: no such array; {key}: shape \(4, 3\) given, \(3, 4\) in"):
        fill(made, {"nothing": np.zeros(2), key: np.zeros((4, 3))})
    filled = fill(made, {key: np.full((3, 4), 7.0)})
    assert float(leaves(filled)[key].sum()) == 84.0
    assert leaves(filled)[key].dtype == jnp.float64
    assert float(leaves(made)[key].sum()) != 84.0


def test_fill_torch_names_all_that_does_not_fit() -> None:
    module = T.Linear(3, 4)
    with pytest.raises(UsageError, match=r"a: no such tensor; weight: shape \(3, 4\) given, \(4, 3\) in the module"):
        fill_torch(module, {"a": np.zeros(2), "weight": np.zeros((3, 4))})
    fill_torch(module, {"weight": np.full((4, 3), 2.0)})
    assert float(module.weight.detach().sum()) == 24.0


def test_cast_needs_x64() -> None:
    with jax.enable_x64(False), pytest.raises(UsageError, match="dtype=float64 needs x64"):
        cast(Net(fc=dense(3, 4)), jnp.float64)


SQUARE: list[tuple[str, Any, torch.nn.Module, str]] = [
    ("Linear", dense(4, 4), T.Linear(4, 4), "transposed"),
    ("Conv", nnx.Conv(3, 3, (2, 2), padding="VALID", rngs=rngs()), T.Conv2d(3, 3, 2), "turned round in space"),
    ("Conv h w", nnx.Conv(3, 3, (2, 2), padding="VALID", rngs=rngs()), T.Conv2d(3, 3, 2), "with height and width"),
    ("ConvTranspose", nnx.ConvTranspose(3, 3, (3, 3), padding="VALID", rngs=rngs()), T.ConvTranspose2d(3, 3, 3),
     "turned round in space"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "model", "module", "word"), SQUARE, ids=[row[0] for row in SQUARE])
def test_probe_finds_what_shapes_cannot_tell(name: str, model: Any, module: torch.nn.Module, word: str) -> None:
    module = random_torch(module)
    right = planned(model, module).to_jax(module.state_dict())
    wrong = {
        "transposed": lambda kernel: kernel.T,
        "turned round in space": lambda kernel: kernel[::-1, ::-1],
        "with height and width": lambda kernel: kernel.swapaxes(0, 1),
    }[word](right["kernel"])
    ours, theirs = (describe_jax(fill(model, right | {"kernel": wrong}))[""], describe_torch(module)[""])
    finding = probe(ours, theirs)
    assert finding is not None
    assert (finding.rule, finding.level) == ("weights/layout", "error")
    assert f"agree with the kernel {word}" in finding.message


def test_probe_tells_other_weights_from_another_layout() -> None:
    finding = probe(describe_jax(dense(4, 4))[""], describe_torch(random_torch(T.Linear(4, 4)))[""])
    assert finding is not None
    assert (finding.rule, finding.level) == ("weights/probe", "warning")


def pictures() -> torch.nn.Module:
    return T.Sequential(
        T.Linear(5, 24), T.BatchNorm1d(24), T.ReLU(), T.Unflatten(1, (4, 2, 3)), T.Conv2d(4, 3, 1), T.ReLU(),
        T.Flatten(), T.Dropout(), T.LayerNorm(18), T.Linear(18, 3), T.Linear(3, 2),
    )  # fmt: skip


class Pictures(nnx.Module):
    """The same, channels last."""

    def __init__(self) -> None:
        self.up, self.conv = dense(5, 24), nnx.Conv(4, 3, (1, 1), rngs=rngs())
        self.bn = nnx.BatchNorm(24, epsilon=1e-5, use_running_average=True, rngs=rngs())
        self.ln = nnx.LayerNorm(18, epsilon=1e-5, rngs=rngs())
        self.fc, self.out = dense(18, 3), dense(3, 2)

    def __call__(self, x: Any) -> Any:
        x = nnx.relu(self.bn(self.up(x))).reshape(-1, 2, 3, 4)
        return self.out(self.fc(self.ln(nnx.relu(self.conv(x)).reshape(-1, 18))))


def test_flattened_pictures() -> None:
    module, model = random_torch(pictures()), cast(Pictures(), jnp.float64)
    x = np.random.default_rng(0).standard_normal((4, 5))
    inputs = [torch.from_numpy(x)]
    flatten, unflatten = find_flatten(module, inputs), find_unflatten(module, inputs)
    assert flatten == {"8": (3, 2, 3), "9": (3, 2, 3)}
    assert unflatten == {"0": (4, 2, 3), "1": (4, 2, 3)}
    expected = module(inputs[0]).detach().numpy()
    state = {key: value.numpy() for key, value in module.state_dict().items()}
    run = jax.jit(lambda arrays: fill(model, arrays)(jnp.asarray(x)), compiler_options=QUICK)
    for options, equal in (({"flatten": flatten, "unflatten": unflatten}, True), ({"flatten": flatten}, False)):
        made = planned(model, module, **options)
        arrays = made.to_jax(state)
        error = np.abs(np.asarray(run(arrays)) - expected).max()
        assert (error < 1e-12 * np.abs(expected).max()) == equal
        assert all((value == state[key]).all() for key, value in made.to_torch(arrays).items())


def test_flatten_names_and_sizes_are_checked() -> None:
    model, module = Net(fc=dense(12, 4)), T.ModuleDict({"fc": T.Linear(12, 4)})
    with pytest.raises(UsageError, match="flatten names 'fd': no aligned layer"):
        planned(model, module, flatten={"fd": (2, 2, 3)})
    with pytest.raises(UsageError, match=r"'fc': \(2, 3, 3\) has 18 features, and fc.weight \[12\]"):
        planned(model, module, flatten={"fc": (2, 3, 3)})


def test_a_sequence_is_no_picture() -> None:
    module = T.Sequential(T.Linear(3, 4), T.Flatten(), T.Linear(20, 2))
    assert find_flatten(module, [torch.zeros(2, 5, 3)]) == {}


JAXPORT: list[tuple[str, Any, Any]] = [
    ("Conv2d", lambda: jaxport.nn.Conv2d(2, 3, 3, rngs=rngs()), lambda: T.Conv2d(2, 3, 3)),
    ("BatchNorm1d", lambda: jaxport.nn.BatchNorm1d(3), lambda: T.BatchNorm1d(3)),
    ("Bilinear", lambda: jaxport.nn.Bilinear(2, 3, 4, rngs=rngs()), lambda: T.Bilinear(2, 3, 4)),
    ("LSTM", lambda: jaxport.nn.LSTM(2, 3, num_layers=2, bidirectional=True, rngs=rngs()),
     lambda: T.LSTM(2, 3, num_layers=2, bidirectional=True)),
    ("GRU", lambda: jaxport.nn.GRU(2, 3, rngs=rngs()), lambda: T.GRU(2, 3)),
    ("MultiheadAttention", lambda: jaxport.nn.MultiheadAttention(4, 2, rngs=rngs()),
     lambda: T.MultiheadAttention(4, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("model", "module"), [row[1:] for row in JAXPORT], ids=[row[0] for row in JAXPORT])
def test_layers_of_jaxport_are_laid_out_as_pytorchs(model: Any, module: Any) -> None:
    ours, theirs = cast(model(), jnp.float64), random_torch(module())
    made = planned(ours, theirs)
    assert not made.findings
    state = {key: value.numpy() for key, value in theirs.state_dict().items()}
    assert all((value == state[key]).all() for key, value in made.to_jax(state).items())
    back = made.to_torch(made.to_jax(state))
    assert back.keys() == state.keys()
    assert all((value == state[key]).all() for key, value in back.items())
