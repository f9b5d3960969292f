"""Writes the table of docs/lr_scheduler.md from runs: python parity_tests/scheduler_report.py."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import jax
import scheduler_runs
from scheduler_cases import COMPOSED, PLATEAU, SCHEDULES, metrics

PAGE = Path(__file__).parents[1] / "docs" / "lr_scheduler.md"
BEGIN, END = "<!-- scheduler report -->\n", "<!-- end of scheduler report -->"


def rows() -> list[str]:
    """Run every case in both precisions and return a line for each scheduler."""
    runs = [(spec, {}) for spec in (*SCHEDULES, *COMPOSED.values())]
    runs += [(("ReduceLROnPlateau", row), {"metrics": metrics(f"{row} 0")}) for row in PLATEAU]
    table: dict[str, list[float]] = {}
    for spec, options in runs:
        row = table.setdefault(spec[0], [0, 0.0, 0.0])
        row[0] += 1
        for column, dtype in enumerate(("float64", "float32"), 1):
            scheduler_runs.WORST.clear()
            if findings := scheduler_runs.schedule_findings(spec, dtype, **options):
                raise SystemExit(f"{spec}: {findings}")
            row[column] = max(row[column], scheduler_runs.WORST[dtype])
    return [
        f"| {name} | {count} | {worst64:.1e} | {worst32:.1e} |" for name, (count, worst64, worst32) in table.items()
    ]


def main() -> None:
    warnings.simplefilter("error")
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        lines = ["| scheduler | cases | float64 | float32 |", "|---|---|---|---|", *rows()]
    text = PAGE.read_text(encoding="utf-8")
    section = re.compile(f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", re.DOTALL)
    PAGE.write_text(section.sub("\n".join(lines) + "\n", text), encoding="utf-8")


if __name__ == "__main__":
    main()
