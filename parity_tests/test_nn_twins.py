"""Every module against its PyTorch twin of the same name: state_dict, repr, outputs and gradients."""

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Case, assert_same, both_dtypes, generator, normal, rounded
from flax import nnx

from jaxport import nn
from jaxport.interop import load_state_dict, state_dict

torch = pytest.importorskip("torch")


@dataclass(frozen=True)
class Twin:
    """A module by its name and arguments, which are the same on both sides, and the shape of its input."""

    name: str
    args: tuple[Any, ...]
    shape: tuple[int, ...] = (3, 4, 7, 9)
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.name}({', '.join([*map(str, self.args), *(f'{k}={v}' for k, v in self.kwargs.items())])})"

    def torch(self) -> Any:
        return getattr(torch.nn, self.name)(*self.args, **self.kwargs)

    def jax(self) -> nn.Module:
        made = getattr(nn, self.name)
        needs = {"rngs": nnx.Rngs(0)} if "rngs" in inspect.signature(made.__init__).parameters else {}
        return made(*self.args, **self.kwargs, **needs)


def conv(*args: Any, shape: tuple[int, ...] = (3, 4, 7, 9), **kwargs: Any) -> Twin:
    return Twin("Conv2d", args, shape, kwargs)


LAYERS = [
    Twin("Linear", (5, 3), (4, 5)),
    Twin("Linear", (5, 3), (2, 4, 5), {"bias": False}),
    Twin("Linear", (1, 1), (4, 1)),
    Twin("Flatten", ()),
    Twin("Flatten", (0, 2)),
    Twin("Flatten", (), kwargs={"start_dim": 2}),
    Twin("ReLU", ()),
    Twin("ReLU", (True,)),
    Twin("Sigmoid", ()),
    conv(4, 6, 3),
    conv(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=2),
    conv(4, 6, 3, padding="same", bias=False),
    conv(4, 6, 3, padding="valid", groups=2),
    conv(4, 8, 3, 2, 1, 1, 4),
    conv(4, 6, 3, padding=(2, 1), padding_mode="reflect"),
    conv(4, 6, 3, padding=(1, 2), padding_mode="replicate", stride=2),
    conv(4, 6, 3, padding=(1, 3), padding_mode="circular"),
    conv(4, 6, (2, 3), padding="same", padding_mode="reflect", shape=(4, 7, 9)),
    conv(4, 6, (2, 4), padding="same", padding_mode="circular", dilation=(1, 2)),
    conv(4, 6, 3, padding=0, padding_mode="circular"),
    conv(4, 6, 3, padding="valid", padding_mode="replicate"),
    Twin("MaxPool2d", (2,)),
    Twin("MaxPool2d", ((3, 2), 2), kwargs={"padding": 1}),
    Twin("MaxPool2d", (3,), kwargs={"stride": (2, 1), "dilation": 2, "ceil_mode": True}),
    Twin("MaxPool2d", (2, 2, 0, 1, True, False)),
    Twin("AdaptiveMaxPool2d", ((1, 1),)),
    Twin("AdaptiveMaxPool2d", (3,)),
    Twin("AdaptiveMaxPool2d", ((2, None),)),
    Twin("AdaptiveMaxPool2d", ((2, 3), True)),
    Twin("Dropout", (0.3,)),
    Twin("Dropout", ()),
    Twin("Dropout", (1,)),
    Twin("Dropout", (0.1, True)),
    Twin("Dropout2d", (0.1,)),
    Twin("Dropout2d", (), kwargs={"inplace": True}),
]
LOSSES = [
    *(Twin(name, (), (5, 3), {"reduction": r}) for name in ("MSELoss", "BCELoss") for r in ("none", "mean", "sum")),
    *(Twin(name, (), (5, 3)) for name in ("MSELoss", "BCELoss", "NLLLoss", "CrossEntropyLoss")),
    Twin("NLLLoss", (), (5, 3), {"ignore_index": 1, "reduction": "sum"}),
    Twin("CrossEntropyLoss", (), (5, 3), {"ignore_index": 1, "label_smoothing": 0.1, "reduction": "none"}),
]


def twins(rows: list[Twin]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("twin", rows, ids=[row.id for row in rows])


def layout(arrays: dict[str, Any]) -> list[tuple[str, tuple[int, ...], str]]:
    return [(key, tuple(value.shape), str(value.dtype).removeprefix("torch.")) for key, value in arrays.items()]


@twins(LAYERS + LOSSES)
def test_state_dict_and_repr(twin):
    theirs, ours = twin.torch(), twin.jax()
    assert layout(state_dict(ours)) == layout(theirs.state_dict())
    assert repr(ours) == str(ours) == repr(theirs)


# Dropout is compared in evaluation mode here, and with replayed masks in test_nn_layers.
def forward_case(twin: Twin) -> Case:
    """Inputs are x and the parameters, by position: what load_state_dict puts where is what PyTorch's puts there."""
    template = twin.torch()
    names = list(template.state_dict())
    shapes = [tuple(value.shape) for value in template.state_dict().values()]

    def torch_fn(x: Any, *arrays: Any) -> Any:
        module = template.eval().to(x.dtype)
        return torch.func.functional_call(module, dict(zip(names, arrays, strict=True)), (x * 1,))

    def jax_fn(x: jax.Array, *arrays: jax.Array) -> Any:
        graph, params, rest = nnx.split(twin.jax().eval().to(x.dtype), nn.Parameter, ...)
        leaves = dict(zip(names, arrays, strict=True))
        replaced = jax.tree_util.tree_map_with_path(
            lambda path, _: leaves[".".join(str(part.key) for part in path if hasattr(part, "key"))], params
        )
        return nnx.merge(graph, replaced, rest, copy=True)(x)

    return Case(twin.id, jax_fn, torch_fn, normal(twin.shape, *shapes))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@both_dtypes
@twins(LAYERS)
def test_outputs_and_gradients(twin, dtype):
    assert_same(forward_case(twin), dtype)


@pytest.mark.parametrize("weight", [False, True])
@twins(LOSSES)
def test_losses(twin, weight):
    rng = generator(twin.id)
    x, y = rounded(rng.uniform(0.1, 0.9, (5, 3))), rounded(rng.random((5, 3)))
    labels = twin.name in ("NLLLoss", "CrossEntropyLoss")
    target = rng.integers(0, 3, 5) if labels else y
    kwargs = dict(twin.kwargs)
    if weight and twin.name != "MSELoss":
        kwargs["weight"] = rounded(rng.uniform(0.5, 2.0, 3 if labels else (5, 3)))
    theirs = getattr(torch.nn, twin.name)(**{k: torch.tensor(v) if k == "weight" else v for k, v in kwargs.items()})
    with jax.enable_x64(True):
        ours = getattr(nn, twin.name)(**{k: jnp.asarray(v) if k == "weight" else v for k, v in kwargs.items()})
        assert layout(state_dict(ours)) == layout(theirs.state_dict())
    case = Case(twin.id, ours, theirs, lambda rng: (x, target), differentiable=1)
    assert_same(case, "float64")


# ------------------------------------------------------------------------------------------------- whole models


class JaxNet(nn.Module):
    """Parameters, buffers and children in no tidy order, one child used twice under two names."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.zeta = nn.Linear(4, 5, rngs=rngs)
        self.scale = nn.Parameter(jnp.ones(5))
        self.body = nn.Sequential(nn.Linear(5, 5, bias=False, rngs=rngs), nn.ReLU())
        self.offset = nn.Buffer(jnp.zeros(5))
        self.alpha = nn.Sequential(OrderedDict(second=self.zeta, first=nn.Sequential(nn.Linear(5, 3, rngs=rngs))))
        self.empty = nn.Sequential()
        self.tied = self.scale

    def forward(self, x: jax.Array) -> jax.Array:
        hidden = self.zeta(x) * self.scale[...][None] + self.offset[...][None]
        return self.alpha[1](self.body(hidden))


class TorchNet(torch.nn.Module):
    """The same."""

    def __init__(self) -> None:
        super().__init__()
        self.zeta = torch.nn.Linear(4, 5)
        self.scale = torch.nn.Parameter(torch.ones(5))
        self.body = torch.nn.Sequential(torch.nn.Linear(5, 5, bias=False), torch.nn.ReLU())
        self.register_buffer("offset", torch.zeros(5))
        first = torch.nn.Sequential(torch.nn.Linear(5, 3))
        self.alpha = torch.nn.Sequential(OrderedDict(second=self.zeta, first=first))
        self.empty = torch.nn.Sequential()
        self.tied = self.scale

    def forward(self, x: Any) -> Any:
        return self.alpha[1](self.body(self.zeta(x) * self.scale + self.offset))


def rename(module: Any, name: str) -> Any:
    module.__class__.__name__ = name
    return module


def test_nested_model_has_the_names_order_and_repr_of_its_twin():
    theirs, ours = rename(TorchNet(), "Net"), rename(JaxNet(nnx.Rngs(0)), "Net")
    assert layout(state_dict(ours)) == layout(theirs.state_dict())
    for listing in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [name for name, _ in getattr(ours, listing)()] == [name for name, _ in getattr(theirs, listing)()]
        if listing != "named_children":
            found = [name for name, _ in getattr(ours, listing)(prefix="net")]
            assert found == [name for name, _ in getattr(theirs, listing)(prefix="net")]
            found = [name for name, _ in getattr(ours, listing)(remove_duplicate=False)]
            assert found == [name for name, _ in getattr(theirs, listing)(remove_duplicate=False)]
    assert repr(ours) == repr(theirs)


def theirs_in(module: Any) -> Callable[[Any], Any]:
    """Return the module as a function that works in its input's dtype."""
    return lambda x: copy.deepcopy(module).to(x.dtype)(x)


def test_nested_model_loads_weights_both_ways():
    theirs, ours = TorchNet(), JaxNet(nnx.Rngs(0))
    for parameter in [*theirs.parameters(), *theirs.buffers()]:
        parameter.data.normal_(0.3)
    load_state_dict(ours, theirs.state_dict())
    for key, value in state_dict(ours).items():
        assert value.tobytes() == theirs.state_dict()[key].numpy().tobytes(), key
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    back = TorchNet()
    back.load_state_dict({key: torch.from_numpy(value) for key, value in state_dict(ours).items()})
    assert torch.equal(back(torch.from_numpy(x)), theirs(torch.from_numpy(x)))
    assert_same(Case("nested", lambda x: ours(x), theirs_in(theirs), normal((6, 4))), "float32")


SPELLINGS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "positional": lambda nn, rngs: nn.Sequential(nn.Linear(4, 3, **rngs), nn.ReLU(), nn.Linear(3, 2, **rngs)),
    "ordered": lambda nn, rngs: nn.Sequential(
        OrderedDict([("linear1", nn.Linear(4, 3, **rngs)), ("act", nn.ReLU()), ("linear2", nn.Linear(3, 2, **rngs))])
    ),
    "one-module": lambda nn, rngs: nn.Sequential(nn.Linear(4, 3, **rngs)),
    "nothing": lambda nn, rngs: nn.Sequential(),
    "nested": lambda nn, rngs: nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(4, 3, **rngs)), nn.ReLU())),
}


def one_by_one(nn: Any, rngs: dict[str, Any]) -> Any:
    net = nn.Sequential()
    net.add_module("linear1", nn.Linear(4, 3, **rngs))
    net.add_module("act", nn.ReLU())
    net.append(nn.Linear(3, 2, **rngs))
    net.add_module("act", nn.Sigmoid())  # in the place of the first
    return net


def sliced(nn: Any, rngs: dict[str, Any]) -> Any:
    return one_by_one(nn, rngs)[1:]


SPELLINGS |= {"one-by-one": one_by_one, "sliced": sliced}


@pytest.mark.parametrize("make", SPELLINGS.values(), ids=SPELLINGS)
def test_sequential_in_all_spellings(make):
    theirs, ours = make(torch.nn, {}), make(nn, {"rngs": nnx.Rngs(0)})
    assert repr(ours) == repr(theirs)
    assert layout(state_dict(ours)) == layout(theirs.state_dict())
    assert len(ours) == len(theirs)
    assert [type(module).__name__ for module in ours] == [type(module).__name__ for module in theirs]
