"""Rows for people: a table for the terminal and one in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from .rows import Row

_HEADINGS = ("port", "framework", "ms per step", "× best PyTorch", "compile s", "batch", "how")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.port,
        row.framework,
        "–" if row.ms_per_step is None else f"{row.ms_per_step:.3g}",
        "–" if row.ratio_to_best_torch is None else f"{row.ratio_to_best_torch:.2f}",
        "–" if row.compile_s is None else f"{row.compile_s:.2f}",
        str(row.batch),
        "; ".join(text for text in (row.variant, row.device, row.reason) if text),
    )


def table(rows: Sequence[Row]) -> Table:
    """Return the rows as a table for a rich console; above 1 in "× best PyTorch" is faster than PyTorch at its best."""
    shown = Table(title="JAX against PyTorch")
    for heading in _HEADINGS:
        shown.add_column(heading, justify="right" if heading in _HEADINGS[2:6] else "left")
    for before, row in zip((None, *rows), rows, strict=False):
        if before is not None and before.port != row.port:
            shown.add_section()
        shown.add_row(*map(escape, _cells(row)))
    return shown


def to_markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table, one line a row, ending in a line feed."""
    rule = ["---:" if heading in _HEADINGS[2:6] else "---" for heading in _HEADINGS]
    cells = ([cell.replace("|", "\\|") for cell in _cells(row)] for row in rows)
    lines = (_HEADINGS, rule, *cells)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
