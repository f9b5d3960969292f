"""Recorder: what happens at each call of a module of a JAX model that is watched, the same for every library."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxport.errors import UsageError

from .seen import Key
from .views import find_axes


class Traced(NamedTuple):
    """A call's arrays, as tracers or arrays: its arguments and its results."""

    inputs: list[Any]
    outputs: list[Any]


class Extras(NamedTuple):
    """What a pass is given beside the inputs, all of it arrays.

    Attributes:
        perturb: call → zeros that are added to its results; gradients of them are those of the activations.
        reference: call → (arguments, results) that it gets and gives in place of its own: each layer alone.
        masks: keep masks of the dropouts, in the order of their calls, in PyTorch's axes.
    """

    perturb: dict[Key, list[Any]]
    reference: dict[Key, tuple[list[Any], list[Any]]]
    masks: list[Any]


def is_value(leaf: Any) -> bool:
    """Whether a leaf of arguments or results is an array of numbers (no mask, no random key)."""
    if not isinstance(leaf, jax.Array | np.ndarray):
        return False
    return not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) and leaf.dtype != bool


def values_of(tree: Any) -> list[Any]:
    """Return the arrays of numbers among arguments or results, in their order."""
    return [leaf for leaf in jax.tree.leaves(tree) if is_value(leaf)]


def with_values(tree: Any, values: Sequence[Any]) -> Any:
    """Return the tree with its first arrays of numbers replaced; equal arguments (q, k and v) stay equal."""
    leaves, structure = jax.tree.flatten(tree)
    rest, seen = iter(values), {}
    for i, leaf in enumerate(leaves):
        if is_value(leaf):
            if id(leaf) not in seen or len(values) > 1:
                seen[id(leaf)] = next(rest, leaf)
            leaves[i] = seen[id(leaf)]
    return jax.tree.unflatten(structure, leaves)


@dataclass
class Recorder:
    """Handles the calls of one pass.

    Attributes:
        watch: paths of the modules whose calls are recorded.
        extras: what is added or put in.
        training: whether dropouts draw.
        sink: gets each call as soon as it is over, instead of `calls` (outside jit, for models too large to keep).
        calls: call → its arrays.
        order: the calls, in the order in which they began.
    """

    watch: Collection[str]
    extras: Extras
    training: bool
    sink: Callable[[Key, Traced], None] | None = None
    calls: dict[Key, Traced] = field(default_factory=dict)
    order: list[Key] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    dropped: int = 0

    def __call__(self, path: str, module: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run a module's call and return what it gives to its caller."""
        if rate := dropout_rate(module, args, kwargs, self.training):
            return self._replay(path, args, kwargs, rate)
        if path not in self.watch:
            return call(*args, **kwargs)
        key = (path, self.counts.get(path, 0))
        self.counts[path] = key[1] + 1
        self.order.append(key)
        arrived = values_of((args, kwargs))
        reference = self.extras.reference.get(key)
        if reference and reference[0]:
            args, kwargs = with_values((args, kwargs), reference[0])
        output = call(*args, **kwargs)
        outputs = values_of(output)
        if zeros := self.extras.perturb.get(key):
            outputs = [out + zero for out, zero in zip(outputs, zeros, strict=True)]
            output = with_values(output, outputs)
        self._keep(key, Traced(arrived, outputs))
        if reference and len(reference[1]) == len(outputs):
            output = with_values(output, reference[1])
        return output

    def _keep(self, key: Key, call: Traced) -> None:
        if self.sink is not None:
            self.sink(key, call)
        else:
            self.calls[key] = call

    def _replay(self, path: str, args: Any, kwargs: Any, rate: float) -> Any:
        """Return input · mask / (1 - p) with PyTorch's mask of the same dropout."""
        x = values_of((args, kwargs))[0]
        number, self.dropped = self.dropped, self.dropped + 1
        if number >= len(self.extras.masks):
            raise UsageError(
                f"dropout: {path or 'the model'} draws, and PyTorch's model has no dropout number {number}"
            )
        mask = self.extras.masks[number]
        axes = find_axes(x.shape, mask.shape)
        if axes is None:
            shapes = f"{x.shape}, PyTorch's dropout number {number} for {mask.shape}"
            raise UsageError(f"dropout: {path} draws for {shapes}")
        keep = jnp.transpose(jnp.asarray(mask), axes).astype(x.dtype)
        return x * (keep / (1.0 - rate)) if rate < 1.0 else jnp.zeros_like(x)


def dropout_rate(module: Any, args: Any, kwargs: Any, training: bool) -> float:
    """Return the rate of a dropout layer that draws in this call, by its class's name; 0 for all else."""
    if not training or not type(module).__name__.startswith("Dropout"):
        return 0.0
    rate = getattr(module, "rate", getattr(module, "p", 0.0))
    still = getattr(module, "deterministic", None) or getattr(module, "inference", None)
    given = [kwargs.get(name) for name in ("deterministic", "inference")]
    if any(given) or (still and not any(flag is False for flag in given)):
        return 0.0
    return float(rate) if isinstance(rate, float | int) else 0.0
