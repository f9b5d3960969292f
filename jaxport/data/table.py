"""Any CSV table as arrays, by a specification: what each column is and how it becomes numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jaxport.data import csv_table
from jaxport.errors import DataError, UsageError

FILLS = ("median", "mean")


@dataclass(frozen=True)
class Numeric:
    """A column of numbers: one feature.

    fill: what a missing value becomes: a number, "median" or "mean" of the column, or None: that is an error.
    missing_flag: one more feature NAME_null, 1 where the value is missing.
    """

    fill: float | str | None = None
    missing_flag: bool = False

    def __post_init__(self) -> None:
        number = isinstance(self.fill, int | float) and math.isfinite(self.fill)
        if not (number or self.fill is None or self.fill in FILLS):
            raise UsageError(f"fill is {self.fill!r}; it must be a finite number, None, 'median' or 'mean'")


@dataclass(frozen=True)
class OneHot:
    """A column of categories: one feature each, NAME_CATEGORY, 1 where the row has it.

    categories: in order; "" is a missing value (NAME_nan). None: those of the file, sorted, numbers by size, "" last.
    """

    categories: Sequence[str] | None = None


@dataclass(frozen=True)
class Missing:
    """A column of which only matters whether it has a value: one feature NAME_null, 1 where it has none."""


@dataclass(frozen=True)
class Label:
    """The column to predict, one of several classes.

    classes: in the order of their numbers. None: those of the file, sorted, numbers by size.
    """

    classes: Sequence[str] | None = None


@dataclass(frozen=True)
class Target:
    """The column to predict, a number."""


Column = Numeric | OneHot | Missing | Label | Target


@dataclass(frozen=True, eq=False)
class Features:
    """A table as arrays.

    x: float32 (N, F). names: the F features' names.
    y: int32 (N,) class numbers for a Label, float32 (N,) for a Target, None for neither. classes: the label's.
    columns: the specification with what was found in this file put in: read the test file with it, so that it gets the
        training file's categories and medians.
    """

    x: np.ndarray
    names: tuple[str, ...]
    y: np.ndarray | None
    classes: tuple[str, ...]
    columns: dict[str, Column]

    def __getitem__(self, name: str) -> np.ndarray:
        """Return feature `name`, float32 (N,).

        Raises:
            UsageError: there is no such feature.
        """
        if name not in self.names:
            raise UsageError(f"name is {name!r}; the features are {', '.join(self.names)}")
        return self.x[:, self.names.index(name)]


def read_table(
    path: str | Path,
    columns: Mapping[str, Column],
    *,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
    missing: Sequence[str] = ("",),
) -> Features:
    """Read a CSV file with a header by a specification; features are in its order, other columns are ignored.

    missing: how a missing value is written, such as ("", "NA").

    Example: ``read_table("train.csv", {"Age": Numeric(0, missing_flag=True), "Sex": OneHot(), "Survived": Label()})``.

    Raises:
        DataError: the file is missing, empty, not text in this encoding or not CSV; columns are missing (all are
            named); a row has more or fewer values than the header; a value is not a finite number, is not one of
            the categories, or is missing where one is needed. Line and column are named.
        UsageError: columns, delimiter or encoding is not possible.

    Source: RFC 4180.
    """
    _check(columns)
    table = csv_table.read_table(path, tuple(columns), delimiter=delimiter, encoding=encoding)
    values = {
        name: tuple("" if value in missing else value for value in column) for name, column in table.columns.items()
    }
    table = replace(table, columns=values)
    fitted = {name: _fit(table, name, column) for name, column in columns.items()}
    features = [feature for name, column in fitted.items() for feature in _features(table, name, column)]
    x = np.column_stack([values for _, values in features]) if features else np.zeros((len(table.lines), 0))
    y, classes = _answer(table, fitted)
    return Features(_float32(table, x), tuple(name for name, _ in features), y, classes, fitted)


def _check(columns: Mapping[str, Column]) -> None:
    if wrong := [name for name, column in columns.items() if not isinstance(column, Column)]:
        kinds = "Numeric, OneHot, Missing, Label or Target"
        raise UsageError(f"columns[{wrong[0]!r}] is {columns[wrong[0]]!r}; it must be {kinds}, with brackets")
    answers = [name for name, column in columns.items() if isinstance(column, Label | Target)]
    if not columns or len(answers) > 1:
        raise UsageError(
            f"columns has {len(columns)} columns, and to predict {answers}; it must have at least one column, and at "
            "most one Label or Target"
        )


def _fit(table: csv_table.Table, name: str, column: Column) -> Column:
    """Put what the file says in place of None, "median" and "mean"."""
    match column:
        case OneHot(None):
            return OneHot(_categories(table, name))
        case Label(None):
            return Label(tuple(value for value in _categories(table, name) if value))
        case Numeric(str(fill), flag):
            numbers = table.numbers(name, np.nan)
            known = numbers[~np.isnan(numbers)]
            if not len(known):
                raise DataError(f"{table.path}, column {name}: has no value; its {fill} needs at least one")
            with np.errstate(over="ignore"):
                return Numeric(float(np.median(known) if fill == "median" else np.mean(known)), flag)
    return column


def _categories(table: csv_table.Table, name: str) -> tuple[str, ...]:
    return tuple(sorted(set(table.columns[name]), key=lambda value: (value == "", *_order(value))))


def _order(value: str) -> tuple[float, str]:
    """Return a key: numbers by size and before words, words by their letters."""
    try:
        number = float(value)
    except ValueError:
        return np.inf, value
    return (np.inf if np.isnan(number) else number), value


def _features(table: csv_table.Table, name: str, column: Column) -> list[tuple[str, np.ndarray]]:
    match column:
        case Numeric(fill, flag):
            numbers = [(name, table.numbers(name, None if fill is None else float(fill)))]
            return [*numbers, (f"{name}_null", table.is_missing(name))] if flag else numbers
        case Missing():
            return [(f"{name}_null", table.is_missing(name))]
        case OneHot(categories):
            hot = table.one_hot(name, categories or ())
            return [(f"{name}_{value or 'nan'}", hot[:, i]) for i, value in enumerate(categories or ())]
    return []


def _answer(table: csv_table.Table, columns: Mapping[str, Column]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    for name, column in columns.items():
        match column:
            case Label(classes):
                return table.one_hot(name, classes or ()).argmax(1).astype(np.int32), tuple(classes or ())
            case Target():
                return _float32(table, table.numbers(name)), ()
    return None, ()


def _float32(table: csv_table.Table, numbers: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        result = numbers.astype(np.float32)
    if not np.isfinite(result).all():
        raise DataError(f"{table.path}: has a number that float32 cannot hold; numbers up to 3.4e38 are needed")
    return result
