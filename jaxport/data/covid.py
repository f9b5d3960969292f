"""The first weeks of COVID-19 in China: how many new cases, recoveries and deaths a day has, from the eight before."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np

from jaxport.data.csv_table import Table, read_table
from jaxport.data.files import locate
from jaxport.data.splits import Arrays, Splits, synthetic_sizes
from jaxport.errors import DataError

FILES = ("covid-19.csv",)
COLUMNS = ("confirmed_num", "cured_num", "dead_num")
WINDOW = 8  # days


def load(folder: str | Path) -> Splits:
    """Read `covid-19.csv`, tab-separated sums up to each day, and cut their differences into windows.

    x: float32 (N, 8, 3), eight days in a row of new confirmed cases, recoveries and deaths. y: float32 (N, 3), the day
    after. D days give N = D - 9. The tutorial keeps none for validation: `val` is the training part.

    Raises:
        DataError: the file is missing, a needed column is missing, a value is not a number, the dates are not those of
            days in a row, or there are fewer than 10.

    Source: Eat PyTorch in 20 days, 1-4.
    """
    _, new = differences(folder)
    if len(new) <= WINDOW:
        found = f"has {len(new) + 1} days"
        raise DataError(f"{locate(folder, FILES[0])}: {found}; at least {WINDOW + 2} are needed")
    part = windows(new)
    return Splits(part, part, (), str(folder))


def differences(folder: str | Path) -> tuple[tuple[date, ...], np.ndarray]:
    """Return the days but the first one, and float32 (D - 1, 3): how much each of `COLUMNS` grew that day.

    Raises:
        DataError: as `load`.
    """
    table = read_table(locate(folder, FILES[0]), ("date", *COLUMNS), delimiter="\t")
    totals = np.column_stack([table.numbers(name) for name in COLUMNS])
    with np.errstate(over="ignore"):
        new = np.diff(totals, axis=0).astype(np.float32)
    if not np.isfinite(new).all():
        raise DataError(f"{table.path}: has numbers whose differences float32 cannot hold; counts of people are needed")
    return _days(table)[1:], new


def windows(series: np.ndarray, size: int = WINDOW) -> Arrays:
    """Return every `size` rows in a row of (T, F), and the row after: x (T - size, size, F), y (T - size, F)."""
    x = np.lib.stride_tricks.sliding_window_view(series, size, axis=0)[:-1]
    return Arrays(np.ascontiguousarray(x.swapaxes(1, 2)), series[size:].copy())


def synthetic(n: int, rng: np.random.Generator) -> Splits:
    """Make `n` training and max(1, ⌊n/5⌋) validation windows of made-up waves, with 5 % of noise.

    On day t of a wave that began s days before the window's first, with i = t - s:
    new confirmed = ⌊3000·exp(-((i - 20)/12)²)⌋, recoveries the same ten days later, deaths 3 % seven days later.

    Raises:
        UsageError: n is less than 1.
    """
    train, val = (_draw(size, rng) for size in synthetic_sizes(n))
    return Splits(train, val, (), "synthetic")


def _draw(n: int, rng: np.random.Generator) -> Arrays:
    day = rng.uniform(0, 40, (n, 1, 1)) + np.arange(WINDOW + 1)[:, None] - np.array([0, 10, 7])
    waves = 3000 * np.exp(-(((day - 20) / 12) ** 2)) * (1.0, 1.0, 0.03)
    new = np.floor(waves * rng.normal(1, 0.05, waves.shape)).astype(np.float32)
    return Arrays(np.ascontiguousarray(new[:, :WINDOW]), np.ascontiguousarray(new[:, WINDOW]))


def _days(table: Table) -> tuple[date, ...]:
    days: list[date] = []
    for value, line in zip(table.columns["date"], table.lines, strict=True):
        wanted = days[-1] + timedelta(days=1) if days else "a date as 2020-01-24"
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
        if day is None or (days and day != wanted):
            raise DataError(f"{table.path}, line {line}, column date: is {value!r}; it must be {wanted}")
        days.append(day)
    return tuple(days)
