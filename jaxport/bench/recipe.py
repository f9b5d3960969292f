"""What a PyTorch side needs of a port, without JAX: importing that would count in PyTorch's memory and start."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxport.port import Port

FILE = "recipe.json"


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
