"""describe_jax: the modules of a JAX model, with their settings and arrays."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxport.errors import UsageError

from .foreign import Function, Linen
from .layer import Layer, Layers


def describe_jax(model: Any, inputs: Sequence[Any] | None = None) -> Layers:
    """Return the modules of a JAX model by path, in the order in which they were defined.

    Args:
        model: an `nnx.Module`, an Equinox module, a `Linen` or a `Function`.
        inputs: what a Linen module is called with: its modules and their settings are found by tracing the call (no
            number is computed). Without, they are known by their arrays alone.

    Raises:
        UsageError: the model is none of these.
    """
    if isinstance(model, nnx.Module):
        return dict(_nnx_layers(model))
    if isinstance(model, Linen):
        from .describe_linen import describe_linen

        return describe_linen(model, inputs)
    if isinstance(model, Function):
        from .describe_tree import describe_tree

        return describe_tree(model.params)
    if is_equinox(model):
        from .describe_tree import describe_equinox

        return describe_equinox(model)
    raise UsageError(
        f"a JAX model must be an nnx.Module, an equinox.Module, parity.Linen(module, variables) or "
        f"parity.Function(apply, params), got {type(model).__name__}"
    )


def is_equinox(model: Any) -> bool:
    """Say whether it is an Equinox module, without importing Equinox."""
    equinox = sys.modules.get("equinox")
    return equinox is not None and isinstance(model, equinox.Module)


def public_kind(cls: type, packages: Sequence[str]) -> str:
    """Return ``flax.nnx.Conv`` for the class that the package exports under that name, else its own module's name."""
    for name in packages:
        package = sys.modules.get(name)
        if getattr(package, cls.__name__, None) is cls:
            return f"{name}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def _nnx_layers(model: nnx.Module) -> Iterator[tuple[str, Layer]]:
    for path, module in nnx_modules(model):
        arrays = {name: array_of(value) for name, value in members(module) if is_array(value)}
        children = any(True for _, value in members(module) for _ in _walk("", value, set()))
        kind = public_kind(type(module), ("flax.nnx", "jaxport.nn"))
        yield path, Layer(path, kind, settings_of(module), arrays, module, children)


def nnx_modules(model: nnx.Module) -> Iterator[tuple[str, nnx.Module]]:
    """Yield a model's modules with their paths, each once, in definition order (`nnx.iter_graph` sorts by name)."""
    yield from _walk("", model, set())


def _walk(path: str, value: Any, seen: set[int]) -> Iterator[tuple[str, nnx.Module]]:
    if id(value) in seen:
        return
    if isinstance(value, nnx.Module):
        seen.add(id(value))
        yield path, value
    if isinstance(value, nnx.Module | list | tuple | dict):
        for name, child in members(value):
            yield from _walk(f"{path}.{name}" if path else str(name), child, seen)


def members(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield what a module or a plain container holds: name or index, value. No random streams, no private state."""
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        items = ((name, part) for name, part in vars(value).items() if not name.startswith(("_pytree", "_object")))
    for name, part in items:
        if not isinstance(part, nnx.Rngs | nnx.RngStream | nnx.RngState):
            yield name, part


_NO_LEAF = (nnx.RngState, nnx.Cache, nnx.Intermediate)


def is_array(value: Any) -> bool:
    """Say whether a member of a module is a parameter or a buffer."""
    if isinstance(value, nnx.Variable):
        return not isinstance(value, _NO_LEAF) and hasattr(value[...], "shape")
    return isinstance(value, jax.Array) and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def array_of(value: Any) -> Any:
    """Return the array itself."""
    return value[...] if isinstance(value, nnx.Variable) else value


@cache
def _arguments(cls: type) -> tuple[str, ...]:
    names = inspect.signature(cls.__init__).parameters
    return tuple(name for name in names if name not in ("self", "args", "kwargs", "rngs"))


def settings_of(module: nnx.Module) -> dict[str, Any]:
    """Return what a module was constructed with, as far as it keeps it, and its train/eval switches."""
    held: Mapping[str, Any] = vars(module)
    names = (*_arguments(type(module)), "deterministic", "use_running_average", "num_groups", "training")
    kept = {name: held[name] for name in names if name in held}
    flags = {name: held[name] is not None for name in ("bias",) if name in _arguments(type(module)) and name in held}
    return {name: value for name, value in kept.items() if not _holds_state(value)} | flags


def _holds_state(value: Any) -> bool:
    return isinstance(value, nnx.Module | nnx.Variable | jax.Array | np.ndarray | nnx.RngStream | list | dict)
