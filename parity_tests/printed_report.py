"""Computes every number that the tutorials print, and writes docs/printed_numbers.md from what came out.

    python parity_tests/printed_report.py

It needs the real data sets: JAXPORT_DATA, or shared/data beside the repository. It ends with exit status 1 if a row is
not what its kind says.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
from printed_numbers import ALL
from printed_numbers.printed_judge import as_text, difference, evaluate, verdict
from printed_numbers.printed_row import DIFFERENT, KINDS, Printed

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "printed_numbers.md"
TUTORIALS = {
    "000": "PyTorch in practice",
    "001": "PyTorch basics",
    "002": "20-day tutorial",
    "003": "PyTorch notes",
    "004": "PyTorch notes, quick start",
}
LONGEST = 110


def data_folder() -> Path | None:
    """Return the folder of the real data sets, or None."""
    folder = Path(os.environ.get("JAXPORT_DATA") or ROOT.parent / "shared" / "data")
    return folder if folder.is_dir() else None


def folder_of(row: Printed, data: Path) -> Path:
    """Return the folder of one row's data set."""
    return data / row.data


def problem(module: ModuleType, row: Printed, folder: Any = None) -> str:
    """Return why a row is not what its kind says; an empty string if it is.

    One that comes out must be as printed. One that does not must differ from the printed text, and be what PyTorch
    2.13 gives; where it says what the text became, the rest of the text must be the same.
    """
    found = verdict(module, row, folder)
    if row.kind not in DIFFERENT:
        return found
    if not found:
        return f"it comes out as printed, and is said not to ({row.kind})"
    value, theirs = evaluate(module, row, folder), evaluate(module, row, folder, "torch")
    problems = [difference(value, as_text(theirs), row.x64, row.reach)]
    if row.became:
        problems.append(difference(value, row.printed.replace(*row.became), row.x64, row.reach))
    return "; ".join(filter(None, problems))


def counts() -> dict[str, Counter]:
    """Return how many rows of each kind each tutorial has."""
    found = {tutorial: Counter() for tutorial in TUTORIALS}
    for _, row in ALL:
        found[row.tutorial][row.kind] += 1
    return found


def short(text: str) -> str:
    """Return a text for a cell of a table."""
    line = " ".join(text.split()).replace("|", "\\|")
    return f"`{line if len(line) <= LONGEST else line[: LONGEST - 2] + ' …'}`"


def cells(rows: list[tuple[ModuleType, Printed]]) -> list[str]:
    """Return what a row prints, what PyTorch 2.13 prints and what we give; of a network, only the text that changed."""
    module, row = rows[0]
    if row.became:
        return [short(row.became[0]), short(row.became[1]), short(row.became[1])]
    values = [evaluate(module, row, None, which) for which in ("torch", "compute")]
    return [short(row.printed), *(short(as_text(value)) for value in values)]


def different_table() -> list[str]:
    """Return the lines of the table of what does not come out; the networks in which one text changed share a line."""
    groups: dict[Any, list[tuple[ModuleType, Printed]]] = {}
    for module, row in ALL:
        if row.kind in DIFFERENT:
            groups.setdefault(row.became or row.place, []).append((module, row))
    lines = ["| place: line | what | printed | PyTorch 2.13 | jaxport | why |", "|---|---|---|---|---|---|"]
    for rows in groups.values():
        first = rows[0][1]
        places = f"{TUTORIALS[first.tutorial]}, " + ", ".join(row.place[4:].replace(":", ": ") for _, row in rows)
        what = short(first.what) if len(rows) == 1 else f"{len(rows)} networks"
        lines.append(" | ".join([f"| {places}", what, *cells(rows), f"{first.reason} |"]))
    return lines


def count_table() -> list[str]:
    """Return the lines of the table of counts."""
    lines = ["| tutorial | numbers | come out | do not |", "|---|---|---|---|"]
    totals = Counter()
    for tutorial, found in counts().items():
        not_out = sum(found[kind] for kind in DIFFERENT)
        lines.append(f"| {TUTORIALS[tutorial]} | {found.total()} | {found.total() - not_out} | {not_out} |")
        totals += found
    not_out = sum(totals[kind] for kind in DIFFERENT)
    return [*lines, f"| together | {totals.total()} | {totals.total() - not_out} | {not_out} |"]


def kind_table() -> list[str]:
    """Return the lines of the table of kinds."""
    totals = sum(counts().values(), Counter())
    return ["| kind | what | numbers |", "|---|---|---|", *(f"| {k} | {v} | {totals[k]} |" for k, v in KINDS.items())]


def page(text: str) -> str:
    """Return the page with its tables made anew; what stands between the tables is kept."""
    for name, lines in (("counts", count_table()), ("kinds", kind_table()), ("different", different_table())):
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        head, rest = text.split(start)
        text = head + start + "\n".join(lines) + "\n" + end + rest.split(end)[1]
    return text


def main() -> int:
    """Judge every row, print the report and write the page."""
    data = data_folder()
    bad = []
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        for module, row in ALL:
            if row.data and data is None:
                bad.append(f"{row.place} {row.what}: no real data; set JAXPORT_DATA to the folder that holds them")
            elif found := problem(module, row, data and folder_of(row, data)):
                bad.append(f"{row.place} {row.what}: {found}")
        if not bad:
            PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        print(*count_table(), "", *different_table(), *bad, sep="\n")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
