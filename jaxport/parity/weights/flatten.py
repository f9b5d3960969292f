"""Flattened pictures: PyTorch's order is (C, H, W), that of a channels-last model (H, W, C)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from jaxport.errors import UsageError

from .unit import Arrays, Rule, Shape

if TYPE_CHECKING:
    from .plan import Entry
    from .unit import TorchUnit


def flattened(entry: Entry, unit: TorchUnit, shuffled: Mapping[str, Mapping[str, Shape]]) -> Entry:
    """Return the entry with PyTorch's features in JAX's order, if its layer's input or output is a flattened picture.

    A linear layer's inputs are the columns of its weight, its outputs the rows; of a normalisation all arrays have the
    features as their only axis.
    """
    if unit.path in shuffled["in"] and not (unit.family == "linear" and entry.move.names == ("bias",)):
        entry = _permuted(entry, unit.path, shuffled["in"][unit.path], -1)
    if unit.path in shuffled["out"]:
        entry = _permuted(entry, unit.path, shuffled["out"][unit.path], 0)
    return entry


def _permuted(entry: Entry, path: str, shape: Shape, axis: int) -> Entry:
    rule = entry.move
    sizes = {torch_shape[axis] for torch_shape in rule.shapes}
    if sizes != {prod(shape)}:
        raise UsageError(f"{path!r}: {tuple(shape)} has {prod(shape)} features, and {entry.torch[0]} {sorted(sizes)}")
    order = np.arange(prod(shape)).reshape(shape)
    to_last = np.moveaxis(order, 0, -1).reshape(-1)
    back = np.argsort(to_last)

    def to_jax(arrays: Arrays) -> Arrays:
        return rule.to_jax(tuple(np.take(array, to_last, axis) for array in arrays))

    def to_torch(arrays: Arrays) -> Arrays:
        return tuple(np.take(array, back, axis) for array in rule.to_torch(arrays))

    text = f"{rule.text}, {'rows' if axis == 0 else 'columns'} from {tuple(shape)} to channels last"
    move = Rule(rule.keys, rule.names, rule.shapes, to_jax, to_torch, text)
    return replace(entry, text=text, move=move)
