"""Rows for people: a table for the terminal and one in Markdown; columns of which no row has a value are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .rows import Row

# Where less than this is left for it, how each framework ran stands below the table and not in it.
_LEAST_HOW = 40


class _Column(NamedTuple):
    heading: str
    short: str
    cell: Callable[[Row], str]
    number: bool = True


def fixed(value: float | None, digits: int = 2) -> str:
    """Return a number with so many decimals, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def significant(value: float | None) -> str:
    """Return a number with three digits, or a dash."""
    return "–" if value is None else f"{value:.3g}" if value < 999.5 else f"{value:.0f}"


def thousands(value: float | None) -> str:
    """Return a number with three digits and k or M, or a dash."""
    if value is None:
        return "–"
    power, unit = next(((p, u) for p, u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= 0.9995 * p), (1.0, ""))
    return f"{significant(value / power)}{unit}"


def how(row: Row) -> str:
    """Return how the framework ran, and why there is no ratio."""
    return "; ".join(text for text in (row.variant, row.device, row.data, beginning(row), row.reason) if text)


def beginning(row: Row) -> str | None:
    """Say how many steps were judged, where these are not all."""
    return f"judged by the first {row.judged} of {row.steps} steps" if row.judged and row.judged < row.steps else None


_COLUMNS = (
    _Column("port", "port", lambda row: row.port, number=False),
    _Column("task", "task", lambda row: row.task, number=False),
    _Column("dtype", "dtype", lambda row: row.dtype, number=False),
    _Column("framework", "framework", lambda row: row.framework, number=False),
    _Column("ms per step", "ms", lambda row: significant(row.ms_per_step)),
    _Column("× best PyTorch", "× torch", lambda row: fixed(row.ratio_to_best_torch)),
    _Column("floor, ms", "floor", lambda row: significant(row.floor_ms)),
    _Column("× floor", "× floor", lambda row: significant(row.times_floor)),
    _Column("examples/s", "ex/s", lambda row: thousands(row.examples_per_s)),
    _Column("compile s", "compile s", lambda row: fixed(row.compile_s)),
    _Column("first epoch s", "1st epoch s", lambda row: fixed(row.first_epoch_s)),
    _Column("second start s", "2nd start s", lambda row: fixed(row.second_start_s)),
    _Column("peak MB", "peak MB", lambda row: fixed(row.peak_memory_mb, 0)),
    _Column("batch", "batch", lambda row: str(row.batch)),
    _Column("how", "how", how, number=False),
)


def _columns(rows: Sequence[Row], leave_out: Sequence[str] = ()) -> list[_Column]:
    """Return the columns that say something: a task and a precision that is not everywhere the usual, a value."""
    usual = {"task": {"step"}, "dtype": {"float32"}}
    kept = []
    for column in _COLUMNS:
        cells = {column.cell(row) for row in rows}
        always = column.heading in ("ms per step", "× best PyTorch", "compile s", "how")
        silent = cells <= usual.get(column.heading, {"–"} if not always else set())
        if column.heading not in leave_out and not silent:
            kept.append(column)
    # A row of another task is no step.
    named = "ms per step" if all(row.task == "step" for row in rows) else "ms"
    return [column._replace(heading=named) if column.heading == "ms per step" else column for column in kept]


class _Shown:
    """A table that fits its console."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield what fits the console's width."""
        if _needed_width(self.rows) + _LEAST_HOW <= options.max_width:
            yield _wide(self.rows)
            return
        yield _narrow(self.rows)
        yield from _notes(self.rows)


def table(rows: Sequence[Row]) -> _Shown:
    """Return the rows as a table for a rich console; above 1 in "× best PyTorch" is faster than PyTorch at its best.

    On a wide console everything is in it; on a narrow one, how each framework ran stands below.
    """
    return _Shown(rows)


def to_markdown(rows: Sequence[Row], leave_out: Sequence[str] = ()) -> str:
    """Return the rows as a Markdown table, one line a row, ending in a line feed, without the headings `leave_out`."""
    columns = _columns(rows, leave_out)
    rule = ["---:" if column.number else "---" for column in columns]
    cells = ([column.cell(row).replace("|", "\\|") for column in columns] for row in rows)
    lines = ([column.heading for column in columns], rule, *cells)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _needed_width(rows: Sequence[Row]) -> int:
    """Return how wide the table is without its last column; each has a frame and spaces around it."""
    columns = _columns(rows, ("how",))
    return sum(3 + max(len(text) for text in (c.heading, *map(c.cell, rows))) for c in columns)


def _wide(rows: Sequence[Row]) -> Table:
    shown, columns = Table(title="JAX against PyTorch"), _columns(rows)
    for column in columns:
        shown.add_column(column.heading, justify="right" if column.number else "left", no_wrap=column.heading != "how")
    for before, row in _pairs(rows):
        if before is not None and _group(before) != _group(row):
            shown.add_section()
        shown.add_row(*(escape(column.cell(row)) for column in columns), style=_style(row))
    return shown


def _narrow(rows: Sequence[Row]) -> Table:
    """Return a table in which a line of its own says port, task and precision."""
    columns = _columns(rows, ("port", "task", "dtype", "how", "batch"))
    shown = Table(title="JAX against PyTorch", box=None, padding=(0, 1), header_style="bold")
    for column in columns:
        shown.add_column(column.short, justify="right" if column.number else "left", no_wrap=not column.number)
    for before, row in _pairs(rows):
        if before is None or _group(before) != _group(row):
            if before is not None:
                shown.add_row()
            shown.add_row(Text(_group(row), style="bold"))
        shown.add_row(*(escape(column.cell(row)) for column in columns), style=_style(row))
    return shown


def _notes(rows: Sequence[Row]) -> Iterable[Text]:
    """Yield how each framework ran, said once for all ports of which it is true."""
    ports: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        if text := how(row):
            ports.setdefault((row.framework, text), {})[_group(row)] = None
    yield Text("\n× torch: times as fast as PyTorch at its best; none where both did not compute the same.\n")
    for (framework, text), groups in ports.items():
        where = "everywhere" if len(groups) == len({_group(row) for row in rows}) else ", ".join(groups)
        yield Text.assemble((framework, "bold"), f" · {where}: {text}")


def _group(row: Row) -> str:
    return " ".join([row.port, row.task, *([row.dtype] if row.dtype != "float32" else [])])


def _pairs(rows: Sequence[Row]) -> Iterable[tuple[Row | None, Row]]:
    return zip((None, *rows), rows, strict=False)


def _style(row: Row) -> str | None:
    """What loses to PyTorch is as easy to see as what wins."""
    if row.framework.startswith("torch") or row.ratio_to_best_torch is None:
        return None
    return "green" if row.ratio_to_best_torch >= 1 else "red"
