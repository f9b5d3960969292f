"""Columns of numbers as a CSV file, and the atomic write that the plots share."""

import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxport.errors import UsageError


def write_csv(columns: Mapping[str, Sequence[Any]], path: str | os.PathLike[str]) -> None:
    """Write columns of one length as CSV: a row of names, then a row per entry; the file appears whole or not at all.

    A float is written as the shortest decimal that reads back as the same float64, a float32 as the float64 it equals;
    None is an empty cell. UTF-8, lines end in a line feed.

    Raises:
        UsageError: the columns differ in length, or the file cannot be written.

    Source: https://docs.python.org/3/library/csv.html
    """
    check_lengths(columns)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_plain(value) for value in row] for row in zip(*columns.values(), strict=True))
    write_atomic(path, text.getvalue().encode())


def check_lengths(columns: Mapping[str, Sequence[Any]]) -> None:
    """Raise `UsageError`, naming every column and its length, unless all columns are equally long."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"columns must have one length, but have {lengths}")


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` beside `path` and move it there when it is on the disk; on failure `path` is as it was.

    Raises:
        UsageError: the folder is missing or cannot be written, the disk is full, or `path` is a folder.
    """
    path = Path(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"path={str(path)!r} cannot be written: {reason}; a writable folder is needed") from error


def _plain(value: Any) -> Any:
    """Turn a NumPy or JAX scalar into the Python number that it equals; the csv module writes floats by `repr`."""
    return value.item() if hasattr(value, "item") else value


def to_json(value: Any) -> str:
    """Return `value` as JSON; NaN and infinity, which JSON does not have, become null."""

    def finite(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: finite(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [finite(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(value), indent=2, allow_nan=False)
