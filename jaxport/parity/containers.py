"""Containers: a module stands for the one that has the same layers below it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from .layer import Layers, Pair
from .names import normal
from .weights.unit import JaxUnit, TorchUnit


def container_pairs(jax: Layers, torch: Layers, units: Sequence[tuple[JaxUnit, TorchUnit, str]]) -> tuple[Pair, ...]:
    """Return the pairs of modules that follow from those of units, in PyTorch's order, the models themselves first."""
    pairs = {theirs.module: (ours.module, rule) for ours, theirs, rule in units if ours.whole and theirs.whole}
    below_jax = _below(jax, [ours.module for ours, _, _ in units])
    below_torch = _below(torch, [theirs.module for _, theirs, _ in units])
    used = {ours for ours, _ in pairs.values()}
    for held, chain in below_torch.items():
        for ours, theirs in _chains(below_jax.get(held, []), chain, jax, torch, {t: o for t, (o, _) in pairs.items()}):
            if theirs not in pairs and ours not in used:
                pairs[theirs] = (ours, "leaves")
                used.add(ours)
    if pairs.get("", ("", ""))[0] == "" and ("" not in used or "" in pairs):
        pairs.setdefault("", ("", "leaves"))
    pairs |= dict(_without_arrays(jax, torch, {theirs: ours for theirs, (ours, _) in pairs.items()}))
    return tuple(Pair(pairs[path][0], path, pairs[path][1]) for path in torch if path in pairs)


def _below(layers: Layers, units: Sequence[str]) -> dict[frozenset[int], list[str]]:
    """Return, for each set of units, the modules that have just these below or in them, from the outermost in."""
    held: dict[str, set[int]] = defaultdict(set)
    for number, path in enumerate(units):
        parts = path.split(".") if path else []
        for end in range(len(parts) + 1):
            held[".".join(parts[:end])].add(number)
    found: dict[frozenset[int], list[str]] = defaultdict(list)
    for path in sorted((path for path in layers if path in held), key=lambda path: (path != "", path.count("."))):
        found[frozenset(held[path])].append(path)
    return found


def _chains(
    ours: list[str], theirs: list[str], jax: Layers, torch: Layers, known: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """Pair two lists of modules, each inside the one before: one by one if they are as long, else by name."""
    ours = [path for path in ours if path == "" or path not in known.values()]
    theirs = [path for path in theirs if path == "" or path not in known]
    if ours[:1] == [""] and theirs[:1] == [""]:
        yield "", ""
    ours, theirs = [path for path in ours if path], [path for path in theirs if path]
    if len(ours) == len(theirs):
        yield from zip(ours, theirs, strict=True)
        return
    names = {normal(path, jax).split(".")[-1]: path for path in ours}
    for path in theirs:
        if (mine := names.get(normal(path, torch).split(".")[-1])) is not None:
            yield mine, path


def _without_arrays(jax: Layers, torch: Layers, pairs: dict[str, str]) -> Iterable[tuple[str, tuple[str, str]]]:
    """Pair modules without arrays (an activation, pooling) whose owners are a pair and whose names are the same."""
    free = {path for path, layer in jax.items() if not layer.arrays and not layer.children} - set(pairs.values())
    names = {(path.rpartition(".")[0], normal(path, jax).split(".")[-1]): path for path in free}
    for path, layer in torch.items():
        if path not in pairs and not layer.arrays and not layer.children:
            owner = pairs.get(path.rpartition(".")[0])
            mine = None if owner is None else _find(owner, normal(path, torch).split(".")[-1], names, jax)
            if mine is not None:
                yield path, (mine, "path")


def _find(owner: str, name: str, names: dict[tuple[str, str], str], jax: Layers) -> str | None:
    inner = f"{owner}.layers" if owner else "layers"
    sequential = jax[owner].name == "Sequential" if owner in jax else False
    return names.get((inner if sequential else owner, name))
