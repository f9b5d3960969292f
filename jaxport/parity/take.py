"""Taker: finds the unit that a map names, and takes it from those that the other rules align."""

from __future__ import annotations

from typing import Any

from .layer import Layer, Layers
from .weights.rules import array_units as jax_arrays
from .weights.rules import plain_unit
from .weights.torch_units import array_units as torch_arrays
from .weights.unit import JaxUnit, Slot, TorchUnit


class Taker:
    """The units of two models, from which those that are named are taken."""

    def __init__(self, ours: list[JaxUnit], theirs: list[TorchUnit], jax: Layers, torch: Layers) -> None:
        self.jax_left, self.torch_left = list(ours), list(theirs)
        self._jax, self._torch = jax, torch
        self.dropped: list[str] = []
        self._kept: dict[str, TorchUnit] = {}

    def is_container(self, jax_path: str, torch_path: str) -> bool:
        """Say whether both paths are of modules above units: then names below them are to be compared, as renamed."""
        units = {unit.place for unit in self.jax_left} | {unit.path for unit in self.jax_left}
        ours = jax_path not in units and jax_path in self._jax and not self._jax[jax_path].arrays
        theirs = torch_path in self._torch and not self._torch[torch_path].arrays
        return ours and theirs and torch_path not in {unit.path for unit in self.torch_left}

    def drop(self, path: str) -> None:
        """Take everything at or below a JAX path."""
        for unit in list(self.jax_left):
            if any(_at(key, path) for key in unit.keys) and not all(_at(key, path) for key in unit.keys):
                self._split_jax(unit)
        gone = [unit for unit in self.jax_left if all(_at(key, path) for key in unit.keys)]
        self.dropped += [key for unit in gone for key in unit.keys]
        self.jax_left = [unit for unit in self.jax_left if unit not in gone]

    def jax(self, path: str) -> JaxUnit | None:
        """Take the unit at a JAX path: a layer, a part of one, or an array; None if there is none."""
        for unit in self.jax_left:
            if path in (unit.path, unit.place):
                self.jax_left.remove(unit)
                return unit
        for unit in self.jax_left:
            if path in {part.path for part in _all_parts(unit)} or path in unit.keys:
                self._split_jax(unit)
                return self.jax(path)
        layer = self._jax.get(path)
        return None if layer is None else self._user_layer(layer)

    def _user_layer(self, layer: Layer) -> JaxUnit | None:
        """Take all arrays of a user's own layer as one unit, with PyTorch's usual names."""
        mine = [unit for unit in self.jax_left if unit.module == layer.path and unit.family == "array"]
        if not mine or len(mine) < len(layer.arrays):
            return None
        self.jax_left = [unit for unit in self.jax_left if unit not in mine]
        return plain_unit(layer)

    def _split_jax(self, unit: JaxUnit) -> None:
        index = self.jax_left.index(unit)
        owners = {key: layer for layer in self._jax.values() for name in layer.arrays for key in (layer.key(name),)}
        layers = {owners[key].path: owners[key] for key in unit.keys}
        keys = set(unit.keys)
        arrays = [part for layer in layers.values() for part in jax_arrays(layer) if part.path in keys]
        self.jax_left[index : index + 1] = unit.parts or arrays

    def torch(self, path: str, keep: bool = False) -> TorchUnit | None:
        """Take the unit at a PyTorch path; `keep` it for other lines that take other rows of it."""
        if path in self._kept:
            return self._kept[path] if keep else None
        unit = self._take_torch(path)
        if keep and unit is not None:
            self._kept[path] = unit
        return unit

    def _take_torch(self, path: str) -> TorchUnit | None:
        for unit in self.torch_left:
            if unit.path == path:
                self.torch_left.remove(unit)
                return unit
        for unit in self.torch_left:
            keys = {slot.key for slot in unit.slots.values()}
            if path in {part.path for part in _all_parts(unit)} or path in keys:
                index = self.torch_left.index(unit)
                arrays = [part for part in torch_arrays(self._torch[unit.module]) if part.path in keys]
                self.torch_left[index : index + 1] = unit.parts or arrays
                return self._take_torch(path)
        layer = self._torch.get(path)
        mine = [unit for unit in self.torch_left if unit.module == path and unit.family == "array"]
        if layer is None or not mine or len(mine) < len(layer.arrays):
            return None
        self.torch_left = [unit for unit in self.torch_left if unit not in mine]
        slots = {name: Slot(layer.key(name), tuple(value.shape)) for name, value in layer.arrays.items()}
        return TorchUnit(path, "user", slots, path)


def _at(path: str, owner: str) -> bool:
    return not owner or path == owner or path.startswith(owner + ".")


def _all_parts(unit: Any) -> list[Any]:
    return [inner for part in unit.parts for inner in (part, *_all_parts(part))]
