"""The tree of modules with the tensors that belong to each: what the terminal and the page show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jaxport.parity.result import Module, Report, Tensor, Verdict

RANK = {verdict: number for number, verdict in enumerate(Verdict)}
"""Verdicts from best, 0, to worst."""

GRADIENTS = ("gradient", "input_gradient", "activation_gradient")


@dataclass
class Node:
    """A module in the tree.

    Attributes:
        module: what the report says of it.
        depth: 0 for the model.
        parent: its parent's position in the list of nodes, -1 for the model.
        children: positions of the modules directly below it.
        own: positions, in ``report.tensors``, of the tensors that are its own.
        below: positions of its own and of those of all modules below it.
        shown: position of the tensor whose errors stand in its line: one that fails, else its output; -1 for none.
        verdict: the worst that counts among `below`, without gradients if other tensors fail; None for none.
        name: its path from its parent.
    """

    module: Module
    depth: int
    parent: int
    children: list[int] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    shown: int = -1
    verdict: Verdict | None = None
    name: str = "model"

    @property
    def ok(self) -> bool:
        """Whether nothing that counts at or below it fails."""
        return self.verdict is None or self.verdict.ok


def size(tensor: Tensor) -> float:
    """Return how far it is off, relatively: in float64, in float32 where that was not run; NaN counts as infinite.

    Of a tensor that agrees it is the tolerance that it requires: an error beside a true zero is not told relatively.
    """
    error = tensor.float64 or tensor.float32
    if error is None:
        return 0.0
    value = tensor.required if tensor.verdict.ok else error.max_rel
    return value if value == value else float("inf")


def worst_first(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors, those that fail first, then by their error."""
    return sorted(tensors, key=lambda t: (-RANK[t.verdict] * (not t.ok), -size(t)))


def nodes(report: Report) -> list[Node]:
    """Return the report's modules as a tree, parents before their children; a root is added where there is none."""
    listed = {module.torch_path: module for module in report.modules}
    listed = {"": listed.get("", Module("", "", "")), **listed}
    found: list[Node] = []
    place: dict[str, int] = {}
    # A stable order in which all that is below a module follows it, however the report lists them.
    first = {path: number for number, path in enumerate(listed)}
    for path in sorted(listed, key=lambda path: [first.get(part, 0) for part in _ancestors(path)]):
        parent = next((place[p] for p in reversed(_ancestors(path)[:-1]) if p in place), -1)
        place[path] = len(found)
        node = Node(listed[path], found[parent].depth + 1 if parent >= 0 else 0, parent)
        found.append(node)
        if parent >= 0:
            above = found[parent].module.torch_path
            node.name = path[len(above) + 1 :] if above else path
            found[parent].children.append(place[path])
    for number, tensor in enumerate(report.tensors):
        found[place[_home(tensor.torch_path, place)]].own.append(number)
    _add_up(found, report.tensors)
    return found


def _ancestors(path: str) -> list[str]:
    """Return the paths above it and itself, from the model, "", down."""
    parts = path.split(".") if path else []
    return [".".join(parts[:n]) for n in range(len(parts) + 1)]


def _home(path: str, known: dict[str, int]) -> str:
    """Return the module that a tensor's path belongs to; calls may be numbered: ``layer#1``, ``lstm[0]``."""
    for part in reversed(_ancestors(path)):
        for name in (part, part.split("#")[0].split("[")[0]):
            if name in known:
                return name
    return ""


def _add_up(found: list[Node], tensors: Sequence[Tensor]) -> None:
    # A difference in a gradient is carried back to all layers before it: it tells a place only if nothing else does.
    forward = any(not tensor.ok for tensor in tensors if tensor.kind not in GRADIENTS)

    def tells(tensor: Tensor) -> bool:
        return not (forward and tensor.kind in GRADIENTS)

    for number in reversed(range(len(found))):
        node = found[number]
        node.below[:0] = node.own
        telling = [i for i in node.below if tells(tensors[i])]
        own = [i for i in node.own if tells(tensors[i])]
        counted = [tensors[i].verdict for i in telling if tensors[i].decides]
        node.verdict = max(counted, default=None, key=RANK.__getitem__)
        node.shown = max(own or telling, key=lambda i: _weight(tensors[i]), default=-1)
        if node.parent >= 0:
            found[node.parent].below.extend(node.below)


def _weight(tensor: Tensor) -> tuple[int, bool, float]:
    """Return what is compared to choose the tensor in a module's line: what fails, then outputs, then the error."""
    return RANK[tensor.verdict] * (not tensor.ok), tensor.kind == "output", size(tensor)
