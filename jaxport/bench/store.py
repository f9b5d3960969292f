"""A benchmark's result as a file: rows, machine, versions, command; by docs/benchmarks.schema.json."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jaxport.errors import UsageError

from .limits import Limits
from .machine import Machine, this_machine, versions
from .rows import Row

WHAT = "jaxport bench"
SCHEMA = 1
_TEXT = {"port", "framework", "device", "reason", "variant", "task", "dtype", "data"}
_WHOLE = {"steps", "batch", "rounds", "judged"}
_NEEDED = {"port", "framework", "task", "dtype", "steps", "batch", "rounds"}


@dataclass(frozen=True)
class Result:
    """A benchmark and where it was run.

    Attributes:
        date: when it began, in UTC, ISO 8601.
        command: that repeats it.
        settings: frameworks, tasks, dtypes, steps and rounds that were asked for (null: the default).
        machine: what it ran on.
        versions: of Python and the packages.
        rows: what was measured, port by port.
        limits: of the machine, in the form of ``jaxport.bench.limits.Limits``; None where they were not measured.
    """

    date: str
    command: str
    settings: Mapping[str, Any]
    machine: Machine
    versions: Mapping[str, str]
    rows: tuple[Row, ...] = field(default=())
    limits: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what the file holds."""
        return {"what": WHAT, "schema": SCHEMA, **dataclasses.asdict(self)}

    def with_rows(self, rows: Sequence[Row]) -> Result:
        """Return the same with these rows after its own; those of a port stay together."""
        every = (*self.rows, *rows)
        ports = list(dict.fromkeys(row.port for row in every))
        return dataclasses.replace(self, rows=tuple(sorted(every, key=lambda row: ports.index(row.port))))


# What a result may hold more of, once it is gone on with.
_JOINED = ("tasks", "dtypes")


def begin(command: str, settings: Mapping[str, Any]) -> Result:
    """Return a result without rows, of this machine at this time."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Result(date, command, dict(settings), this_machine(), versions())


def write(result: Result, path: str | Path) -> None:
    """Write a result; the file appears whole, or stays as it was.

    Raises:
        UsageError: it cannot be written.
    """
    from jaxport.viz.table import to_json, write_atomic

    write_atomic(path, (to_json(result.as_dict()) + "\n").encode())


def continued(result: Result, path: str | Path, resume: bool) -> Result:
    """Return the result that a file holds, if `resume` and there is one, to go on with; otherwise `result`.

    It may have been measured for other tasks and dtypes: those of `result` join them.

    Raises:
        UsageError: the file is there and `resume` is False; its folder is not there; or it was measured with other
            settings, versions or on another machine.
    """
    from .compare import differences

    if not Path(path).exists():
        if not Path(path).parent.is_dir():
            raise UsageError(f"{path} cannot be written: there is no folder {Path(path).parent}")
        return result
    if not resume:
        raise UsageError(f"{path} is there already: --resume goes on with it, or give another name")
    before = read(path)
    both = {name: _joined(before.settings.get(name), result.settings.get(name)) for name in _JOINED}
    command = before.command if both == _only(before.settings) else f"{before.command}; {result.command}"
    before = dataclasses.replace(before, command=command, settings={**before.settings, **both})
    same_load = dataclasses.replace(result, machine=dataclasses.replace(result.machine, load=before.machine.load))
    same_load = dataclasses.replace(same_load, settings={**result.settings, **both})
    lines = [line for line in differences(before, same_load) if not line.startswith("busy")]
    if lines:
        raise UsageError(f"{path} cannot be gone on with, it was measured otherwise: {lines[0]}")
    busier = max(before.machine.load or 0.0, result.machine.load or 0.0)
    return dataclasses.replace(before, machine=dataclasses.replace(before.machine, load=busier))


def _joined(before: list[str] | None, now: list[str] | None) -> list[str]:
    return list(dict.fromkeys([*(before or []), *(now or [])]))


def _only(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings.get(name) for name in _JOINED}


def read(path: str | Path) -> Result:
    """Read what `write` wrote; fields that this version does not know are left out.

    Raises:
        UsageError: there is no such file, or it is not a benchmark's result of this schema.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no result of `jaxport bench --out`: no JSON: {error}") from None
    if not isinstance(content, dict) or content.get("what") != WHAT:
        raise UsageError(f'{path} is no result of `jaxport bench --out`: "what" is not {WHAT!r}')
    if content.get("schema") != SCHEMA:
        raise UsageError(f"{path} has schema {content.get('schema')!r}; this version of jaxport reads {SCHEMA}")
    try:
        return _result(content)
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"{path} is a damaged result of `jaxport bench`: {what}") from None


def _result(content: Mapping[str, Any]) -> Result:
    for name, kind in (
        ("date", str),
        ("command", str),
        ("settings", dict),
        ("versions", dict),
        ("rows", list),
        ("machine", dict),
    ):
        if not isinstance(content[name], kind):
            raise TypeError(f"{name} is {content[name]!r}")
    rows, machine = tuple(map(_row, content["rows"])), _machine(content["machine"])
    limits = content.get("limits")
    if limits is not None:  # results of older versions have none
        limits = Limits.from_json(limits).to_json()
    return Result(content["date"], content["command"], content["settings"], machine, content["versions"], rows, limits)


def _machine(content: Mapping[str, Any]) -> Machine:
    known = {name: content[name] for name in _names(Machine) if content.get(name) is not None}
    kinds = {"features": list, "cores": int, "memory_gb": (int, float), "load": (int, float)}
    for name, value in known.items():
        if not isinstance(value, kinds.get(name, str)):
            raise TypeError(f"{name} of the machine is {value!r}")
    return Machine(**{**known, "features": tuple(map(str, known.get("features", ())))})


def _row(content: Any) -> Row:
    if not isinstance(content, dict):
        raise TypeError(f"a row is {content!r}")
    known = {name: content[name] for name in _names(Row) if name in content}
    for name in _NEEDED - set(known):
        raise KeyError(name)
    for name, value in known.items():
        if not _fits(name, value):
            raise TypeError(f"{name} of a row is {value!r}")
    optional = dict.fromkeys(("ms_per_step", "compile_s", "ratio_to_best_torch"))
    return Row(**{**optional, **known})


def _fits(name: str, value: Any) -> bool:
    if value is None:
        return name not in _NEEDED
    if name == "versions":
        return isinstance(value, dict)
    if name in _TEXT:
        return isinstance(value, str)
    return isinstance(value, int if name in _WHOLE else (int, float)) and not isinstance(value, bool) and value >= 0


def _names(kind: type) -> list[str]:
    return [entry.name for entry in fields(kind)]
