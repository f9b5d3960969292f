"""A small strict reader of CSV tables: columns by name, and an error that says where for everything it cannot read."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxport.data.files import read_bytes
from jaxport.errors import DataError, UsageError


@dataclass(frozen=True)
class Table:
    """The wanted columns of a CSV file, as text.

    path: the file. columns: name → N values, spaces around them removed; "" is a missing value.
    lines: for each of the N rows the line it begins on, counted from 1.
    """

    path: str
    columns: dict[str, tuple[str, ...]]
    lines: tuple[int, ...]

    def numbers(self, name: str, missing: float | None = None) -> np.ndarray:
        """Return column `name` as float64 (N,), missing values replaced by `missing`.

        Raises:
            DataError: a value is not a finite number, or it is missing and `missing` is None.
        """
        rows = zip(self.columns[name], self.lines, strict=True)
        return np.array([self._number(name, value, line, missing) for value, line in rows], np.float64)

    def is_missing(self, name: str) -> np.ndarray:
        """Return bool (N,): where column `name` has no value."""
        return np.array([value == "" for value in self.columns[name]])

    def one_hot(self, name: str, categories: Sequence[str]) -> np.ndarray:
        """Return bool (N, C): entry [i, c] tells whether row i of column `name` is `categories[c]`.

        The categories are given and not found in the file, so a file that lacks one has the same columns.
        Include "" for a column that may be empty.

        Raises:
            DataError: a value is none of the categories.
        """
        values = self.columns[name]
        for value, line in zip(values, self.lines, strict=True):
            if value not in categories:
                wanted = ", ".join(category or "nothing" for category in categories)
                raise self._error(name, line, value, f"one of {wanted}")
        return np.array(values)[:, None] == np.array(categories)

    def _number(self, name: str, value: str, line: int, missing: float | None) -> float:
        if value == "" and missing is not None:
            return missing
        try:
            number = math.nan if "_" in value else float(value)  # float("1_000") is Python's grammar, not a table's
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self._error(name, line, value, "a finite number")
        return number

    def _error(self, name: str, line: int, value: str, wanted: str) -> DataError:
        found = f"{value!r}" if value else "empty"
        return DataError(f"{self.path}, line {line}, column {name}: is {found}; it must be {wanted}")


def read_table(path: str | Path, names: Sequence[str], *, delimiter: str = ",", encoding: str = "utf-8-sig") -> Table:
    """Read the columns `names` of a comma-separated UTF-8 file, gzip or plain, whose first line names its columns.

    Other columns and blank lines are skipped. `delimiter` and `encoding` are for files with others.

    Raises:
        UsageError: the delimiter is not one character, or there is no such encoding.
        DataError: the file is missing, empty, not UTF-8 or not CSV; a column is missing or there twice; a row has more
            or fewer values than the header; there are no rows.

    Source: RFC 4180.
    """
    rows = _rows(path, _decode(path, encoding), delimiter)
    _, header = next(rows, (0, []))
    _check_header(path, header, names)
    lines, body = [], []
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: has {len(row)} values; the header names {len(header)} columns")
        lines.append(line)
        body.append(row)
    if not body:
        raise DataError(f"{path}: has a header and no rows; at least one row is needed")
    return Table(str(path), {name: tuple(row[header.index(name)] for row in body) for name in names}, tuple(lines))


def _decode(path: str | Path, encoding: str) -> str:
    content = read_bytes(path)
    name = "UTF-8" if encoding == "utf-8-sig" else encoding  # spreadsheets put a byte order mark in front
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        bad = f"byte {content[error.start : error.start + 1].hex()} at position {error.start}"
        raise DataError(f"{path}: is not {name} text ({bad}); save it as {name}") from error
    except UnicodeError as error:
        raise DataError(f"{path}: is not {name} text ({error}); save it as {name}") from error
    except (LookupError, ValueError):
        raise UsageError(f"encoding is {encoding!r}; it must be one that Python knows, such as utf-8") from None


def _rows(path: str | Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line that the row begins on, its values) for every row that is not blank."""
    if len(delimiter) != 1 or delimiter in '"\r\n ':
        raise UsageError(f"delimiter is {delimiter!r}; it must be one character, no quotation mark, space or line end")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            if row:
                yield line, [value.strip() for value in row]
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {line}: is not CSV ({error}); quote values as RFC 4180 does") from error


def _check_header(path: str | Path, header: list[str], names: Sequence[str]) -> None:
    has = ", ".join(header)
    if not header:
        raise DataError(f"{path}: is empty; its first line must name the columns {', '.join(names)}")
    if missing := [name for name in names if name not in header]:
        raise DataError(f"{path}: has no column {', '.join(missing)}; its columns are {has}")
    if twice := [name for name in names if header.count(name) > 1]:
        raise DataError(f"{path}: has column {', '.join(twice)} more than once; its columns are {has}")
