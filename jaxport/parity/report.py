"""How the checks of ports are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table

from .check import Check


def by_port(checks: Iterable[Check]) -> dict[str, list[Check]]:
    """Return the checks of each port, in their order."""
    groups: dict[str, list[Check]] = {}
    for check in checks:
        groups.setdefault(check.port, []).append(check)
    return groups


def summary_row(name: str, checks: Sequence[Check]) -> list[str]:
    """Return a port's line: checks passed, worst float64 error, worst float32 share of its limit, verdict."""
    steady = [c for c in checks if c.dtype == "float64" and "/free/" not in c.check]
    free = [c for c in checks if c.dtype == "float64" and "/free/params" in c.check]
    narrow = [c.max_abs / c.limit for c in checks if c.dtype == "float32" and c.limit > 0]
    passed = sum(check.ok for check in checks)
    return [
        name,
        f"{passed} of {len(checks)}",
        f"{max((c.max_rel for c in steady), default=float('nan')):.1e}",
        f"{max((c.max_rel for c in free), default=float('nan')):.1e}",
        f"{max(narrow, default=float('nan')):.2f}",
        "equal" if passed == len(checks) else "DIFFERENT",
    ]


HEADER = (
    "port",
    "checks passed",
    "worst float64 error",
    "parameters after free steps",
    "worst float32 error / limit",
    "verdict",
)


def summary_table(checks: Sequence[Check]) -> Table:
    """Return one line a port."""
    table = Table(title="parity with PyTorch")
    for number, title in enumerate(HEADER):
        table.add_column(title, justify="left" if number in (0, 5) else "right")
    for name, group in by_port(checks).items():
        table.add_row(*summary_row(name, group))
    return table


def failures_table(checks: Sequence[Check], most: int = 20) -> Table:
    """Return the checks that do not hold, the first `most` of them."""
    failed = [check for check in checks if not check.ok]
    shown = f"the first {most} of {len(failed)}" if len(failed) > most else str(len(failed))
    table = Table(title=f"what differs ({shown})")
    for title in ("port", "check", "dtype", "max abs", "max rel", "limit", "note"):
        table.add_column(title, justify="right" if title.startswith(("max", "limit")) else "left")
    for check in failed[:most]:
        numbers = (f"{value:.2e}" for value in (check.max_abs, check.max_rel, check.limit))
        table.add_row(check.port, check.check, check.dtype, *numbers, escape(check.note))
    return table


def to_markdown(checks: Sequence[Check]) -> str:
    """Return the summary as a Markdown table."""
    rows = [HEADER, ("---", *("---:",) * 4, "---"), *(summary_row(*item) for item in by_port(checks).items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
