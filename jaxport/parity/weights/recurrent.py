"""Recurrent cells of Flax and Equinox: gates together or apart, one bias or two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxport.parity.layer import Layer, Layers

from .library import library_name
from .rules import same
from .unit import Arrays, JaxUnit, Rule, Shape

CELLS = {
    "LSTMCell": "lstm",
    "OptimizedLSTMCell": "lstm",
    "GRUCell": "gru",
    "SimpleCell": "rnn",
}
"""Cells of flax.nnx, flax.linen and equinox.nn by family."""

_GATES = {"lstm": "ifgo", "gru": "rzn", "rnn": ""}
_NO_PLACE = "flax.nnx.GRUCell has no b_hn (the bias inside r·(…)); use a cell of your own, or flax.linen.GRUCell"


def cell_unit(layer: Layer, layers: Layers) -> JaxUnit | None:
    """Return a recurrent cell as a unit, with the arrays of its parts; None if it is no cell that is known."""
    package, name = library_name(layer, ("flax.nnx", "flax.linen", "equinox.nn")) or ("", "")
    family = CELLS.get(name)
    if family is None:
        return None
    rules = _equinox(layer, family) if package == "equinox.nn" else _flax(layer, family, layers)
    module = _runner(layer, layers)
    names = {name for rule in rules for name in rule.names}
    zeros = {"bias_hh[n]": _NO_PLACE} if family == "gru" and "bias_ih" in names and "bias_hh[n]" not in names else {}
    return JaxUnit(layer.path, family, rules, module, reverse=_reverse(layer, module, layers), zeros=zeros)


def _runner(layer: Layer, layers: Layers) -> str:
    """Return the path of the module that runs the cell over a sequence, the cell's own if there is none."""
    parent = layer.path.rpartition(".")[0]
    if layer.path.endswith("cell") and parent in layers and layers[parent].name == "RNN":
        return parent
    by_cell = (path for path, other in layers.items() if getattr(other.module, "cell_path", None) == layer.path)
    return next(by_cell, layer.path)


def _reverse(layer: Layer, module: str, layers: Layers) -> bool:
    named = any(word in layer.path.lower() for word in ("backward", "reverse", "bwd"))
    return named or bool(layers[module].settings.get("reverse", False))


def _flax(layer: Layer, family: str, layers: Layers) -> tuple[Rule, ...]:
    prefix = f"{layer.path}." if layer.path else ""
    held = {path.removeprefix(prefix): part for path, part in layers.items() if path.startswith(prefix)}
    if "dense_i" in held:
        kernels = [_together(held["dense_i"], "weight_ih"), _together(held["dense_h"], "weight_hh")]
        return (*kernels, *_one_bias(held, family))
    if "i" in held and "h" in held:
        return (_together(held["i"], "weight_ih"), _together(held["h"], "weight_hh"), _summed([held["i"]]))
    gates = [_gate_names(gate, held) for gate in _GATES[family]]
    kernels = [_apart([held[i] for i, _ in gates], "weight_ih"), _apart([held[h] for _, h in gates], "weight_hh")]
    if family == "gru":
        return (*kernels, _gru_bias([held["ir"], held["iz"], held["in"]]), _gru_bias_n(held["hn"]))
    return (*kernels, _summed([held[h] for _, h in gates]))


def _gate_names(gate: str, held: dict[str, Layer]) -> tuple[str, str]:
    return (f"i{gate}_" if f"i{gate}_" in held else f"i{gate}"), f"h{gate}"


def _shape(layer: Layer, name: str) -> Shape:
    return tuple(layer.arrays[name].shape)


def _together(layer: Layer, name: str) -> Rule:
    return _apart([layer], name)


def _apart(parts: Sequence[Layer], name: str) -> Rule:
    """Return the rule of a kernel (in, hidden) for each gate, for PyTorch's (gates · hidden, in)."""
    keys = tuple(part.key("kernel") for part in parts)
    rows, columns = (sum(_shape(part, "kernel")[1] for part in parts), _shape(parts[0], "kernel")[0])
    text = "transposed" if len(parts) == 1 else f"transposed, {len(parts)} gates apart"
    return Rule(
        keys, (name,), ((rows, columns),),
        lambda arrays: tuple(part.T for part in np.split(arrays[0], len(keys), axis=0)),
        lambda arrays: (np.concatenate([array.T for array in arrays], axis=0),),
        text,
    )  # fmt: skip


def _summed(parts: Sequence[Layer], name: str = "bias") -> Rule:
    """Return the rule of one bias that stands for PyTorch's two, b_ih + b_hh, whole or for each gate."""
    keys = tuple(part.key(name) for part in parts)
    rows = sum(_shape(part, name)[0] for part in parts)

    def to_jax(arrays: Arrays) -> Arrays:
        return tuple(np.split(arrays[0] + arrays[1], len(keys)))

    def to_torch(arrays: Arrays) -> Arrays:
        whole = np.concatenate(arrays)
        return whole, np.zeros_like(whole)

    def gradient(arrays: Arrays) -> Arrays:
        whole = np.concatenate(arrays)
        return whole, whole

    names, shapes = ("bias_ih", "bias_hh"), ((rows,), (rows,))
    return Rule(keys, names, shapes, to_jax, to_torch, "b_ih + b_hh", gradient)


def _one_bias(held: dict[str, Layer], family: str) -> list[Rule]:
    if family != "gru":
        return [_summed([part for part in (held["dense_i"], held["dense_h"]) if "bias" in part.arrays])]
    return [_gru_bias([held["dense_i"]])]


def _gru_bias(parts: Sequence[Layer], name: str = "bias") -> Rule:
    """Return the rule of GRU's bias outside of r·(…): b_ih, and b_hh of r and z added to it.

    The gradient of b_hh of n is that of the leaf `_gru_bias_n`; without one it is not known.
    """
    keys = tuple(part.key(name) for part in parts)
    rows = sum(_shape(part, name)[0] for part in parts)
    own = rows // 3 * 2
    names, shapes = ("bias_ih", "bias_hh[rz]"), ((rows,), (own,))

    def to_jax(arrays: Arrays) -> Arrays:
        whole = arrays[0].copy()
        whole[:own] += arrays[1]
        return tuple(np.split(whole, len(keys)))

    def to_torch(arrays: Arrays) -> Arrays:
        whole = np.concatenate(arrays)
        return whole, np.zeros_like(whole[:own])

    def gradient(arrays: Arrays) -> Arrays:
        whole = np.concatenate(arrays)
        return whole, whole[:own]

    text = "b_ih, and b_hh of r and z added"
    return Rule(keys, names, shapes, to_jax, to_torch, text, gradient)


def _gru_bias_n(layer: Layer, name: str = "bias") -> Rule:
    rows = _shape(layer, name)[0]
    as_it_is = lambda arrays: arrays  # noqa: E731
    return Rule((layer.key(name),), ("bias_hh[n]",), ((rows,),), as_it_is, as_it_is, "b_hh of n")


def _equinox(layer: Layer, family: str) -> tuple[Rule, ...]:
    rules = [same(layer, name, name) for name in ("weight_ih", "weight_hh")]
    if "bias" in layer.arrays:
        rules += [_summed([layer])] if family == "lstm" else [_gru_bias([layer]), _gru_bias_n(layer, "bias_n")]
    return tuple(rules)
