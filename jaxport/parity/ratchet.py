"""ratchet: the tolerance that each tensor required, stored, so that a port can get more exact and never less."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxport.errors import DataError

from . import tolerances
from .result import Report

FORMAT = 1
"""Version of the file, in its key "format"."""

Required = dict[str, dict[str, Any]]
"""Tensor name → {"required": tolerance, "dtype": the precision that it is of}."""


def measure(report: Report) -> Required:
    """Return what each tensor of a report that counts requires; of tensors with one name, the most."""
    found: Required = {}
    for tensor in report.tensors:
        if not tensor.decides or not math.isfinite(tensor.required):
            continue
        dtype = "float64" if tensor.float64 is not None else "float32"
        before = found.get(tensor.name, {"required": 0.0})["required"]
        found[tensor.name] = {"required": max(before, float(tensor.required)), "dtype": dtype}
    return found


def worsened(stored: Mapping[str, Mapping[str, Any]], measured: Required) -> list[str]:
    """Return a line for each tensor that requires more than the stored tolerance allows, or is no longer compared."""
    lines = []
    for name, row in stored.items():
        now = measured.get(name)
        if now is None:
            lines.append(f"{name} is in the ratchet and was not compared; --parity-ratchet-update takes it out")
            continue
        limit = tolerances.RATCHET_FACTOR * row["required"] + tolerances.RATCHET_FLOOR[row["dtype"]]
        if not now["required"] <= limit:
            numbers = f"{now['required']:.1e} ({now['dtype']}), stored are {row['required']:.1e} ({row['dtype']})"
            lines.append(f"{name} requires a tolerance of {numbers}, which allows {limit:.1e}")
    return lines


def load(path: Path) -> dict[str, Required]:
    """Read the stored tolerances: test → tensor → what it required.

    Raises:
        DataError: it cannot be read, or is no such file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "; --parity-ratchet-update writes it" if isinstance(error, FileNotFoundError) else ""
        raise DataError(f"{path} cannot be read: {error.strerror or error}{hint}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("tests"), dict):
        raise DataError(f"{path} is no tolerance ratchet of format {FORMAT}")
    for test, tensors in data["tests"].items():
        if not isinstance(tensors, dict) or not all(_is_row(row) for row in tensors.values()):
            raise DataError(f"{path}: the tolerances of {test!r} are damaged; write them again")
    return data["tests"]


def save(path: Path, tests: Mapping[str, Required]) -> None:
    """Write tolerances, to three digits and in order of their names; the whole file or nothing.

    Raises:
        DataError: it cannot be written.
    """
    rows = {
        test: {name: {**row, "required": float(f"{row['required']:.2e}")} for name, row in sorted(tensors.items())}
        for test, tensors in sorted(tests.items())
    }
    write_whole(path, json.dumps({"format": FORMAT, "tests": rows}, indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text file under its name only when it is complete.

    Raises:
        DataError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or row.keys() != {"required", "dtype"} or row["dtype"] not in tolerances.RATCHET_FLOOR:
        return False
    required = row["required"]
    return isinstance(required, int | float) and not isinstance(required, bool) and 0.0 <= required < math.inf
