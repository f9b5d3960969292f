"""What is observed of either framework, in the same form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .tolerances import ROUNDING_DRAWS

Arrays = dict[str, np.ndarray]


@dataclass
class Observation:
    """One forward and backward pass.

    Attributes:
        forward: module path → its output; "" is the model's.
        loss: of the output against the targets.
        grad: parameter key, and "input" → gradient of the loss.
        cotangent: the same → gradient of Σ cotangent · output, which hides less than that of a loss.
        buffers: key → value after the pass.
    """

    forward: Arrays = field(default_factory=dict)
    loss: Arrays = field(default_factory=dict)
    grad: Arrays = field(default_factory=dict)
    cotangent: Arrays = field(default_factory=dict)
    buffers: Arrays = field(default_factory=dict)


def named_outputs(path: str, output: Any) -> dict[str, Any]:
    """Return path → array of an output; the parts of a tuple (of a recurrent layer) are path, path[1], path[2]…"""
    return {f"{path}[{i}]" if i else path: part for i, part in enumerate(_parts(output))}


def _parts(output: Any) -> Iterator[Any]:
    if not isinstance(output, tuple):
        yield output
        return
    for part in output:
        yield from _parts(part)


def nudge(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return floats each one unit in the last place up, down or as it was, at random; integers stay."""
    if array.dtype.kind != "f":
        return array
    towards = rng.choice(np.array([-np.inf, np.nan, np.inf], array.dtype), array.shape)
    return np.where(np.isnan(towards), array, np.nextafter(array, towards))


class Snapshot(NamedTuple):
    """A training state: parameters (and buffers) by key, and the optimiser's tensors by name and key."""

    steps: int
    params: Arrays
    optimizer: dict[str, Arrays]

    def cast(self, dtype: np.dtype) -> Snapshot:
        """Return the state rounded to `dtype`."""

        def convert(arrays: Arrays) -> Arrays:
            return {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in arrays.items()}

        return self._map(convert)

    def nudged(self, rng: np.random.Generator) -> Snapshot:
        """Return the state with the last bit of its numbers changed at random, but for the step counts."""
        nudged = self._map(lambda arrays: {key: nudge(value, rng) for key, value in arrays.items()})
        kept = {name: arrays for name, arrays in self.optimizer.items() if name == "step"}
        return nudged._replace(optimizer={**nudged.optimizer, **kept})

    def _map(self, function: Callable[[Arrays], Arrays]) -> Snapshot:
        return Snapshot(self.steps, function(self.params), {n: function(a) for n, a in self.optimizer.items()})


class Example(NamedTuple):
    """A batch as both frameworks get it: inputs, targets, a cotangent of the output, and dropout masks."""

    x: np.ndarray
    y: np.ndarray
    cotangent: np.ndarray
    masks: tuple[np.ndarray, ...]

    def cast(self, dtype: np.dtype) -> Example:
        """Return the example rounded to `dtype` (class numbers stay as they are)."""
        x, y, cotangent = (a.astype(dtype) if a.dtype.kind == "f" else a for a in self[:3])
        return Example(x, y, cotangent, self.masks)

    def nudged(self, rng: np.random.Generator) -> Example:
        """Return the example with the last bit of its inputs and measured targets changed at random."""
        x, y = nudge(self.x, rng), nudge(self.y, rng)
        return self._replace(x=x, y=np.where(self.y == np.round(self.y), self.y, y))

    def shuffled(self, rng: np.random.Generator) -> Example:
        """Return the same examples in another order: a step on them is the same, and its sums round differently."""
        order = rng.permutation(len(self.x))
        x, y, cotangent, *masks = (array[order] for array in (*self[:3], *self.masks))
        return Example(x, y, cotangent, tuple(masks))


def rounding_draws(state: Snapshot, example: Example) -> list[tuple[Snapshot, Example]]:
    """Return a state and an example as they are, and ROUNDING_DRAWS times with every last bit changed at random."""
    rngs = [np.random.default_rng(seed) for seed in range(ROUNDING_DRAWS)]
    return [(state, example), *((state.nudged(rng), example.nudged(rng)) for rng in rngs)]
