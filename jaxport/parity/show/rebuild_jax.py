"""How a script makes a JAX layer again: of NNX, Linen or Equinox, or a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

import numpy as np

from jaxport.errors import UsageError
from jaxport.parity.foreign import Function, Linen

from .calls import Source, arguments, same_settings
from .rebuild import Made, Recipe, make, pickled, recipe

_OPTIONAL = ("_init", "_metadata", "rngs", "key", "device", "dtype")


def jax_recipe(layer: Any) -> Recipe:
    """Return how a JAX layer of any library is made; the code returns a function of its inputs."""
    from flax import nnx

    if isinstance(layer, Linen):
        return _linen(layer)
    if isinstance(layer, Function):
        return _function(layer)
    if isinstance(layer, nnx.Module):
        return _nnx(layer)
    inner = getattr(layer, "module", None)
    if isinstance(inner, nnx.Module):
        return _nnx(inner)
    if any(base.__module__.startswith("equinox") for base in type(layer).__mro__):
        return _equinox(layer)
    raise UsageError(
        f"jax_layer: a flax.nnx.Module, an equinox.Module, parity.Linen or parity.Function is needed, "
        f"got {type(layer).__name__}"
    )


def _nnx(module: Any) -> Recipe:
    from flax import nnx

    def flat(of: Any) -> dict[str, Any]:
        state = nnx.to_flat_state(nnx.state(of, nnx.Not(nnx.RngState)))
        return {".".join(map(str, path)): variable[...] for path, variable in state}

    def alike(made: Any) -> bool:
        old, new = ({key: value.shape for key, value in flat(of).items()} for of in (module, made))
        parts = [list(nnx.iter_modules(of)) for of in (module, made)]
        return old == new and all(
            a == b and type(x) is type(y) and same_settings(vars(x), vars(y))
            for (a, x), (b, y) in zip(*parts, strict=True)
        )

    after = (
        "for path, variable in flax.nnx.to_flat_state(flax.nnx.state(layer, flax.nnx.Not(flax.nnx.RngState))):\n"
        '    variable[...] = arrays[".".join(map(str, path))]\n'
        "    flax.nnx.update(layer, flax.nnx.from_flat_state([(path, variable)]))\n"
        "return layer"
    )
    source = Source(_nnx_call, {"flax.nnx"})
    made = make(lambda: source.value(module), source, alike, module, "jax_layer")
    return recipe(type(module), made, after, _stored(flat(module)), source)


def _nnx_call(source: Source, value: Any) -> str | None:
    from flax import nnx

    if isinstance(value, nnx.List):
        return source._sequence(list(value))
    if not isinstance(value, nnx.Module):
        return None
    cls, layer = type(value), cast("Any", value)
    held = {name: part for name, part in vars(value).items() if not isinstance(part, nnx.Variable)}
    if cls is nnx.Sequential:
        return f"{source.named(cls)}({', '.join(source.value(part) for part in layer.layers)})"

    def skip(name: str) -> bool:
        return name.endswith("_init") or (name not in held and (name.endswith(_OPTIONAL) or name == "keep_rngs"))

    if cls is nnx.GroupNorm and (array := layer.scale if layer.scale is not None else layer.bias) is not None:
        held |= {"num_features": array.shape[-1], "group_size": None}
    return source.call(cls, held, _randomness(cls, held, "rngs", "flax.nnx.Rngs(0)"), lambda n: n == "rngs" or skip(n))


def _randomness(cls: type, held: Mapping[str, Any], name: str, value: str) -> str:
    """Return the argument that says where random numbers come from, if it must be given or was."""
    given = arguments(cls).get(name)
    if given is None or (given.default is not given.empty and held.get(name) is None):
        return ""
    return f"{name}={value}"


def _equinox(module: Any) -> Recipe:
    import jax

    leaves = [leaf for leaf in jax.tree.leaves(module) if isinstance(leaf, jax.Array)]
    after = (
        "leaves, tree = jax.tree.flatten(layer)\n"
        "kept = iter(arrays[str(i)] for i in range(len(arrays)))\n"
        "layer = jax.tree.unflatten(tree, [next(kept) if isinstance(leaf, jax.Array) else leaf for leaf in leaves])\n"
        "return jax.vmap(layer)  # as is usual there, it takes one example"
    )

    def call(source: Source, value: Any) -> str | None:
        import equinox

        if not isinstance(value, equinox.Module):
            return None
        held = {f.name: getattr(value, f.name) for f in fields(value) if hasattr(value, f.name)}
        source.modules.add("equinox")
        key = _randomness(type(value), held, "key", "jax.random.key(0)")
        return source.call(type(value), held, key, lambda name: name in ("key", "dtype"))

    def alike(made: Any) -> bool:
        old, new = ([getattr(leaf, "shape", leaf) for leaf in jax.tree.leaves(of)] for of in (module, made))
        return jax.tree.structure(module) == jax.tree.structure(made) and old == new

    source = Source(call)
    made = make(lambda: source.value(module), source, alike, module, "jax_layer")
    return recipe(type(module), made, after, _stored({str(i): leaf for i, leaf in enumerate(leaves)}), source)


def _linen(layer: Linen) -> Recipe:
    import flax.linen
    from flax.traverse_util import flatten_dict

    def call(source: Source, value: Any) -> str | None:
        if not isinstance(value, flax.linen.Module):
            return None
        held = {f.name: getattr(value, f.name) for f in fields(value)}
        return source.call(type(value), held, skip=lambda name: name in ("parent", "name"))

    source = Source(call, {"flax.linen", "flax.traverse_util"})
    module = layer.module
    given = source.value(dict(layer.evaluating))
    after = (
        'variables = flax.traverse_util.unflatten_dict(arrays, sep="/")\n'
        f"return lambda *inputs: layer.apply(variables, *inputs, **{given})"
    )
    made = make(
        lambda: source.value(module), source, lambda made: made == module.clone(parent=None), module, "jax_layer"
    )
    return recipe(type(module), made, after, _stored(flatten_dict(dict(layer.variables), sep="/")), source)


def _function(layer: Function) -> Recipe:
    import jax

    leaves, _ = jax.tree.flatten(layer.params)
    source = Source(lambda source, value: None)
    made = Made(source.named(layer.apply), None)
    tree = pickled(jax.tree.map(lambda leaf: 0, layer.params), "jax_layer")
    after = (
        'params = jax.tree.unflatten(jax.tree.structure(pickle.loads(arrays.pop("tree").tobytes())),\n'
        "                            [arrays[str(i)] for i in range(len(arrays))])\n"
        "return lambda *inputs: layer(params, *inputs)"
    )
    arrays = _stored({str(i): leaf for i, leaf in enumerate(leaves)}) | {"tree": tree}
    return recipe(layer.apply, made, after, arrays, source)


def _stored(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of the JAX side; what NumPy does not know becomes float32, with its dtype behind the name."""
    found = {}
    for key, value in arrays.items():
        array = np.asarray(value)
        if array.dtype.kind == "V":
            found[f"{key}@{array.dtype.name}"] = array.astype(np.float32)
        else:
            found[key] = array
    return found
