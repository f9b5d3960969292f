"""How a script makes a layer again: by the call of its class, checked here, or else from a pickle."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import indent
from typing import Any

import numpy as np

from jaxport.errors import UsageError

from .calls import Source


@dataclass
class Recipe:
    """What a script needs to make a layer.

    Attributes:
        kind: the layer's class.
        code: the body of a function that returns it; ``arrays`` are there.
        arrays: its weights by name.
        modules: what is imported.
    """

    kind: str
    code: str
    arrays: dict[str, np.ndarray]
    modules: set[str] = field(default_factory=set)

    @property
    def imports(self) -> set[str]:
        """The import statements."""
        return {f"import {name}" for name in self.modules}

    @property
    def foreign(self) -> set[str]:
        """The packages that are needed."""
        return {name.split(".")[0] for name in self.modules}


@dataclass
class Made:
    """How a layer is made: by a call, or from a pickle."""

    code: str
    pickle: np.ndarray | None


def make(write: Callable[[], str], source: Source, alike: Callable[[Any], bool], module: Any, name: str) -> Made:
    """Return the call that makes a layer if it does make one alike, else the layer's pickle."""
    source.named(type(module))
    try:
        code = write()
        if alike(_evaluated(code, source.modules)):
            return Made(code, None)
    except UsageError:
        raise
    except Exception:  # whatever the layer's constructor raises: it is not to be called so
        pass
    return Made("", pickled(module, name))


def _evaluated(code: str, modules: set[str]) -> Any:
    """Return what the source makes here."""
    from importlib import import_module

    space = {name.split(".")[0]: import_module(name.split(".")[0]) for name in {*modules, "jax", "torch"}}
    for name in modules:
        import_module(name)
    return eval(code, space)


def pickled(value: Any, name: str) -> np.ndarray:
    """Return a pickle as an array.

    Raises:
        UsageError: it cannot be pickled; `name` is the argument.
    """
    try:
        return np.frombuffer(pickle.dumps(value), np.uint8)
    except Exception as error:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise UsageError(f"{name}: {kind} can neither be called again nor pickled: {error}") from error


def recipe(made_of: Any, made: Made, after: str, arrays: dict[str, np.ndarray], source: Source) -> Recipe:
    """Return the recipe of what is made so, and then gets its weights by the lines `after`."""
    if made.pickle is None:
        first = f"layer = {made.code}"
    else:
        first = (
            f"# The call that made this {made_of.__name__} could not be told, so this is its pickle.\n"
            'layer = pickle.loads(arrays.pop("pickle").tobytes())'
        )
        arrays = arrays | {"pickle": made.pickle}
    kind = f"{made_of.__module__}.{made_of.__qualname__}"
    return Recipe(kind, indent(f"{first}\n{after}", "    "), arrays, source.modules)
