"""Equinox modules and pure functions as subjects of a comparison."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import jax
import jax.numpy as jnp

from .describe_tree import key_of
from .foreign import Function
from .recorder import Extras, Recorder, Traced
from .seen import Key
from .subjects import Ran, Subject, mode_arguments, patched


class EquinoxSubject(Subject):
    """An Equinox module, of one example as is usual there: it is mapped over the batch, unless it takes batches."""

    def __init__(self, model: Any) -> None:
        self.model = model
        flat, _ = jax.tree_util.tree_flatten_with_path(model)
        self.arrays = {key_of(path): leaf for path, leaf in flat if isinstance(leaf, jax.Array)}
        self.parameters = frozenset(k for k, v in self.arrays.items() if jnp.issubdtype(v.dtype, jnp.inexact))

    def run(self, arrays, inputs, training, watch, extras, sink=None) -> Ran:
        """Run one pass with these arrays in place of the model's."""
        import equinox

        model = jax.tree_util.tree_map_with_path(
            lambda path, leaf: arrays[key_of(path)] if isinstance(leaf, jax.Array) else leaf, self.model
        )
        model = equinox.nn.inference_mode(model, value=not training)
        modules = {id(m): (path, m) for path, m in _equinox_modules(model, "") if path}
        kwargs = {"key": jax.random.key(0)} if "key" in inspect.signature(type(model).__call__).parameters else {}
        kept: list[Recorder] = []

        def single(inputs: Sequence[Any], extras: Extras) -> tuple[Any, dict[Key, Traced]]:
            recorder = Recorder(watch, extras, training)
            kept[:] = [recorder]
            with patched(modules, recorder):
                output = model(*inputs, **kwargs)
            return output, recorder.calls

        output, calls = jax.vmap(single)(list(inputs), extras)
        if sink is not None:
            for key in kept[0].order:
                sink(key, calls[key])
        return Ran(output, kept[0], calls, {})


def _equinox_modules(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the modules of a model with their paths."""

    def below(parts: Any) -> Iterator[tuple[str, Any]]:
        for name, part in parts:
            yield from _equinox_modules(part, f"{path}.{name}" if path else str(name))

    if isinstance(value, list | tuple):
        yield from below(enumerate(value))
    elif isinstance(value, dict):
        yield from below(value.items())
    elif is_dataclass(value) and callable(value):
        yield path, value
        yield from below((f.name, getattr(value, f.name, None)) for f in fields(value))


class FunctionSubject(Subject):
    """A pure function with its parameters; what it returns beside its output are intermediate values by name."""

    perturbs = False

    def __init__(self, model: Function) -> None:
        self.model = model
        flat, _ = jax.tree_util.tree_flatten_with_path(model.params)
        self.arrays = {key_of(path): jnp.asarray(leaf) for path, leaf in flat}
        self.parameters = frozenset(self.arrays)

    def run(self, arrays, inputs, training, watch, extras, sink=None) -> Ran:
        """Run one pass with these arrays in place of the model's."""
        params = jax.tree_util.tree_map_with_path(lambda path, _: arrays[key_of(path)], self.model.params)
        apply = (self.model.training if training else None) or self.model.apply
        output = apply(params, *inputs, **mode_arguments(apply, training))
        inner: Mapping[str, Any] = {}
        if isinstance(output, tuple) and len(output) == 2 and isinstance(output[1], Mapping):
            output, inner = output
        recorder = Recorder(watch, extras, training, sink)
        for name, value in inner.items():
            if name in watch:
                recorder.order.append((name, 0))
                recorder.calls[name, 0] = Traced([], [value])
        return Ran(output, recorder, recorder.calls, {})
