"""The arrays of a JAX model of any kind: read, replaced, and brought to another dtype."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from jaxport.errors import UsageError
from jaxport.parity.describe_jax import array_of, describe_jax, is_array, is_equinox, members, nnx_modules
from jaxport.parity.describe_linen import places
from jaxport.parity.describe_tree import is_leaf_array, key_of
from jaxport.parity.foreign import Function, Linen

from .attention64 import in_float64


def leaves(model: Any) -> dict[str, jax.Array]:
    """Return every parameter and buffer of a JAX model by path; random keys and caches are none.

    Args:
        model: an `nnx.Module`, an Equinox module, a `Linen` or a `Function`.

    Raises:
        UsageError: the model is none of these.
    """
    return {layer.key(name): value for layer in describe_jax(model).values() for name, value in layer.arrays.items()}


def fill(model: Any, arrays: Mapping[str, Any]) -> Any:
    """Return a copy of a JAX model with some of its arrays replaced; their dtypes are those given.

    Args:
        model: an `nnx.Module`, an Equinox module, a `Linen` or a `Function`.
        arrays: path as in `leaves` → array of the same shape.

    Raises:
        UsageError: a path that the model does not have, or another shape; all of them are listed.
    """
    known = leaves(model)
    bad = [f"{path}: no such array" for path in arrays if path not in known]
    bad += [
        f"{path}: shape {tuple(value.shape)} given, {tuple(known[path].shape)} in the model"
        for path, value in arrays.items()
        if path in known and tuple(value.shape) != tuple(known[path].shape)
    ]
    if bad:
        raise UsageError(f"the arrays do not fit the JAX model ({len(known)} arrays): " + "; ".join(bad))
    return _replaced(model, lambda path, value: jnp.asarray(arrays[path]) if path in arrays else value)


def cast(model: Any, dtype: Any) -> Any:
    """Return a copy of a JAX model that computes in a dtype: its floating-point arrays and its settings are of it.

    A layer's ``dtype`` and ``param_dtype`` (Flax), where given, are replaced too: with ``dtype=jnp.float32`` left, a
    run on float64 arrays would compute in float32. A Linen module's are replaced while ``apply`` runs.

    Args:
        model: an `nnx.Module`, an Equinox module, a `Linen` or a `Function`.
        dtype: ``jnp.float64`` (needs x64) or another floating-point type.

    Raises:
        UsageError: the dtype is float64 and x64 is not enabled.
    """
    if jnp.dtype(dtype) != jax.dtypes.canonicalize_dtype(dtype):
        raise UsageError(f"dtype={jnp.dtype(dtype).name} needs x64: jax.config.update('jax_enable_x64', True)")
    done = _replaced(model, lambda _, value: _as(value, dtype))
    if isinstance(done, nnx.Module):
        for _, module in nnx_modules(done):
            _set_dtypes(module, dtype, setattr)
            if isinstance(module, nnx.MultiHeadAttention) and jnp.dtype(dtype) == jnp.float64:
                module.attention_fn = in_float64(module.attention_fn)
    if isinstance(done, Linen):
        return dataclasses.replace(done, module=_casting(done.module, dtype))
    return done


def _as(value: Any, dtype: Any) -> Any:
    """Return a floating-point array in another dtype; NumPy does it, which compiles no program for every shape."""
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return value
    return value.astype(dtype) if isinstance(value, Tracer) else jnp.asarray(np.asarray(value).astype(dtype))


_DTYPES = ("dtype", "param_dtype", "preferred_element_type")


def _set_dtypes(module: Any, dtype: Any, write: Callable[[Any, str, Any], None]) -> None:
    for name in _DTYPES:
        value = getattr(module, name, None)
        if value is not None and _is_float(value):
            write(module, name, jnp.dtype(dtype))


def _is_float(value: Any) -> bool:
    try:
        return bool(jnp.issubdtype(jnp.dtype(value), jnp.floating))
    except TypeError:
        return False


def _casting(module: nn.Module, dtype: Any) -> nn.Module:
    """Return the module with an `apply` under which every module's own dtypes are replaced before it runs."""

    def overrule(run: Any, args: Any, kwargs: Any, context: Any) -> Any:
        held = (getattr(context.module, part.name, None) for part in dataclasses.fields(context.module))
        for module in (context.module, *(part for part in held if isinstance(part, nn.Module) and part.scope)):
            _set_dtypes(module, dtype, object.__setattr__)  # an RNN's cell makes its first state before it is called
        return run(*args, **kwargs)

    def apply(*args: Any, **kwargs: Any) -> Any:
        with nn.intercept_methods(overrule):
            return module.apply(*args, **kwargs)

    copy = module.clone()
    object.__setattr__(copy, "apply", apply)
    return copy


Change = Callable[[str, Any], Any]


def _replaced(model: Any, change: Change) -> Any:
    """Return a copy of the model with `change(path, array)` in place of every array."""
    if isinstance(model, nnx.Module):
        return _replaced_nnx(model, change)
    if isinstance(model, Linen):
        return dataclasses.replace(model, variables=_replaced_variables(model.variables, change))
    if isinstance(model, Function):
        return dataclasses.replace(model, params=_replaced_tree(model.params, change))
    assert is_equinox(model)
    return _replaced_tree(model, change)


def _replaced_nnx(model: nnx.Module, change: Change) -> nnx.Module:
    copy = _clone(model)
    for path, module in nnx_modules(copy):
        for name, value in list(members(module)):
            if is_array(value):
                new = change(f"{path}.{name}" if path else str(name), array_of(value))
                if isinstance(value, nnx.Variable):
                    value.set_value(new)
                else:
                    setattr(module, name, new)
    return copy


def _clone(model: nnx.Module) -> nnx.Module:
    """Return a copy whose members stand in the same order: `nnx.clone` sorts them by name."""
    copy = nnx.clone(model)
    originals = dict(nnx_modules(model))
    for path, module in nnx_modules(copy):
        held = vars(module)
        ordered = {name: held[name] for name in vars(originals[path]) if name in held}
        held.clear()
        held.update(ordered)
    return copy


def _replaced_variables(variables: Mapping[str, Any], change: Change) -> Any:
    names = {place: key for key, place in places(variables).items()}

    def replace(path: tuple[Any, ...], value: Any) -> Any:
        collection, *rest = (str(getattr(key, "key", key)) for key in path)
        key = names.get((collection, tuple(rest)))
        return value if key is None else change(key, value)

    return jax.tree_util.tree_map_with_path(replace, nn.meta.unbox(dict(variables)))


def _replaced_tree(tree: Any, change: Change) -> Any:
    known = set(leaves(tree)) if is_equinox(tree) else None

    def replace(path: tuple[Any, ...], value: Any) -> Any:
        key = key_of(path)
        return change(key, value) if is_leaf_array(value) and (known is None or key in known) else value

    return jax.tree_util.tree_map_with_path(replace, tree)
