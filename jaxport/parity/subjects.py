"""A JAX model of any library, run as a pure function of its arrays, with a recorder at the calls of its modules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
from flax import nnx

from jaxport.errors import UsageError

from .foreign import Function, Linen
from .recorder import Extras, Recorder, Traced
from .seen import Key

Calls = Mapping[Key, Traced]
_TRAIN = ("train", "training", "is_training")
_EVAL = ("deterministic", "inference", "eval", "eval_mode")


class Ran:
    """What a pass gave: results, recorded calls, buffers afterwards, the order of the calls."""

    def __init__(
        self, output: Any, recorder: Recorder, calls: Mapping[Key, Traced], buffers: Mapping[str, Any]
    ) -> None:
        self.output, self.calls, self.buffers = output, dict(calls), dict(buffers)
        self.order = recorder.order


def key_of(path: Sequence[Any]) -> str:
    """Return the dotted path of a leaf of a pytree, without the attribute in which a Variable has its array."""
    last: Any = path[-1] if path else None
    if isinstance(last, jax.tree_util.GetAttrKey) and last.name in ("value", "raw_value"):
        path = path[:-1]
    return ".".join(str(getattr(part, "key", getattr(part, "idx", getattr(part, "name", part)))) for part in path)


def mode_arguments(call: Callable[..., Any], training: bool) -> dict[str, Any]:
    """Return the arguments that say the mode, of those that a call has by their usual names."""
    names = inspect.signature(call).parameters
    found = {name: training for name in _TRAIN if name in names}
    return found | {name: not training for name in _EVAL if name in names}


@contextmanager
def patched(modules: Mapping[int, tuple[str, Any]], recorder: Recorder) -> Iterator[None]:
    """Hand every call of these module objects (by id: path and object) to the recorder."""
    classes: set[type] = {type(module) for _, module in modules.values() if callable(module)}
    active: set[int] = set()

    def wrapper(original: Any) -> Callable[..., Any]:
        def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
            bound = original.__get__(self, type(self))
            known = modules.get(id(self))
            # A class's call may call its parent's with the same object: that is no call of its own.
            if known is None or known[1] is not self or id(self) in active:
                return bound(*args, **kwargs)
            active.add(id(self))
            try:
                return recorder(known[0], self, bound, args, kwargs)
            finally:
                active.discard(id(self))

        return __call__

    owners = {next(base for base in cls.__mro__ if "__call__" in vars(base)) for cls in classes}
    originals = [(owner, vars(owner)["__call__"]) for owner in owners]
    try:
        for cls, original in originals:
            cls.__call__ = wrapper(original)
        yield
    finally:
        for cls, original in originals:
            cls.__call__ = original


class Subject:
    """A JAX model as a function of its arrays.

    Attributes:
        arrays: path → array, parameters and buffers.
        parameters: the paths among them that are trained.
        perturbs: whether something can be added to the results of its modules, for gradients of activations.
    """

    arrays: dict[str, Any]
    parameters: frozenset[str]
    perturbs = True

    def run(
        self,
        arrays: Mapping[str, Any],
        inputs: Sequence[Any],
        training: bool,
        watch: Collection[str],
        extras: Extras,
        sink: Callable[[Key, Traced], None] | None = None,
    ) -> Ran:
        """Run one pass with these arrays in place of the model's."""
        raise NotImplementedError


class NnxSubject(Subject):
    """A Flax NNX module."""

    def __init__(self, model: nnx.Module) -> None:
        self.model = model
        self.graph, self.rng, params, rest = nnx.split(model, nnx.RngState, nnx.Param, ...)
        self.trees = params, rest
        flat = [jax.tree_util.tree_flatten_with_path(tree)[0] for tree in self.trees]
        self.parameters = frozenset(key_of(path) for path, _ in flat[0])
        self.arrays = {key_of(path): leaf for part in flat for path, leaf in part}

    def run(self, arrays, inputs, training, watch, extras, sink=None) -> Ran:
        """Run one pass with these arrays in place of the model's."""
        trees = [jax.tree_util.tree_map_with_path(lambda path, _: arrays[key_of(path)], tree) for tree in self.trees]
        model = nnx.merge(self.graph, self.rng, *trees, copy=True)
        (model.train if training else model.eval)()
        recorder = Recorder(watch, extras, training, sink)
        modules = {id(m): (".".join(map(str, path)), m) for path, m in nnx.iter_modules(model) if path}
        with patched(modules, recorder):
            output = model(*inputs, **mode_arguments(type(model).__call__, training))  # type: ignore[operator]
        rest = nnx.state(model, nnx.Not(nnx.Any(nnx.RngState, nnx.Param)))
        after = {key_of(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(rest)[0]}
        return Ran(output, recorder, recorder.calls, {k: v for k, v in after.items() if k in self.arrays})


class LinenSubject(Subject):
    """A Flax Linen module with its variables."""

    def __init__(self, model: Linen) -> None:
        self.model = model
        self.trees = dict(model.variables)
        flat = {name: jax.tree_util.tree_flatten_with_path(tree)[0] for name, tree in self.trees.items()}
        self.parameters = frozenset(key_of(path) for path, _ in flat.get("params", ()))
        self.arrays = {key_of(path): leaf for part in flat.values() for path, leaf in part}

    def run(self, arrays, inputs, training, watch, extras, sink=None) -> Ran:
        """Run one pass with these arrays in place of the model's."""
        import flax.linen

        recorder = Recorder(watch, extras, training, sink)

        def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            path = ".".join(context.module.path)
            if context.method_name != "__call__" or not path:
                return call(*args, **kwargs)
            return recorder(path, context.module, call, args, kwargs)

        variables = {
            name: jax.tree_util.tree_map_with_path(lambda path, _: arrays[key_of(path)], tree)
            for name, tree in self.trees.items()
        }
        module, given = self.model.module, self.model.training if training else self.model.evaluating
        kwargs = mode_arguments(type(module).__call__, training) | dict(given)
        mutable = [name for name in variables if name != "params"] if training else False
        with flax.linen.intercept_methods(intercept):
            result = module.apply(variables, *inputs, mutable=mutable, rngs={"dropout": jax.random.key(0)}, **kwargs)
        output, changed = result if mutable is not False else (result, {})
        buffers = {
            key_of(path): leaf
            for name, tree in (variables | dict(changed)).items()
            if name != "params"
            for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
        }
        return Ran(output, recorder, recorder.calls, buffers)


def subject(model: Any) -> Subject:
    """Return the model as a function of its arrays.

    Raises:
        UsageError: it is none that is known.
    """
    from .subjects_pure import EquinoxSubject, FunctionSubject

    if isinstance(model, nnx.Module):
        return NnxSubject(model)
    if isinstance(model, Linen):
        return LinenSubject(model)
    if isinstance(model, Function):
        return FunctionSubject(model)
    if type(model).__module__.startswith("flax.linen") or any(
        base.__module__.startswith("flax.linen") for base in type(model).__mro__
    ):
        raise UsageError("jax_model: a Linen module needs its variables: parity.Linen(module, variables)")
    if any(base.__module__.startswith("equinox") for base in type(model).__mro__):
        return EquinoxSubject(model)
    if callable(model):
        raise UsageError("jax_model: a function needs its parameters: parity.Function(apply, params)")
    raise UsageError(
        f"jax_model: a flax.nnx.Module, an equinox.Module, parity.Linen or parity.Function is needed, "
        f"got {type(model).__name__}"
    )
