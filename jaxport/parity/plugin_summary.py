"""What the pytest plugin keeps of each comparison, and what it makes of all of them at the end of a run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from . import ratchet
from .deviations import Accepted, Deviation, Problem
from .ratchet import Required, write_whole
from .result import Report, Verdict

SCHEMA = 1
"""Version of the file with all results, in its key "schema"."""

Entry = dict[str, Any]
"""A comparison's result: text, numbers, lists and dictionaries only, as pytest-xdist carries them."""


def entry_of(report: Report, test: str, accepted: list[Accepted], problems: list[Problem]) -> Entry:
    """Return what is kept of a comparison."""
    # Numbers of NumPy are made Python's: pytest-xdist carries no others.
    wide = [float(tensor.float64.max_rel) for tensor in report.tensors if tensor.decides and tensor.float64]
    first = report.first_divergence
    return {
        "test": test,
        "title": report.title,
        "ok": not problems,
        "verdict": _verdict(report),
        "tensors": sum(tensor.decides for tensor in report.tensors),
        "steps": len(report.steps),
        "worst_float64": max(wide, key=lambda error: math.inf if math.isnan(error) else error) if wide else None,
        "first_divergence": first.name if first else "",
        "problems": [problem.text for problem in problems],
        "accepted": [{"id": one.deviation.id, "name": one.problem.name} for one in accepted],
        "required": ratchet.measure(report),
        "covering": [],
        "stored": True,
        "files": [],
    }


def _verdict(report: Report) -> str:
    if report.ok:
        found = [tensor.verdict for tensor in report.tensors if tensor.decides]
        return str(Verdict.ROUNDING if Verdict.ROUNDING in found else Verdict.EQUAL)
    failing = [tensor.verdict for tensor in report.tensors if not tensor.ok]
    only_suspicious = failing and Verdict.DIFFERENT not in failing and all(step.ok for step in report.steps)
    return str(Verdict.SUSPICIOUS if only_suspicious else Verdict.DIFFERENT)


def write_files(report: Report, test: str, folder: Path) -> list[str]:
    """Write a report as JSON, and as a page where the module that makes it is installed; return the files' names."""
    name = re.sub(r"[^\w.-]+", "_", test)[-100:] + "-" + sha256(test.encode()).hexdigest()[:8]
    write_whole(folder / f"{name}.json", report.to_json())
    from .show.html import html

    write_whole(folder / f"{name}.html", html(report))
    return [f"{name}.json", f"{name}.html"]


class Collector:
    """Gathers the results of all tests, of all workers, and shows and writes them at the end.

    Args:
        deviations: the accepted ones.
        strict: whether one that nothing needs makes the run fail.
        json_file: where all results go, None for nowhere.
        ratchet_file: where the required tolerances are to be stored, None for nowhere.
    """

    def __init__(
        self, deviations: tuple[Deviation, ...], strict: bool, json_file: Path | None, ratchet_file: Path | None
    ) -> None:
        self.deviations, self.strict = deviations, strict
        self.json_file, self.ratchet_file = json_file, ratchet_file
        self.entries: dict[str, Entry] = {}
        self.troubles: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a test's results; those of a test that is run again replace the first."""
        for entry in getattr(report, "jaxport_parity", ()):
            self.entries[entry["test"]] = entry

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files, and fail the run where an accepted deviation is not needed and it must be."""
        try:
            self._write()
        except ValueError as error:
            self.troubles.append(str(error))
        if self.strict:
            self.troubles += [*self._unused(), *self._not_stored()]
        if self.troubles and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show a line a comparison, the deviations, and what is wrong with the run."""
        lines = [*self._table(), *self._deviation_lines()]
        if not (lines or self.troubles):
            return
        terminalreporter.section("parity with PyTorch")
        for line in lines:
            terminalreporter.write_line(line)
        for trouble in self.troubles:
            terminalreporter.write_line(f"parity error: {trouble}", red=True)

    def _write(self) -> None:
        if self.json_file is not None:
            rows = [_plain(self.entries[test]) for test in sorted(self.entries)]
            data = {"schema": SCHEMA, "ok": all(row["ok"] for row in rows), "comparisons": rows}
            data["unused_deviations"] = [deviation.id for deviation in self._not_used()]
            write_whole(self.json_file, json.dumps(data, indent=1, allow_nan=False) + "\n")
        if self.ratchet_file is not None:
            ratchet.save(self.ratchet_file, self._stored_and_new(self.ratchet_file))

    def _stored_and_new(self, path: Path) -> dict[str, Required]:
        """Return the stored tolerances with those of the tests that passed now in place of theirs."""
        before = ratchet.load(path) if path.exists() else {}
        return before | {test: entry["required"] for test, entry in self.entries.items() if entry["ok"]}

    def _table(self) -> Iterator[str]:
        if not self.entries:
            return
        for test in sorted(self.entries):
            entry = self.entries[test]
            worst = entry["worst_float64"]
            number = "      -" if worst is None else f"{worst:7.1e}"
            verdict = "accepted" if entry["ok"] and entry["accepted"] else entry["verdict"]
            verdict = "FAILED" if not entry["ok"] and verdict in ("equal", "rounding") else verdict
            first = f"  first: {entry['first_divergence']}" if entry["first_divergence"] else ""
            yield f"{verdict:<10} {number}  {test}{first}"
        passed = sum(entry["ok"] for entry in self.entries.values())
        yield f"{passed} of {len(self.entries)} comparisons pass; the number is the largest float64 error"

    def _deviation_lines(self) -> Iterator[str]:
        used = self._used()
        for one in self.deviations:
            if one.id in used:
                yield f"accepted until {one.expires}: {one.id} ({one.reason}), {used[one.id]} times"
        if not self.strict:
            yield from self._unused()
            yield from self._not_stored()

    def _not_stored(self) -> Iterator[str]:
        new = [test for test, entry in self.entries.items() if not entry["stored"]]
        if new and self.ratchet_file is None:
            yield f"{len(new)} comparisons are not in the ratchet, the first is {min(new)}"

    def _used(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for entry in self.entries.values():
            for one in entry["accepted"]:
                counts[one["id"]] = counts.get(one["id"], 0) + 1
        return counts

    def _not_used(self) -> list[Deviation]:
        used = self._used()
        return [one for one in self.deviations if one.id not in used]

    def _unused(self) -> Iterator[str]:
        ran = {name for entry in self.entries.values() for name in entry["covering"]}
        for one in self._not_used():
            why = "the tests that it covers do not need it" if one.id in ran else "no test that it covers was run"
            yield f"accepted deviation {one.id!r} was not used: {why}"


def _plain(value: Any) -> Any:
    """Return a copy for JSON: numbers that are not finite become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, Iterable) and not isinstance(value, str) else value
