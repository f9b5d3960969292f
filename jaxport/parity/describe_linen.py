"""The modules of a Flax Linen model: its variables say which arrays there are, tracing a call says whose they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax

from .describe_jax import public_kind
from .foreign import Linen
from .layer import Layer, Layers

Place = tuple[str, tuple[str, ...]]
"""A Linen variable's collection, and its path in it."""

_IGNORED = ("intermediates", "cache", "perturbations")


def variables_of(variables: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """Yield the collection, the path in it and the value of every parameter and statistic."""
    for collection, tree in variables.items():
        if collection not in _IGNORED:
            for path, value in jax.tree_util.tree_flatten_with_path(nn.meta.unbox(tree))[0]:
                yield (collection, tuple(str(getattr(key, "key", key)) for key in path)), value


def places(variables: Mapping[str, Any]) -> dict[str, Place]:
    """Return where each leaf is: ``bn.mean`` is at ("batch_stats", ("bn", "mean")).

    Of two collections with the same path the later has the collection's name in the leaf: ``bn.stats:mean``.
    """
    found: dict[str, Place] = {}
    for (collection, path), _ in variables_of(variables):
        key = ".".join(path)
        if key in found:
            key = ".".join((*path[:-1], f"{collection}:{path[-1]}"))
        found[key] = (collection, path)
    return found


def describe_linen(model: Linen, inputs: Sequence[Any] | None = None) -> Layers:
    """Return the modules of a Linen model, in the order in which they are called if `inputs` are given."""
    values = dict(variables_of(model.variables))
    arrays: dict[str, dict[str, Any]] = {"": {}}
    for key, place in places(model.variables).items():
        owner, _, name = key.rpartition(".")
        arrays.setdefault(owner, {})[name] = values[place]
    modules = {"": model.module} | ({} if inputs is None else _traced(model, inputs))
    names = modules | dict.fromkeys(arrays)
    return {path: _layer(path, modules.get(path), arrays.get(path, {}), list(names)) for path in names}


def _layer(path: str, module: nn.Module | None, arrays: dict[str, Any], names: list[str]) -> Layer:
    children = any(name != path and (not path or name.startswith(path + ".")) for name in names)
    if module is None:
        return Layer(path, "flax.linen.Module" if children else "array", {}, arrays, None, children)
    return Layer(path, public_kind(type(module), ("flax.linen",)), _settings(module), arrays, module, children)


def _settings(module: nn.Module) -> dict[str, Any]:
    fields = (field.name for field in dataclasses.fields(module) if field.name not in ("parent", "name"))
    settings = {name: getattr(module, name) for name in fields if hasattr(module, name)}
    return {name: value for name, value in settings.items() if not isinstance(value, nn.Module)}


def _traced(model: Linen, inputs: Sequence[Any]) -> dict[str, nn.Module]:
    """Return every module that a call runs, by path, unbound, in the order of the calls."""
    found: dict[str, nn.Module] = {}

    def watch(run: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        path = ".".join(map(str, module.path))
        if path not in found:
            found[path] = _unbound(module)
            cell = getattr(module, "cell", None)
            if isinstance(cell, nn.Module) and cell.scope is not None:
                object.__setattr__(found[path], "cell_path", ".".join(map(str, cell.path)))
        return run(*args, **kwargs)

    def call(variables: Any, arguments: Any) -> Any:
        keys = {name: jax.random.key(0) for name in ("params", "dropout")}
        with nn.intercept_methods(watch):
            return model.module.apply(variables, *arguments, mutable=True, rngs=keys, **model.evaluating)

    jax.eval_shape(call, model.variables, tuple(inputs))
    return found


def _unbound(module: nn.Module) -> nn.Module:
    """Return the module outside of the trace; a child given by its constructor is left as it is."""
    copy = object.__new__(type(module))
    for field in dataclasses.fields(module):
        if hasattr(module, field.name):
            object.__setattr__(copy, field.name, getattr(module, field.name))
    object.__setattr__(copy, "parent", None)
    return copy
