"""The table of the zoo: detected, located and named, for each trap.

``python -m parity_tests.trap_zoo.table`` prints it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from jaxport.parity.comparison import compare
from jaxport.parity.lockstep import train
from jaxport.parity.result import Report
from jaxport.parity.traps import TRAPS

from .entry import ENTRIES, Compared, Entry

_SEEN_BY_A_FINDING = {"cause/no-update": "train/no-op"}
"""Findings of the comparison itself that say what a cause would."""


_NARROW = (4, 30, 31)


@dataclass(frozen=True)
class Row:
    """What the harness says of one entry.

    Attributes:
        entry: the entry.
        report: the comparison.
        detected: it does not pass, or, where float64 is equal by design, what is particular is said.
        located: the first tensor that differs is the one in which the mistake is made.
        named: the first cause at that place is the right one.
        linted: the linter names the trap before anything runs.
    """

    entry: Entry
    report: Report

    @property
    def detected(self) -> bool:
        return not self.report.ok or (not self.entry.kind and self.located)

    @property
    def located(self) -> bool:
        entry = self.entry
        if not entry.kind:  # an effect that passes, and is noted at its tensor
            return any(t.torch_path == entry.path and t.note for t in self.report.tensors)
        first = next((t for t in self.report.tensors if not t.ok and t.kind == entry.kind), None)
        divergence = self.report.first_divergence
        at_first = divergence is not None and (divergence.kind == entry.kind or bool(self.report.steps))
        return at_first and first is not None and first.torch_path == entry.path

    @property
    def causes(self) -> list[str]:
        return [finding.rule for finding in self.report.findings if finding.rule.startswith("cause/")]

    @property
    def named(self) -> bool:
        wanted = self.entry.cause
        said = {finding.rule for finding in self.report.findings}
        return self.causes[:1] == [wanted] or _SEEN_BY_A_FINDING.get(wanted) in said

    @property
    def linted(self) -> bool:
        return any(f.rule.startswith("lint/") and f.trap == self.entry.trap for f in self.report.findings)


def run(entry: Entry) -> Row:
    """Compare an entry's models."""
    made = entry.make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of KLDivLoss's default
        # float64 decides; float32 is run where the trap is one of rounding.
        dtypes = {} if entry.trap in _NARROW else {"dtypes": ("float64",)}
        if isinstance(made, Compared):
            options = {**dtypes, **made.options}
            return Row(entry, compare(made.jax, made.torch, made.inputs, weights=made.weights, **options))
        return Row(entry, train(**{**dtypes, **made.arguments}))


def markdown(rows: Iterable[Row]) -> str:
    """Return the table: a trap counts where every one of its entries does."""
    found = list(rows)
    lines = [
        "| # | trap | committed as | detected | located | named | by the linter |",
        "|---|---|---|---|---|---|---|",
    ]
    totals = [0, 0, 0, 0]
    for trap in TRAPS:
        mine = [row for row in found if row.entry.trap == trap.number]
        marks = [
            bool(mine) and all(getattr(row, what) for row in mine)
            for what in ("detected", "located", "named", "linted")
        ]
        totals = [total + mark for total, mark in zip(totals, marks, strict=True)]
        names = "; ".join(row.entry.name.replace("_", " ") for row in mine)
        lines.append(f"| {trap.number} | {trap.title} | {names} | {' | '.join('yes' if m else '–' for m in marks)} |")
    lines.append(f"| | **of 33** | {len(found)} models | {' | '.join(f'**{total}**' for total in totals)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(map(run, ENTRIES)))
