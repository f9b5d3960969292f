"""The tutorials' networks that are no ports, each made from one list of layers, with jaxport's layers or PyTorch's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import nn, ports, summary
from jaxport.nn import functional as F

# (name, class, arguments); a name that returns is the same layer again.
LAYERS = (
    ("conv1", "Conv2d", ({"in_channels": 3, "out_channels": 32, "kernel_size": 3})),
    ("pool1", "MaxPool2d", ({"kernel_size": 2, "stride": 2})),
    ("conv2", "Conv2d", ({"in_channels": 32, "out_channels": 64, "kernel_size": 5})),
    ("pool2", "MaxPool2d", ({"kernel_size": 2, "stride": 2})),
    ("dropout", "Dropout2d", ({"p": 0.1})),
    ("adaptive_pool", "AdaptiveMaxPool2d", ({"output_size": (1, 1)})),
    ("flatten", "Flatten", ({})),
    ("linear1", "Linear", ({"in_features": 64, "out_features": 32})),
    ("relu", "ReLU", ({})),
    ("linear2", "Linear", ({"in_features": 32, "out_features": 1})),
    ("sigmoid", "Sigmoid", ({})),
)
DIGIT = (
    ("conv1", "Conv2d", ({"in_channels": 1, "out_channels": 32, "kernel_size": 3})),
    *LAYERS[1:9],
    ("linear2", "Linear", ({"in_features": 32, "out_features": 10})),
)
SHARED = tuple((name.rstrip("12") if name.startswith("pool") else name, *rest) for name, *rest in LAYERS)
SHORT = {"adaptive_pool": "adaptive"}
DRAWING = ("Conv1d", "Conv2d", "Linear", "Dropout2d", "Embedding")


def layer(kind: str, options: dict, of: Any) -> Any:
    """Return one layer of `of`, which is jaxport.nn or torch.nn."""
    drawn = {"rngs": nnx.Rngs(0)} if of is nn and kind in DRAWING else {}
    return getattr(of, kind)(**options, **drawn)


def layers(spec: tuple, of: Any) -> OrderedDict[str, Any]:
    """Return the layers of a list under their names, each made once."""
    made: OrderedDict[str, Any] = OrderedDict()
    for name, kind, options in spec:
        if name not in made:
            made[name] = layer(kind, options, of)
    return made


def named(spec: tuple, of: Any = nn) -> Any:
    """Return a network whose class is called Net and whose attributes are the layers."""

    class Net(of.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            for name, made in layers(spec, of).items():
                setattr(self, name, made)

        def forward(self, x: Any) -> Any:
            for name, *_ in spec:
                x = getattr(self, name)(x)
            return x

    return Net()


def sequence(spec: tuple, of: Any = nn) -> Any:
    """Return a Sequential with the layers' names."""
    return of.Sequential(layers(spec, of))


def numbered(spec: tuple, of: Any = nn) -> Any:
    """Return a Sequential with numbers for names."""
    return of.Sequential(*layers(spec, of).values())


def holding(part: str, made: Any, of: Any = nn, name: str = "Net") -> Any:
    """Return a network called `name` with one attribute, `part`, whose members are called one after another."""

    def forward(self: Any, x: Any) -> Any:
        for member in getattr(self, part):
            x = member(x)
        return x

    def start(self: Any) -> None:
        super(kind, self).__init__()
        setattr(self, part, made)

    kind = type(name, (of.Module,), {"__init__": start, "forward": forward})
    return kind()


def listed(spec: tuple, of: Any = nn, name: str = "Net") -> Any:
    """Return a network with its layers in a ModuleList."""
    return holding("layers", of.ModuleList(layers(spec, of).values()), of, name)


def keyed(of: Any = nn) -> Any:
    """Return a network with its layers in a ModuleDict, the pool once."""
    made = OrderedDict((SHORT.get(name, name), one) for name, one in layers(SHARED, of).items())
    return holding("layers_dict", of.ModuleDict(made), of)


def halves(of: Any = nn) -> Any:
    """Return a network with a Sequential of convolutions and one of linear layers."""
    made = list(layers(LAYERS, of).values())

    class Net(of.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.dense = of.Sequential(*made[:6]), of.Sequential(*made[6:])

    return Net()


class Lenet32(nn.Module):
    """The 60-minute introduction's network: (N, 1, 32, 32) to (N, 10)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, rngs=rngs), nn.Conv2d(6, 16, 5, rngs=rngs)
        self.fc1, self.fc2 = nn.Linear(16 * 5 * 5, 120, rngs=rngs), nn.Linear(120, 84, rngs=rngs)
        self.fc3 = nn.Linear(84, 10, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        """Map pictures to ten numbers."""
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).reshape(len(x), -1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    def _get_name(self) -> str:
        return "Net"


def sizes(build: Callable[[], Any]) -> Any:
    """Return what `build` makes, with sizes and types in place of numbers: nothing is drawn or compiled."""
    return nnx.eval_shape(build)


def output_shape(build: Callable[[], Any], *shape: int) -> tuple[int, ...]:
    """Return the size of what a layer makes of an input of size `shape`; nothing is computed."""
    return jax.eval_shape(lambda x: build()(x), jax.ShapeDtypeStruct(shape, jnp.float32)).shape


@cache
def lenet32() -> Any:
    """Return the 60-minute introduction's network."""
    return sizes(lambda: Lenet32(rngs=nnx.Rngs(0)))


@cache
def port(name: str) -> Any:
    """Return a port's model, with the sizes of its parameters alone."""
    return sizes(lambda: ports.get(name).model(rngs=nnx.Rngs(0)))


def reference(name: str) -> Any:
    """Return the PyTorch model of a port."""
    from importlib import import_module

    return import_module(f"jaxport.reference.{name}").build()


def names(model: Any) -> str:
    """Return the keys of a model's state as PyTorch prints them."""
    return f"odict_keys({[name for name, _ in model.named_parameters()]})"


def shown(net: Any) -> list[str]:
    """Return a network as four loops print it: its children, with their names, all modules, a dictionary."""
    return [
        "\n".join(map(str, net.children())),
        "\n".join(f"{name} : {child}" for name, child in net.named_children()),
        "\n".join(map(str, net.modules())),
        str(dict(net.named_children())),
    ]


def frozen_reviews() -> Any:
    """Return the network for reviews with an embedding that is not trained."""
    model = port.__wrapped__("imdb")
    model.embedding.requires_grad_(False)
    return model


TABLES = {
    "titanic": lambda: summary(port("titanic"), (15,)),
    # `summary` lists a layer once, the tutorials once a call: where one pool serves twice, here it is two.
    "calls": lambda: summary(sizes(lambda: sequence(LAYERS)), (3, 32, 32)),
    "named": lambda: summary(sizes(lambda: named(LAYERS)), (3, 32, 32)),
    "sequence": lambda: summary(sizes(lambda: sequence(LAYERS)), (3, 32, 32)),
    "listed": lambda: summary(sizes(lambda: listed(LAYERS)), (3, 32, 32)),
    "imdb": lambda: summary(port("imdb"), (200,), jnp.int32),
    "frozen": lambda: summary(frozen_reviews(), (200,), jnp.int32),
    "covid19": lambda: summary(port("covid19"), (8, 3)),
    "plane": lambda: summary(port("linreg_plane"), (2,)),
    "circles": lambda: summary(port("circles"), (2,)),
    "focal": lambda: summary(port("circles_focal"), (2,)),
    "digit": lambda: summary(sizes(lambda: sequence(DIGIT)), (1, 32, 32)),
    "digit_port": lambda: summary(port("mnist_cnn"), (1, 32, 32)),
    "digit_listed": lambda: summary(sizes(lambda: listed(DIGIT)), (1, 32, 32)),
}


@cache
def table(name: str) -> list[str]:
    """Return the lines of a summary."""
    return str(TABLES[name]()).splitlines()
