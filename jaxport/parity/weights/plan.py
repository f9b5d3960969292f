"""plan: how the weights of two aligned models are transferred, both ways, and what cannot be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxport.errors import UsageError
from jaxport.parity.layer import Layers
from jaxport.parity.result import Finding

from .flatten import flattened
from .leftovers import leftover_findings
from .unit import UNCOUNTED, Arrays, Rule, Shape, Slot

if TYPE_CHECKING:
    from jaxport.parity.align import Alignment, UnitPair


@dataclass(frozen=True)
class Entry:
    """Arrays that are made of each other.

    Attributes:
        jax: paths of the JAX leaves.
        torch: keys of the state dict.
        rule: what aligned their layers.
        text: how the one is made of the other: "transposed", "b_ih + b_hh"…
        slots: the tensors of the state dict, or their rows.
        move: how.
    """

    jax: tuple[str, ...]
    torch: tuple[str, ...]
    rule: str
    text: str
    slots: tuple[Slot, ...] = field(repr=False)
    move: Rule = field(repr=False)


@dataclass(frozen=True)
class Plan:
    """How the weights of two models are transferred.

    Attributes:
        entries: the arrays that are transferred.
        findings: every leaf that is not filled, every key that is not used, what cannot be represented ("error"), and
            what is worth knowing ("warning", "info").
        tied: keys of PyTorch's state dict whose tensor is that of another key too: key → the other.
    """

    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...] = ()
    tied: Mapping[str, str] = field(default_factory=dict)

    def to_jax(self, state: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the JAX leaves that a state dict means, by path; dtypes are those given.

        Args:
            state: key → array; keys that the plan does not use are findings of it already.

        Raises:
            UsageError: keys that the plan uses are missing, or have another shape.
        """
        return {key: np.ascontiguousarray(a) if a.ndim else a for key, a in self.leaves(state).items()}

    def leaves(self, state: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return what `to_jax` does, where it can be as views of the state dict's arrays."""
        needed = dict.fromkeys(slot.key for entry in self.entries for slot in entry.slots)
        arrays = {key: as_numpy(state[key]) for key in needed if key in state}
        _check(arrays, needed, "the state dict")
        self._check_shapes(arrays)
        found: dict[str, np.ndarray] = {}
        for entry in self.entries:
            parts = tuple(slot.read(arrays[slot.key]) for slot in entry.slots)
            made = entry.move.to_jax(parts)
            if not parts:  # zeros that no tensor stands for: of the dtype that the others have
                made = tuple(array.astype(next(iter(arrays.values())).dtype) for array in made)
            found |= zip(entry.jax, made, strict=True)
        return found

    def _check_shapes(self, arrays: Mapping[str, np.ndarray]) -> None:
        slots = {slot.key: slot for entry in self.entries for slot in entry.slots}
        wrong = [
            f"{key}: shape {arrays[key].shape} in the state dict, {slot.whole_shape} in the plan"
            for key, slot in slots.items()
            if arrays[key].shape != slot.whole_shape
        ]
        if wrong:
            raise UsageError("; ".join(wrong))

    def to_torch(self, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the state dict that JAX leaves mean.

        Where PyTorch has two arrays for one (``b_ih`` and ``b_hh``), the second is zero. Keys that JAX has no place
        for (``num_batches_tracked``) are not in it.

        Args:
            arrays: path → array.

        Raises:
            UsageError: leaves that the plan uses are missing.
        """
        return self._to_torch(arrays, gradient=False)

    def gradients_to_torch(self, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return gradients of JAX leaves as those of PyTorch's tensors.

        Where one leaf stands for a sum of two tensors (``b = b_ih + b_hh``) each has its gradient. Tensors whose
        gradient cannot be told from JAX's (GRU's ``b_hh`` against `flax.nnx.GRUCell`) are left out, and so are leaves
        without a gradient (BatchNorm's statistics).

        Args:
            arrays: path → gradient.
        """
        return self._to_torch(arrays, gradient=True)

    def _to_torch(self, arrays: Mapping[str, Any], gradient: bool) -> dict[str, np.ndarray]:
        if not gradient:
            _check(arrays, {key: None for entry in self.entries for key in entry.jax}, "the JAX arrays")
        found: dict[str, list[tuple[Slot, np.ndarray]]] = defaultdict(list)
        for entry in self.entries:
            if all(key in arrays for key in entry.jax):
                move = entry.move.gradient if gradient and entry.move.gradient else entry.move.to_torch
                parts = move(tuple(as_numpy(arrays[key]) for key in entry.jax))
                for slot, part in zip(entry.slots, parts, strict=True):
                    found[slot.key].append((slot, slot.write(part)))
        joined = {key: _joined(parts, partly=not gradient) for key, parts in found.items()}
        complete = {key: value for key, value in joined.items() if value is not None}
        return self._with_tied(complete, gradient)

    def _with_tied(self, arrays: dict[str, np.ndarray], gradient: bool) -> dict[str, np.ndarray]:
        """Give tied keys the same value; the gradient of one tensor is the sum of those of JAX's several leaves."""
        for key, other in self.tied.items() if gradient else ():
            if key in arrays and other in arrays:
                arrays[other] = arrays[other] + arrays[key]
        return arrays | {key: arrays[other] for key, other in self.tied.items() if other in arrays}


def _joined(parts: list[tuple[Slot, np.ndarray]], partly: bool) -> np.ndarray | None:
    """Return the tensor that is made of rows; None if some are missing, or zeros for those if `partly`."""
    slot, first = parts[0]
    if slot.rows is None:
        return np.ascontiguousarray(first) if first.ndim else first
    total = slot.rows[2]
    whole = np.zeros((total, *first.shape[1:]), first.dtype)
    covered = 0
    for slot, part in parts:
        assert slot.rows is not None
        whole[slot.rows[0] : slot.rows[1]] = part
        covered += slot.rows[1] - slot.rows[0]
    return whole if partly or covered == total else None


def _check(arrays: Mapping[str, Any], needed: Mapping[str, None], what: str) -> None:
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise UsageError(f"{what} lack {len(missing)} of {len(needed)} that the plan needs: {', '.join(missing)}")


def as_numpy(value: Any) -> np.ndarray:
    """Return an array or a tensor as NumPy's."""
    return np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)


def plan(
    jax: Layers,
    torch: Layers,
    alignment: Alignment,
    flatten: Mapping[str, Shape] | None = None,
    unflatten: Mapping[str, Shape] | None = None,
) -> Plan:
    """Return how the weights are transferred between the layers that an alignment pairs.

    Args:
        jax: what `describe_jax` returned.
        torch: what `describe_torch` returned.
        alignment: of these two.
        flatten: PyTorch path of a layer whose features are a flattened (C, H, W) in PyTorch and a flattened (H, W, C)
            in JAX → that (C, H, W). See `find_flatten`.
        unflatten: the same for layers whose output is taken apart so.

    Raises:
        UsageError: `flatten` or `unflatten` names no layer that is aligned, or a shape that does not fit it.
    """
    entries: list[Entry] = []
    findings: list[Finding] = []
    shuffled = {"in": dict(flatten or {}), "out": dict(unflatten or {})}
    _check_flatten(shuffled, alignment)
    for pair in alignment.units:
        made, found = _pair(pair, torch)
        entries += [flattened(entry, pair.torch, shuffled) for entry in made]
        findings += found
    tied = _tied(torch)
    findings += leftover_findings(jax, torch, alignment, tied, {key for entry in entries for key in entry.torch})
    return Plan(tuple(entries), tuple(findings), tied)


def _check_flatten(shuffled: Mapping[str, Mapping[str, Shape]], alignment: Alignment) -> None:
    known = {pair.torch.path for pair in alignment.units}
    for name, paths in zip(("flatten", "unflatten"), shuffled.values(), strict=True):
        if bad := [path for path in paths if path not in known]:
            raise UsageError(f"{name} names {', '.join(map(repr, bad))}: no aligned layer of the PyTorch model")


def _tied(torch: Layers) -> dict[str, str]:
    """Return the keys whose tensor has another key before: key → that."""
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    for layer in torch.values():
        for name, value in layer.arrays.items():
            if (other := first.setdefault(id(value), layer.key(name))) != layer.key(name):
                tied[layer.key(name)] = other
    return tied


def _pair(pair: UnitPair, torch: Layers) -> tuple[list[Entry], list[Finding]]:
    entries: list[Entry] = []
    findings = list(_heads(pair))
    for rule in pair.jax.rules:
        slots = [pair.torch.slots.get(name) for name in rule.names]
        if all(slots):
            held = tuple(slot for slot in slots if slot is not None)
            wrong = [(s, shape) for s, shape in zip(held, rule.shapes, strict=True) if s.shape != shape]
            if wrong:
                findings.append(_misfit(pair, rule, wrong))
            else:
                entries.append(Entry(rule.keys, tuple(slot.key for slot in held), pair.rule, rule.text, held, rule))
        else:
            entry, finding = _without_tensor(pair, rule)
            entries += [] if entry is None else [entry]
            findings.append(finding)
    findings += _unused(pair, torch)
    return entries, findings


def _heads(pair: UnitPair) -> Iterator[Finding]:
    ours, theirs = pair.jax.heads, pair.torch.heads
    if ours and theirs and ours != theirs:
        text = f"num_heads is {ours} in JAX, {theirs} in PyTorch"
        yield Finding("weights/heads", "error", text, pair.jax.path, pair.torch.path, 12, f"num_heads={theirs}")


def _misfit(pair: UnitPair, rule: Rule, wrong: list[tuple[Slot, Shape]]) -> Finding:
    text = "; ".join(f"{slot.key} is {slot.shape}, and {shape} would fit" for slot, shape in wrong)
    text = f"{', '.join(rule.keys)} cannot be filled: {text} ({rule.text})"
    return Finding("weights/shape", "error", text, rule.keys[0], wrong[0][0].key)


def _without_tensor(pair: UnitPair, rule: Rule) -> tuple[Entry | None, Finding]:
    """Return what becomes of a leaf that PyTorch's layer has no tensor for: an RNN's bias is filled with zeros."""
    keys = ", ".join(rule.keys)
    if pair.jax.family in ("lstm", "gru", "rnn") and all(name.startswith("bias") for name in rule.names):
        sizes = [sum(shape[0] for shape in rule.shapes[:1]) // len(rule.keys)] * len(rule.keys)

        def zeros(_: Arrays) -> Arrays:
            return tuple(np.zeros(size, np.float32) for size in sizes)

        move = Rule(rule.keys, (), (), zeros, lambda _: (), "zeros")
        text = f"{keys}: PyTorch's {pair.torch.path} has no bias; zeros are filled in, and training would move them"
        finding = Finding("weights/no-bias", "warning", text, rule.keys[0], pair.torch.path, 10)
        return Entry(rule.keys, (), pair.rule, "zeros", (), move), finding
    text = f"{keys} is not filled: {pair.torch.path or 'the model'} has no {' or '.join(rule.names)}"
    return None, Finding("weights/unfilled-leaf", "error", text, rule.keys[0], pair.torch.path)


def _unused(pair: UnitPair, torch: Layers) -> Iterator[Finding]:
    used = {name for rule in pair.jax.rules for name in rule.names}
    for name, slot in pair.torch.slots.items():
        if name in used:
            continue
        if name == UNCOUNTED:
            text = f"{slot.key} has no counterpart; it matters where momentum is None alone"
            yield Finding("weights/uncounted", "info", text, pair.jax.path, slot.key, 3)
        elif name in pair.jax.zeros:
            yield _no_place(pair, slot, pair.jax.zeros[name], torch)
        else:
            reason = "; ".join(pair.jax.problems) or f"{pair.jax.path or 'the model'} has no such array"
            yield Finding("weights/unused-key", "error", f"{slot.key} is not used: {reason}", pair.jax.path, slot.key)


def _no_place(pair: UnitPair, slot: Slot, reason: str, torch: Layers) -> Finding:
    values = {layer.key(name): value for layer in torch.values() for name, value in layer.arrays.items()}
    worst = float(np.abs(slot.read(as_numpy(values[slot.key]))).max(initial=0.0))
    rows = "" if slot.rows is None else f"[{slot.rows[0]}:{slot.rows[1]}]"
    if worst:
        text = f"{slot.key}{rows} is not zero (up to {worst:.3g}) and cannot be represented: {reason}"
        return Finding("weights/not-representable", "error", text, pair.jax.path, slot.key, 11, reason)
    text = f"{slot.key}{rows} is zero and has no counterpart; training would move it: {reason}"
    return Finding("weights/not-representable", "warning", text, pair.jax.path, slot.key, 11, reason)
