"""What changed since a stored result: old and new milliseconds, their ratio, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .machine import BUSY, Machine
from .rows import Row
from .store import Result

if TYPE_CHECKING:
    from rich.table import Table

# A spread is known from so many rounds on.
_LEAST_ROUNDS = 2
HEADINGS = ("port", "framework", "task", "dtype", "old ms", "new ms", "old ÷ new", "verdict")


@dataclass(frozen=True)
class Change:
    """One framework on one port in one task and precision, before and now.

    Attributes:
        port: name of the port.
        framework: name of the framework.
        task: what was timed.
        dtype: in what.
        old_ms: median, milliseconds; None where nothing was measured.
        new_ms: the same now.
        ratio: old_ms / new_ms, above 1 is faster now; None where one of them is missing.
        verdict: "faster" or "slower" where the medians differ by more than both spreads (median − fastest round)
            together; "same" where they do not; or why that cannot be said.
        gate: what became of the ratio to PyTorch, where it came or went; None where it stayed as it was.
    """

    port: str
    framework: str
    task: str
    dtype: str
    old_ms: float | None
    new_ms: float | None
    ratio: float | None
    verdict: str
    gate: str | None = None


def key(row: Row) -> tuple[str, str, str, str]:
    """Return what a row is about."""
    return row.port, row.framework, row.task, row.dtype


def compare(old: Result, new: Result) -> list[Change]:
    """Return the changes of the ports that are in `new`, in its order; then what the old result has besides of them."""
    before, now = ({key(row): row for row in result.rows} for result in (old, new))
    ports = {row.port for row in new.rows}
    both = [*now, *(known for known in before if known not in now and known[0] in ports)]
    return [_change(known, before.get(known), now.get(known)) for known in both]


def differences(old: Result, new: Result) -> list[str]:
    """Say in one line each what else differs: the machine, the versions, how it was measured, how busy it was."""
    lines = [
        f"{name}: {_shown(getattr(old.machine, name))} then, {_shown(getattr(new.machine, name))} now"
        for name in ("cpu", "cores", "features", "memory_gb", "system", "gpu")
        if getattr(old.machine, name) != getattr(new.machine, name)
    ]
    lines += _differing(old.versions, new.versions, "")
    lines += _differing(old.settings, new.settings, "--")
    if busy := _busy(old.machine, new.machine):
        lines.append(busy)
    return lines


def unmeasured(old: Result, new: Result) -> list[str]:
    """Return the ports that only the old result has."""
    return list(dict.fromkeys(row.port for row in old.rows if row.port not in {r.port for r in new.rows}))


def table(changes: Sequence[Change]) -> Table:
    """Return the changes as a table for a rich console."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title="since then")
    for heading in HEADINGS:
        shown.add_column(heading, justify="right" if heading in HEADINGS[4:7] else "left")
    styles = {"faster": "green", "slower": "red"}
    for change in changes:
        shown.add_row(*map(escape, _cells(change)), style=styles.get(change.verdict))
    return shown


def to_markdown(changes: Sequence[Change]) -> str:
    """Return the changes as a Markdown table, ending in a line feed."""
    rule = ["---:" if heading in HEADINGS[4:7] else "---" for heading in HEADINGS]
    cells = ([cell.replace("|", "\\|") for cell in _cells(change)] for change in changes)
    return "".join(f"| {' | '.join(line)} |\n" for line in (HEADINGS, rule, *cells))


def _cells(change: Change) -> tuple[str, ...]:
    old, new, ratio = (
        "–" if value is None else f"{value:.3g}" for value in (change.old_ms, change.new_ms, change.ratio)
    )
    verdict = "; ".join(filter(None, (change.verdict, change.gate)))
    return change.port, change.framework, change.task, change.dtype, old, new, ratio, verdict


def _change(known: tuple[str, str, str, str], old: Row | None, new: Row | None) -> Change:
    old_ms, new_ms = (None if row is None else row.ms_per_step for row in (old, new))
    ratio = old_ms / new_ms if old_ms is not None and new_ms else None
    gate = None if old is None or new is None else _gate(old, new)
    return Change(*known, old_ms, new_ms, ratio, _verdict(old, new), gate)


def _verdict(old: Row | None, new: Row | None) -> str:
    if old is None or new is None:
        return "new" if old is None else "not measured now"
    if old.ms_per_step is None or new.ms_per_step is None:
        when = "then" if new.ms_per_step is not None else "now" if old.ms_per_step is not None else "either time"
        return f"nothing was measured {when}"
    if (old.batch, old.steps) != (new.batch, new.steps):
        return f"another problem: {_size(old)} then, {_size(new)} now"
    if min(old.rounds, new.rounds) < _LEAST_ROUNDS or old.min_ms is None or new.min_ms is None:
        return "one round has no spread"
    spread = (old.ms_per_step - old.min_ms) + (new.ms_per_step - new.min_ms)
    if abs(new.ms_per_step - old.ms_per_step) <= spread:
        return "same"
    return "faster" if new.ms_per_step < old.ms_per_step else "slower"


def _size(row: Row) -> str:
    return f"{row.steps} steps of {row.batch}"


def _gate(old: Row, new: Row) -> str | None:
    if (old.ratio_to_best_torch is None) == (new.ratio_to_best_torch is None):
        return None
    return f"no ratio any more: {new.reason}" if new.ratio_to_best_torch is None else "has a ratio now"


def _differing(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> list[str]:
    names = [name for name in {**old, **new} if name != "names" and old.get(name) != new.get(name)]
    # A setting that nobody gave is the default, a package without a version is not there.
    absent = "the default" if prefix else "none"
    return [
        f"{prefix}{name}: {_shown(old.get(name), absent)} then, {_shown(new.get(name), absent)} now" for name in names
    ]


def _busy(old: Machine, new: Machine) -> str | None:
    """Above one running process a machine is doing other work, which is measured too."""
    loads = (old.load, new.load)
    if all(load is None or load < BUSY for load in loads):
        return None
    return "busy machine: load average {} before the run then, {} now".format(*map(_shown, loads))


def _shown(value: Any, absent: str = "none") -> str:
    if value is None:
        return absent
    return ",".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else str(value)
