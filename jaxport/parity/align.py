"""align: which layer of a JAX model stands for which of PyTorch's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .containers import container_pairs
from .layer import Layers, Pair
from .mapping import Mapped, apply_map
from .names import is_automatic, loose, normal
from .packed import packed_pairs
from .result import Finding
from .weights.guess import guess
from .weights.jax_units import jax_units
from .weights.torch_units import torch_units
from .weights.unit import JaxUnit, TorchUnit


@dataclass(frozen=True)
class UnitPair:
    """Two units that stand for each other, and the rule that aligned them."""

    jax: JaxUnit
    torch: TorchUnit
    rule: str


@dataclass(frozen=True)
class Alignment:
    """Which layer stands for which.

    Attributes:
        pairs: the layers that do, containers and layers without arrays among them, in PyTorch's order.
        jax_left: paths of layers with arrays that found no partner.
        torch_left: the same of PyTorch's.
        findings: what was ambiguous, and what is left.
        left_out: paths of the JAX arrays that the map leaves out.
        units: the pairs whose arrays are transferred.
    """

    pairs: tuple[Pair, ...] = ()
    jax_left: tuple[str, ...] = ()
    torch_left: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    left_out: tuple[str, ...] = ()
    units: tuple[UnitPair, ...] = field(default=(), repr=False)


def align(jax: Layers, torch: Layers, mapping: Mapping[str, Any] | None = None) -> Alignment:
    """Pair the layers of two models: by a map, then by path, by class and shape, and by order.

    1. `mapping`, if given.
    2. Paths that are the same but for writing (``layers_0`` is ``layers.0``), then but for usual other names of the
       same thing (``wq`` is ``query``); the names that Linen makes up (``Conv_0``) do not count.
    3. Class and shapes (as PyTorch would have them), if there is one such layer on each side.
    4. The order in which layers of equal class and shapes are defined, if there are equally many.
    5. Containers are paired if the same layers are below both; layers without arrays by path.

    Args:
        jax: what `describe_jax` returned.
        torch: what `describe_torch` returned.
        mapping: JAX path → PyTorch path: of a layer or container, with ``*`` for one part of both; of an array
            (``head.kernel: head.weight.T``); None for what has no partner. See `load_map`.

    Raises:
        UsageError: the map names what is in neither model, or the same thing twice.
    """
    state = _Aligner(jax, torch, apply_map(jax_units(jax), torch_units(torch), jax, torch, mapping or {}))
    state.run()
    return state.result()


class _Aligner:
    def __init__(self, jax: Layers, torch: Layers, mapped: Mapped) -> None:
        self.jax, self.torch = jax, torch
        self.jax_left, self.torch_left = list(mapped.jax_left), list(mapped.torch_left)
        self.pairs = [UnitPair(ours, theirs, "map") for ours, theirs in mapped.pairs]
        self.findings = list(mapped.findings)
        self.renamed = mapped.renamed
        self.left_out = tuple(mapped.left_out)

    def run(self) -> None:
        """Align whole layers, then the parts of those that found no partner."""
        self._match()
        self._guess()
        self._packed()
        self._expand("attention")
        self._match()
        self._by(_class_and_weights, "class and shape", alone=True)
        self._expand("")
        self._match()
        self._by(_class_and_shape, "class and shape", alone=True)

    def _expand(self, family: str) -> None:
        """Take units of a family apart, all if it is empty."""
        self.jax_left = [part for unit in self.jax_left for part in _parts(unit, family)]
        self.torch_left = [part for unit in self.torch_left for part in _parts(unit, family)]

    def _guess(self) -> None:
        """Pair layers of no known class (of a bare pytree, say) with a Linear or convolution at the same path."""
        free = {unit.module for unit in self.jax_left if unit.family == "array"}
        theirs = [unit for unit in self.torch_left if unit.family == "linear" or unit.family.startswith("conv")]
        by_path = {loose(unit.path, self.torch): unit for unit in theirs}
        for layer in [layer for path, layer in self.jax.items() if path in free]:
            unit = by_path.get(loose(self.renamed(layer.path), self.jax))
            mine = [one for one in self.jax_left if one.module == layer.path]
            if unit is None or len(mine) != len(layer.arrays) or unit not in self.torch_left:
                continue
            made, finding = guess(layer, unit)
            self.findings += [] if finding is None else [finding]
            if made is not None:
                self.pairs.append(UnitPair(made, unit, self._rule(made, "path")))
                self.jax_left = [one for one in self.jax_left if one not in mine]
                self.torch_left.remove(unit)

    def _packed(self) -> None:
        """Pair query, key and value with the rows of one matrix."""
        for owner, trio, matrix, thirds in list(packed_pairs(self.jax_left, self.torch_left, self.jax)):
            self.pairs += [UnitPair(a, b, "class and shape") for a, b in zip(trio, thirds, strict=True)]
            others = [part for part in owner.parts if part not in trio]
            index = self.jax_left.index(owner)
            self.jax_left[index : index + 1] = others
            self.jax_left = [unit for unit in self.jax_left if unit not in trio]
            self.torch_left.remove(matrix)
            names = ", ".join(unit.path for unit in trio)
            text = f"the rows of {matrix.path} are taken for {names}, in this order"
            fix = f"if it is another, a map: `{trio[0].path}: {matrix.path}[0/3]` and so on"
            self.findings.append(Finding("align/packed", "info", text, trio[0].path, matrix.path, 12, fix))

    def _match(self) -> None:
        self._by(lambda unit: (unit.family, self._path(unit)), "path", skip_automatic=True)
        self._by(
            lambda unit: (*_class_and_shape(unit), self._loose(unit)), "path", skip_automatic=True, all_or_none=True
        )
        directed = any(unit.reverse for unit in self.jax_left)
        kind = lambda unit: (*self._kind(unit), unit.reverse and directed)  # noqa: E731
        self._by(lambda unit: (*kind(unit), self._numbers(unit)), "class and shape", all_or_none=True)
        self._by(kind, "class and shape")

    def _kind(self, unit: Any) -> tuple[Any, ...]:
        """Return class and shapes; of a single array its name too: statistics and weights may have equal shapes."""
        return *_class_and_shape(unit), self._loose(unit).split(".")[-1] if unit.family == "array" else ""

    def _numbers(self, unit: Any) -> tuple[str, ...]:
        """Return the numbers of the containers that a unit is in: the third block's norms are none of the fourth's."""
        return tuple(token for token in self._path(unit).split(".")[:-1] if token.isdigit())

    def _rule(self, unit: JaxUnit, rule: str) -> str:
        return "map" if rule == "path" and self.renamed(unit.place) != unit.place else rule

    def _path(self, unit: Any) -> str:
        ours = isinstance(unit, JaxUnit)
        return normal(self.renamed(unit.place) if ours else unit.place, self.jax if ours else self.torch)

    def _loose(self, unit: Any) -> str:
        ours = isinstance(unit, JaxUnit)
        return loose(self.renamed(unit.place) if ours else unit.place, self.jax if ours else self.torch)

    def _by(
        self,
        key: Callable[[Any], Any],
        rule: str,
        skip_automatic: bool = False,
        all_or_none: bool = False,
        alone: bool = False,
    ) -> None:
        """Pair the units of equal key: one with one; by order if counts are equal (not by path, nor `alone`)."""
        ours, theirs = _groups(self.jax_left, key, skip_automatic), _groups(self.torch_left, key, False)
        if all_or_none:
            ours, theirs = _complete(ours, theirs)
        for name, mine in ours.items():
            other = theirs.get(name, [])
            if len(mine) != len(other) or (len(mine) > 1 and (rule == "path" or alone)):
                continue
            used = rule if len(mine) == 1 else "order"
            self.pairs += [UnitPair(a, b, self._rule(a, used)) for a, b in zip(mine, other, strict=True)]
            self.jax_left = [unit for unit in self.jax_left if unit not in mine]
            self.torch_left = [unit for unit in self.torch_left if unit not in other]

    def result(self) -> Alignment:
        """Return what was found, with the pairs of containers."""
        pairs = container_pairs(self.jax, self.torch, [(p.jax, p.torch, p.rule) for p in self.pairs])
        jax_left = tuple(dict.fromkeys(unit.path for unit in self.jax_left))
        torch_left = tuple(dict.fromkeys(unit.path for unit in self.torch_left))
        findings = (*self.findings, *_order_finding(self.pairs))
        return Alignment(pairs, jax_left, torch_left, findings, self.left_out, tuple(self.pairs))


def _class_and_shape(unit: Any) -> tuple[Any, ...]:
    return unit.family, tuple(sorted(unit.signature.items()))


def _class_and_weights(unit: Any) -> tuple[Any, ...]:
    """Return class and weight: if one side has a bias or statistics and the other has not, the finding is of those."""
    optional = ("bias", "running_mean", "running_var")
    return unit.family, tuple(sorted((name, size) for name, size in unit.signature.items() if name not in optional))


def _groups(units: Sequence[Any], key: Callable[[Any], Any], skip_automatic: bool) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for unit in units:
        if not (skip_automatic and is_automatic(unit.path)):
            found[key(unit)].append(unit)
    return found


def _complete(ours: dict[Any, list[Any]], theirs: dict[Any, list[Any]]) -> tuple[Any, Any]:
    """Keep the groups of class and shape in which the same names stand on both sides: ``fc1`` may be ``linear0``."""

    def names(groups: dict[Any, list[Any]]) -> dict[Any, set[tuple[Any, int]]]:
        found: dict[Any, set[tuple[Any, int]]] = defaultdict(set)
        for (*kind, name), units in groups.items():
            found[tuple(kind)].add((name, len(units)))
        return found

    mine, other = names(ours), names(theirs)
    good = {kind for kind, found in mine.items() if other.get(kind) == found}
    return tuple({key: units for key, units in groups.items() if key[:-1] in good} for groups in (ours, theirs))  # type: ignore[return-value]


def _parts(unit: Any, family: str) -> Iterator[Any]:
    if unit.parts and family in ("", unit.family):
        yield from unit.parts
    else:
        yield unit


def _order_finding(pairs: Sequence[UnitPair]) -> Iterator[Finding]:
    ordered = [f"{pair.jax.path} = {pair.torch.path}" for pair in pairs if pair.rule == "order"]
    if ordered:
        text = f"{len(ordered)} layers of equal class and shapes were aligned by their order: {', '.join(ordered)}"
        yield Finding("align/order", "info", text, fix="name them in a map if the order is not the same")
