"""Maps: what a user says of which layer stands for which, in a mapping or a YAML file."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxport.errors import UsageError

from .layer import Layers
from .result import Finding
from .take import Taker
from .weights.unit import JaxUnit, Slot, TorchUnit


def load_map(path: str | os.PathLike[str]) -> dict[str, str | None]:
    """Return a map of a YAML file: lines ``jax.path: torch.path``, see `align`.

    Raises:
        UsageError: the file is missing, is no YAML or no mapping of paths.
    """
    import yaml

    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"map {str(path)!r} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"map {str(path)!r} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UsageError(f"map {str(path)!r} must hold lines `jax.path: torch.path`, got {type(data).__name__}")
    bad = [f"{key!r}: {value!r}" for key, value in data.items() if not (_is_path(key) and _is_path(value, None))]
    if bad:
        raise UsageError(f"map {str(path)!r}: paths on both sides, or null on the right, got {'; '.join(bad)}")
    return {str(key): None if value is None else str(value) for key, value in data.items()}


def _is_path(value: Any, *also: Any) -> bool:
    return (isinstance(value, str | int) and not isinstance(value, bool)) or value in also


@dataclass(frozen=True)
class Mapped:
    """What a map has paired, and what is left to the other rules."""

    pairs: Sequence[tuple[JaxUnit, TorchUnit]]
    jax_left: Sequence[JaxUnit]
    torch_left: Sequence[TorchUnit]
    findings: Sequence[Finding]
    left_out: Sequence[str]
    renamed: Callable[[str], str]


def apply_map(
    ours: list[JaxUnit], theirs: list[TorchUnit], jax: Layers, torch: Layers, mapping: Mapping[str, Any]
) -> Mapped:
    """Pair the layers and arrays that the map names, and rename the paths below the containers that it names.

    Raises:
        UsageError: a line names what is in neither model, or what another line has taken; all such lines are listed.
    """
    rules = [_Rule(str(key), None if value is None else str(value)) for key, value in mapping.items()]
    taker = Taker(ours, theirs, jax, torch)
    pairs, findings, bad = [], [], []
    for rule in rules:
        matches = [path for path in _paths(jax) if rule.matches(path)]
        bad += [] if matches else [f"{rule.jax!r} names nothing in the JAX model{_near(rule.jax, _paths(jax))}"]
        for path in matches:
            pair, finding, problem = _apply(rule, path, taker, torch)
            pairs += [] if pair is None else [pair]
            findings += [] if finding is None else [finding]
            bad += [] if problem is None else [problem]
    if bad:
        raise UsageError(f"the map does not fit the models: {'; '.join(bad)}")

    def renamed(path: str) -> str:
        return next((new for rule in rules if (new := rule.rename(path)) is not None), path)

    return Mapped(pairs, taker.jax_left, taker.torch_left, findings, taker.dropped, renamed)


def _paths(layers: Layers) -> list[str]:
    return list(dict.fromkeys([*layers, *(layer.key(name) for layer in layers.values() for name in layer.arrays)]))


def _near(path: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(path, [name for name in known if name], 1, 0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


Applied = tuple[tuple[JaxUnit, TorchUnit] | None, Finding | None, str | None]


def _apply(rule: _Rule, path: str, taker: Taker, torch: Layers) -> Applied:
    """Return the pair that a line makes of one JAX path, what is worth saying, and what is wrong."""
    if rule.torch is None:
        taker.drop(path)
        return None, Finding("align/left-out", "info", f"{path or 'the model'} is left out by the map", path), None
    part = _Part.parse(rule.rename(path) or "")
    if part.path not in _paths(torch):
        near = _near(part.path, _paths(torch))
        return None, None, f"{rule.jax!r}: {part.path!r} names nothing in the PyTorch model{near}"
    if not part.plain or not taker.is_container(path, part.path):
        mine, other = taker.jax(path), taker.torch(part.path, keep=part.rows is not None)
        if mine is None or other is None:
            what = f"{path!r} of the JAX model" if mine is None else f"{part.path!r} of the PyTorch model"
            return None, None, f"{rule.jax!r}: {what} has no arrays, or another line has it"
        return (mine, part.of(other)), None, None
    return None, None, None


class _Rule:
    """One line of a map."""

    def __init__(self, jax: str, torch: str | None) -> None:
        self.jax, self.torch = jax, torch
        self.pattern = re.compile(re.escape(jax).replace(r"\*", r"([^.]+)") + r"(\..+)?")

    def matches(self, path: str) -> bool:
        """Say whether the line names just this path."""
        found = self.pattern.fullmatch(path)
        return found is not None and not found.groups(default="")[-1]

    def rename(self, path: str) -> str | None:
        """Return PyTorch's path for a JAX path at or below the line's; None if it is elsewhere."""
        found = self.pattern.fullmatch(path)
        if found is None or self.torch is None:
            return None
        *stars, rest = found.groups(default="")
        values = iter(stars)
        return re.sub(r"\*", lambda _: next(values, "*"), self.torch) + rest


@dataclass(frozen=True)
class _Part:
    """The right side of a line: ``attn.qkv[0/3]`` (a part of the rows), ``head.weight.T``, ``conv.weight(2,3,1,0)``."""

    path: str
    rows: tuple[int, int] | None = None
    order: tuple[int, ...] | None = None
    transposed: bool = False

    @classmethod
    def parse(cls, text: str) -> _Part:
        found = re.fullmatch(r"(.*?)(?:\[(\d+)/(\d+)\])?(\.T|\(\s*\d+(?:\s*,\s*\d+)*\s*\))?", text)
        assert found is not None
        path, index, count, order = found.groups()
        rows = None if index is None else (int(index), int(count))
        axes = tuple(int(axis) for axis in re.findall(r"\d+", order)) if order and order != ".T" else None
        return cls(path, rows, axes, order == ".T")

    @property
    def plain(self) -> bool:
        """Whether it is a path alone."""
        return self.rows is None and self.order is None and not self.transposed

    def of(self, unit: TorchUnit) -> TorchUnit:
        """Return the unit's part, or the unit with its axes in another order."""
        if self.plain:
            return unit
        slots = {name: self._slot(slot) for name, slot in unit.slots.items()}
        return replace(unit, slots=slots, whole=unit.whole and self.rows is None, parts=())

    def _slot(self, slot: Slot) -> Slot:
        shape, rows = slot.shape, slot.rows
        if self.rows is not None and shape:
            index, count = self.rows
            if index >= count or shape[0] % count:
                raise UsageError(f"the map's {self.path}[{index}/{count}]: {slot.key} has {shape[0]} rows")
            size = shape[0] // count
            rows, shape = (size * index, size * (index + 1), shape[0]), (size, *shape[1:])
        order = (1, 0) if self.transposed and len(shape) == 2 else self.order
        if order is not None and len(order) == len(shape):
            return Slot(slot.key, tuple(shape[axis] for axis in order), rows, order)
        return Slot(slot.key, shape, rows)
