"""What an HLO text must not hold: slow operations, found without running or compiling anything."""

from __future__ import annotations

import re
from typing import NamedTuple

# The form that XLA's CPU backend also runs fast inside a loop: batch first, channels last, an unreversed kernel.
# A 3 × 3 convolution of 32 × 16 × 16 × 16 took 1.1 ms a turn in this form, 23 ms with channels first; its weight
# gradient 1.2 ms and, as JAX derives it (f01b_i01o->01bf), 154 ms. Outside of a loop all four take 1.0 to 1.6 ms.
_FAST = re.compile(r"b(\d*)f_\1io->b\1f")

_COMPUTATION = re.compile(r"^(?:ENTRY\s+)?%?([\w.\-]+)\s*(?:\(.*\)\s*->.*)?\{\s*$")
_CALLED = re.compile(
    r"(?:condition|body|to_apply|calls|true_computation|false_computation|branch_computations|called_computations)="
    r"(\{[^}]*\}|%?[\w.\-]+)"
)
_OPERATION = re.compile(r"^\s*(?:ROOT\s+)?%?[\w.\-]+ = .*?\s([a-z][\w\-]*)\(")


class Convolution(NamedTuple):
    """A convolution of a program.

    Attributes:
        labels: how its axes are ordered, "b01f_01io->b01f".
        looped: whether it is inside a loop.
        fast: whether a CPU runs it fast inside one.
    """

    labels: str
    looped: bool
    fast: bool


def computations(text: str) -> dict[str, list[str]]:
    """Return the computations of an HLO text: name → lines."""
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in text.splitlines():
        head = _COMPUTATION.match(line)
        if head and not line.startswith((" ", "HloModule")):
            lines = found.setdefault(head[1], [])
        elif line.startswith("}"):
            lines = None
        elif lines is not None:
            lines.append(line)
    return found


def operation(line: str) -> str | None:
    """Return the name of a line's operation: "add", "while", "convolution"; None for a line that is none."""
    found = _OPERATION.match(line)
    return found[1] if found else None


def looped(parts: dict[str, list[str]]) -> set[str]:
    """Return the computations that run inside a while loop, at any depth."""
    calls = {name: {called for line in lines for called in _called(line)} for name, lines in parts.items()}
    bodies = (_called(line) for lines in parts.values() for line in lines if operation(line) == "while")
    left, inside = {name for body in bodies for name in body}, set()
    while left:
        name = left.pop()
        inside.add(name)
        left |= calls.get(name, set()) - inside
    return inside


def _called(line: str) -> set[str]:
    return {name for found in _CALLED.findall(line) for name in re.findall(r"[\w.\-]+", found)}


def convolutions(text: str) -> list[Convolution]:
    """Return a program's convolutions, from its HLO text (``lowered.as_text(dialect="hlo")``)."""
    parts = computations(text)
    inside = looped(parts)
    found = []
    for name, lines in parts.items():
        for line in lines:
            if operation(line) == "convolution":
                labels = re.search(r"dim_labels=([\w>\-]+)", line)
                labels = labels[1] if labels else "?"
                plain = "rhs_reversal" not in line and not re.search(r"batch_group_count=(?!1\b)", line)
                found.append(Convolution(labels, name in inside, bool(_FAST.fullmatch(labels)) and plain))
    return found


def hlo_problems(text: str, backend: str = "cpu", loops: bool = True) -> list[str]:
    """Return what is slow in a program, one line for each; nothing for a program as it should be.

    - ``select-and-scatter``, the gradient of pooling by ``reduce_window``: 40 to 60 ms of a step of 150 ms.
    - On a CPU, a convolution in a loop that is not in the one form that is fast there.

    Args:
        text: HLO, before or after optimisation.
        backend: what the program is for.
        loops: whether a convolution in the fast form is allowed in a loop. The engine puts short ones alone there: it
            dispatches others on a CPU step by step, as a call costs little beside them, and not every one is jaxport's.
    """
    names = [operation(line) for lines in computations(text).values() for line in lines]
    if not names:
        return ["no computation was found: this is no HLO text"]
    problems = [f"{count} select-and-scatter"] if (count := names.count("select-and-scatter")) else []
    if backend != "cpu":
        return problems
    inside = [found for found in convolutions(text) if found.looped and not (loops and found.fast)]
    return problems + [f"convolution {found.labels} inside a loop" for found in inside]
