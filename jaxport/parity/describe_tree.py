"""The modules of an Equinox model, and the parts of a bare pytree of parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .describe_jax import public_kind
from .layer import Layer, Layers


def key_of(path: tuple[Any, ...]) -> str:
    """Return a leaf's dotted path of JAX's own: ``layers.0.weight``."""
    names = (getattr(part, "key", getattr(part, "name", getattr(part, "idx", part))) for part in path)
    return ".".join(map(str, names))


def is_leaf_array(value: Any) -> bool:
    """Say whether a leaf is an array of numbers; random keys are none."""
    if isinstance(value, jax.Array):
        return not jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return isinstance(value, np.ndarray)


def describe_tree(params: Any) -> Layers:
    """Return the parts of a pytree: all leaves with the same path but the last name are one layer of kind "array"."""
    arrays: dict[str, dict[str, Any]] = {"": {}}
    for path, value in jax.tree_util.tree_flatten_with_path(params)[0]:
        if is_leaf_array(value):
            owner, _, name = key_of(path).rpartition(".")
            arrays.setdefault(owner, {})[name] = value
    paths = list(arrays)
    return {path: Layer(path, "array", {}, held, None, _has_children(path, paths)) for path, held in arrays.items()}


def _has_children(path: str, paths: list[str]) -> bool:
    return any(other != path and (not path or other.startswith(path + ".")) for other in paths)


def describe_equinox(model: Any) -> Layers:
    """Return the modules of an Equinox model, in the order of their fields."""
    return dict(_walk("", model))


def _walk(path: str, value: Any) -> Iterator[tuple[str, Layer]]:
    import equinox

    if isinstance(value, equinox.nn.StateIndex):
        return
    if isinstance(value, equinox.Module):
        held = dict(_fields(value))
        arrays = {name: part for name, part in held.items() if is_leaf_array(part)}
        inner = {name: part for name, part in held.items() if isinstance(part, equinox.Module | list | tuple | dict)}
        settings = {name: part for name, part in held.items() if name not in arrays and _is_setting(part)}
        kind = public_kind(type(value), ("equinox.nn", "equinox"))
        yield path, Layer(path, kind, settings, arrays, value, any(_modules_in(part) for part in inner.values()))
        members: Any = inner.items()
    elif isinstance(value, dict):
        members = value.items()
    else:
        members = enumerate(value) if isinstance(value, list | tuple) else ()
    arrays_here = {str(name): part for name, part in members if is_leaf_array(part)}
    if arrays_here and not isinstance(value, equinox.Module):
        yield path, Layer(path, "array", {}, arrays_here)
    for name, part in members if not isinstance(value, list | tuple) else enumerate(value):
        yield from _walk(f"{path}.{name}" if path else str(name), part)


def _fields(module: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(module):
        if hasattr(module, field.name):
            yield field.name, getattr(module, field.name)


def _is_setting(value: Any) -> bool:
    leaves = jax.tree_util.tree_leaves(value)
    return not any(is_leaf_array(leaf) for leaf in leaves)


def _modules_in(value: Any) -> bool:
    import equinox

    def module(part: Any) -> bool:
        return isinstance(part, equinox.Module) and not isinstance(part, equinox.nn.StateIndex)

    return any(module(part) for part in jax.tree_util.tree_leaves(value, is_leaf=module))
