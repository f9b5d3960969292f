"""What a PyTorch side needs of a port, without JAX: importing that would count in PyTorch's memory and start."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxport.port import Port

FILE = "recipe.json"
# Adagrad's first step moves every weight by the learning rate, whatever the gradient. imdb's 0.02 on 6,144 of them
# takes the output to 0 or 1 exactly, on real reviews as on made-up ones: losses are then 100 in float32 and less in
# float64, and who computes rightly cannot be told from who does not. resnet's 0.05 makes 0.026 of PyTorch's rounding in
# four steps. A step is the same work at any learning rate.
LEARNING_RATES = {"imdb": 2e-4, "resnet": 5e-4}


@dataclass(frozen=True)
class Call:
    """A class by its name, and its arguments; PyTorch's twin has the same name."""

    name: str
    args: Sequence[Any] = ()
    keywords: Mapping[str, Any] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments."""
        return dict(self.keywords or {})


@dataclass(frozen=True)
class Recipe:
    """A port's recipe in names and numbers; the attributes are the port's own."""

    name: str
    loss: Call
    optimizer: Call
    metrics: Sequence[Call]
    prepare: str
    shuffle: bool


def benched(port: Port) -> Port:
    """Return the port as it is measured: with another learning rate, where its own leaves nothing to compare."""
    if port.name not in LEARNING_RATES:
        return port
    optimizer, rate = port.optimizer, LEARNING_RATES[port.name]
    return replace(port, optimizer=partial(optimizer.func, *optimizer.args, **(optimizer.keywords | {"lr": rate})))


def deviation(port: str) -> str | None:
    """Say where a port's recipe is not as it trains."""
    return f"learning rate {LEARNING_RATES[port]:g}, not the recipe's" if port in LEARNING_RATES else None


def recipe_of(port: Port | Recipe) -> Recipe:
    """Return a port's recipe."""
    if isinstance(port, Recipe):
        return port
    metrics = [Call(type(metric).__name__, (), dict(vars(metric))) for metric in port.metrics]
    return Recipe(
        port.name, _call(port.loss), _call(port.optimizer), metrics, getattr(port.prepare, "__name__", ""), port.shuffle
    )


def _call(function: partial[Any]) -> Call:
    return Call(function.func.__name__, function.args, function.keywords)


def save_recipe(recipe: Recipe, folder: str | Path) -> None:
    """Write a recipe into `folder`."""
    Path(folder, FILE).write_text(json.dumps(asdict(recipe)))


def load_recipe(folder: str | Path) -> Recipe:
    """Read what `save_recipe` wrote."""
    read = json.loads(Path(folder, FILE).read_text())
    loss, optimizer = Call(**read.pop("loss")), Call(**read.pop("optimizer"))
    return Recipe(loss=loss, optimizer=optimizer, metrics=[Call(**each) for each in read.pop("metrics")], **read)
