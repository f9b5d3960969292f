"""The units of a JAX model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jaxport.parity.layer import Layer, Layers

from .library import library_name
from .recurrent import cell_unit
from .rules import layer_unit, single_units
from .torch_units import layer_units, torch_family
from .unit import JaxUnit, Rule, Slot, TorchUnit

_ATTENTION = {
    "MultiHeadAttention": ("query", "key", "value", "out"),
    "MultiHeadDotProductAttention": ("query", "key", "value", "out"),
    "SelfAttention": ("query", "key", "value", "out"),
    "MultiheadAttention": ("query_proj", "key_proj", "value_proj", "output_proj"),
}
"""Attention of flax.nnx, flax.linen and equinox.nn: its linear layers, in PyTorch's order."""


def jax_units(layers: Layers) -> list[JaxUnit]:
    """Return the units of a model, in the order in which they were defined."""
    units: list[JaxUnit] = []
    consumed: set[str] = set()
    for layer in layers.values():
        if layer.path in consumed:
            continue
        made = _composite(layer, layers)
        if made:
            prefix = f"{layer.path}." if layer.path else ""
            consumed |= {path for path in layers if path.startswith(prefix)}
            units += made
        else:
            units += single_units(layer)
    return units


def _composite(layer: Layer, layers: Layers) -> list[JaxUnit]:
    """Return the units of a layer that has several modules or arrays; none if it is no such layer."""
    package, name = library_name(layer, ("flax.nnx", "flax.linen", "equinox.nn", "jaxport.nn")) or ("", "")
    if package == "jaxport.nn":
        family = torch_family(layer)
        return [] if family is None else [_jaxport(unit) for unit in layer_units(layer, layers)]
    if name in _ATTENTION:
        return _attention(layer, layers, _ATTENTION[name])
    cell = cell_unit(layer, layers)
    return [] if cell is None else [cell]


def _attention(layer: Layer, layers: Layers, names: Sequence[str]) -> list[JaxUnit]:
    prefix = f"{layer.path}." if layer.path else ""
    parts: list[JaxUnit] = []
    rules: list[Rule] = []
    for name, path in zip(("query", "key", "value", "out"), names, strict=True):
        part = layer_unit(layers[prefix + path]) if prefix + path in layers else None
        if part is None:
            return []
        parts.append(part)
        rules += [replace(rule, names=tuple(f"{name}.{own}" for own in rule.names)) for rule in part.rules]
    others = set(layers) - {part.path for part in parts} - {layer.path}
    more = [
        unit for path in layers if path in others and path.startswith(prefix) for unit in single_units(layers[path])
    ]
    heads = int(layer.settings.get("num_heads", 0) or 0)
    whole = JaxUnit(layer.path, "attention", tuple(rules), layer.path, parts=tuple(parts), heads=heads)
    return [whole, *more]


def _jaxport(unit: TorchUnit) -> JaxUnit:
    """Return a layer of jaxport.nn, or a part of one: it is laid out as PyTorch's of the same name."""
    by_key: dict[str, dict[str, Slot]] = {}
    for name, slot in unit.slots.items():
        by_key.setdefault(slot.key, {})[name] = slot
    rules = tuple(_rows(key, slots) for key, slots in by_key.items())
    return JaxUnit(unit.path, unit.family, rules, unit.module, unit.whole, heads=unit.heads, reverse=unit.reverse)


def _rows(key: str, slots: dict[str, Slot]) -> Rule:
    """Return the rule of an array that is made of all the slots, one below the other."""
    bounds = [slot.rows[0] for slot in slots.values() if slot.rows and slot.rows[0]]
    return Rule(
        (key,), tuple(slots), tuple(slot.shape for slot in slots.values()),
        lambda arrays: (np.concatenate(arrays) if len(arrays) > 1 else arrays[0],),
        lambda arrays: tuple(np.split(arrays[0], bounds)) if bounds else arrays,
        "as it is",
    )  # fmt: skip
