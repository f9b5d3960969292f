"""One matrix for query, key and value in PyTorch, as GPT-2 and most vision transformers have it, and three in JAX."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .layer import Layers
from .names import loose
from .weights.unit import JaxUnit, Shape, Slot, TorchUnit

_NAMES = ("query", "key", "value")

Trio = tuple[JaxUnit, ...]
Kind = tuple[tuple[str, Shape], ...]


def packed_pairs(
    ours: Sequence[JaxUnit], theirs: Sequence[TorchUnit], jax: Layers
) -> Iterator[tuple[JaxUnit, Trio, TorchUnit, tuple[TorchUnit, ...]]]:
    """Yield three linear layers of JAX, and one of PyTorch with three times the rows, in equal numbers and by order.

    The rows are taken for those of the query, the key and the value, in this order.

    Args:
        ours: units without partner.
        theirs: the same of PyTorch.
        jax: the layers, for their names.

    Yields:
        What the three are taken from (the attention, or the first of three), the three, PyTorch's layer, its thirds.
    """
    trios: dict[Kind, list[tuple[JaxUnit, Trio]]] = defaultdict(list)
    for owner, trio in _trios(ours, jax):
        trios[_kind(trio[0].signature, 3)].append((owner, trio))
    matrices: dict[Kind, list[TorchUnit]] = defaultdict(list)
    for unit in theirs:
        if unit.family == "linear":
            matrices[_kind(unit.signature, 1)].append(unit)
    for kind, mine in trios.items():
        if len(mine) == len(matrices[kind]):
            for (owner, trio), matrix in zip(mine, matrices[kind], strict=True):
                yield owner, trio, matrix, tuple(_third(matrix, index) for index in range(3))


def _trios(ours: Sequence[JaxUnit], jax: Layers) -> Iterator[tuple[JaxUnit, Trio]]:
    siblings: dict[str, dict[str, JaxUnit]] = defaultdict(dict)
    for unit in ours:
        if unit.family == "attention":
            named = {loose(part.path, jax).split(".")[-1]: part for part in unit.parts}
            if trio := _trio(named):
                yield unit, trio
        elif unit.family == "linear":
            siblings[unit.path.rpartition(".")[0]][loose(unit.path, jax).split(".")[-1]] = unit
    for named in siblings.values():
        if trio := _trio(named):
            yield trio[0], trio


def _trio(named: dict[str, JaxUnit]) -> Trio:
    found = tuple(named[name] for name in _NAMES if name in named)
    alike = len({_kind(unit.signature, 1) for unit in found}) == 1
    return found if len(found) == 3 and alike else ()


def _kind(signature: dict[str, Shape], times: int) -> Kind:
    return tuple(sorted((name, (shape[0] * times, *shape[1:])) for name, shape in signature.items()))


def _third(unit: TorchUnit, index: int) -> TorchUnit:
    slots = {}
    for name, slot in unit.slots.items():
        rows = slot.shape[0] // 3
        slots[name] = Slot(slot.key, (rows, *slot.shape[1:]), (rows * index, rows * (index + 1), slot.shape[0]))
    return replace(unit, path=f"{unit.path}.{_NAMES[index]}", slots=slots, whole=False, parts=())
