"""How a script makes a layer again: by the call of its class, checked here, or else from a pickle."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from textwrap import indent
from typing import Any

import numpy as np

from jaxport.errors import UsageError
from jaxport.parity.foreign import Function, Linen

from .calls import Source, arguments, plain, same_settings


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


_OPTIONAL = ("_init", "_metadata", "rngs", "key", "device", "dtype")


def torch_recipe(layer: Any, call: str = "") -> Recipe:
    """Return how a `torch.nn.Module` is made."""
    import torch

    module = getattr(layer, "module", layer)
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"torch_layer: a torch.nn.Module is needed, got {type(module).__name__}")
    arrays = {key: stored(value) for key, value in module.state_dict().items()}
    after = (
        "layer = layer.to(torch.float64)\n"
        "layer.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()})\n"
        f"return layer.train({module.training})"
    )
    source = Source(_torch_call)
    made = _made(lambda: source.value(module), source, lambda made: _alike_torch(module, made), module, "torch_layer")
    return _recipe(type(module), made, after, arrays, source)


def _torch_call(source: Source, value: Any) -> str | None:
    import torch

    from jaxport.parity.describe_torch import settings_of

    if not isinstance(value, torch.nn.Module):
        return None
    cls = type(value)
    if cls in (torch.nn.Sequential, torch.nn.ModuleList):
        parts = ", ".join(source.value(part) for part in value.children())
        return f"{source.named(cls)}({parts})" if cls is torch.nn.Sequential else f"{source.named(cls)}([{parts}])"
    held = {name: getattr(value, name) for name in vars(value) if plain(getattr(value, name))}
    if isinstance(value, torch.nn.RNNBase):
        # Its arguments are its parent's; all of them are kept.
        kept = settings_of(value) | ({"nonlinearity": value.nonlinearity} if cls is torch.nn.RNN else {})
        unlike = [(k, v) for k, v in kept.items() if k != "mode" and (k, v) != ("proj_size", 0)]
        written = ", ".join(f"{k}={source.value(v)}" for k, v in unlike)
        return f"{source.named(cls)}({written})"
    held |= dict(value._modules) | settings_of(value)
    return source.call(cls, held, skip=lambda name: name in ("device", "dtype", "_weight", "_freeze"))


def _alike_torch(module: Any, made: Any) -> bool:
    """Whether what was made has the parameters and the settings of the module, at every depth."""
    old, new = ({name: tuple(v.shape) for name, v in m.state_dict().items()} for m in (module, made))
    pairs = zip(module.named_modules(), made.named_modules(), strict=True)
    return old == new and all(
        a == b and type(x) is type(y) and same_settings(vars(x), vars(y), ("training", "_is_full_backward_hook"))
        for (a, x), (b, y) in pairs
    )


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
    made = _made(lambda: source.value(module), source, alike, module, "jax_layer")
    return _recipe(type(module), made, after, _stored(flat(module)), source)


def _nnx_call(source: Source, value: Any) -> str | None:
    from flax import nnx

    if isinstance(value, nnx.List):
        return source._sequence(list(value))
    if not isinstance(value, nnx.Module):
        return None
    cls = type(value)
    held = {name: part for name, part in vars(value).items() if not isinstance(part, nnx.Variable)}
    if cls is nnx.Sequential:
        return f"{source.named(cls)}({', '.join(source.value(part) for part in value.layers)})"

    def skip(name: str) -> bool:
        return name not in held and (name.endswith(_OPTIONAL) or name == "keep_rngs") or name.endswith("_init")

    if cls is nnx.GroupNorm and (array := value.scale if value.scale is not None else value.bias) is not None:
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
    made = _made(lambda: source.value(module), source, alike, module, "jax_layer")
    return _recipe(type(module), made, after, _stored({str(i): leaf for i, leaf in enumerate(leaves)}), source)


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
    made = _made(
        lambda: source.value(module), source, lambda made: made == module.clone(parent=None), module, "jax_layer"
    )
    return _recipe(type(module), made, after, _stored(flatten_dict(dict(layer.variables), sep="/")), source)


def _function(layer: Function) -> Recipe:
    import jax

    leaves, _ = jax.tree.flatten(layer.params)
    source = Source(lambda source, value: None)
    made = _Made(source.named(layer.apply), None)
    tree = _pickled(jax.tree.map(lambda leaf: 0, layer.params), "jax_layer")
    after = (
        'params = jax.tree.unflatten(jax.tree.structure(pickle.loads(arrays.pop("tree").tobytes())),\n'
        "                            [arrays[str(i)] for i in range(len(arrays))])\n"
        "return lambda *inputs: layer(params, *inputs)"
    )
    arrays = _stored({str(i): leaf for i, leaf in enumerate(leaves)}) | {"tree": tree}
    return _recipe(layer.apply, made, after, arrays, source)


@dataclass
class _Made:
    code: str
    pickle: np.ndarray | None


def _made(write: Callable[[], str], source: Source, alike: Callable[[Any], bool], module: Any, name: str) -> _Made:
    """Return the call that makes a layer if it does make one alike, else the layer's pickle."""
    source.named(type(module))
    try:
        code = write()
        if alike(_evaluated(code, source.modules)):
            return _Made(code, None)
    except UsageError:
        raise
    except Exception:  # whatever the layer's constructor raises: it is not to be called so
        pass
    return _Made("", _pickled(module, name))


def _evaluated(code: str, modules: set[str]) -> Any:
    """Return what the source makes here."""
    from importlib import import_module

    space = {name.split(".")[0]: import_module(name.split(".")[0]) for name in {*modules, "jax", "torch"}}
    for name in modules:
        import_module(name)
    return eval(code, space)


def _pickled(value: Any, name: str) -> np.ndarray:
    try:
        return np.frombuffer(pickle.dumps(value), np.uint8)
    except Exception as error:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise UsageError(f"{name}: {kind} can neither be called again nor pickled: {error}") from error


def _recipe(made_of: Any, made: _Made, after: str, arrays: dict[str, np.ndarray], source: Source) -> Recipe:
    if made.pickle is None:
        first = f"layer = {made.code}"
    else:
        first = (
            f"# The call that made this {made_of.__name__} could not be told: it is a pickle, whose classes are imported.\n"
            'layer = pickle.loads(arrays.pop("pickle").tobytes())'
        )
        arrays = arrays | {"pickle": made.pickle}
    kind = f"{made_of.__module__}.{made_of.__qualname__}"
    return Recipe(kind, indent(f"{first}\n{after}", "    "), arrays, source.modules)


def stored(value: Any) -> np.ndarray:
    """Return a tensor's values as NumPy can store them: half precisions become float32, which holds them."""
    array = value.detach().cpu()
    return (array.float() if str(array.dtype) in ("torch.bfloat16", "torch.float16") else array).numpy().copy()


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
