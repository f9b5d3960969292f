"""Titanic: who survived, from a passenger list made into fifteen numbers per passenger."""

from pathlib import Path

import numpy as np

from jaxport.data.csv_table import Table, read_table
from jaxport.data.files import locate
from jaxport.data.splits import Arrays, Splits, synthetic_sizes

FILES = ("train.csv", "test.csv")
CLASSES = ("died", "survived")
COLUMNS = ("Survived", "Pclass", "Sex", "Age", "SibSp", "Parch", "Fare", "Cabin", "Embarked")
FEATURES = (
    "Pclass_1",
    "Pclass_2",
    "Pclass_3",
    "Sex_female",
    "Sex_male",
    "Age",  # years; 0 where it is not known
    "Age_null",
    "SibSp",
    "Parch",
    "Fare",  # pounds
    "Cabin_null",
    "Embarked_C",
    "Embarked_Q",
    "Embarked_S",
    "Embarked_nan",
)
PORTS = ("C", "Q", "S", "")


def load(folder: str | Path) -> Splits:
    """Read `train.csv` and `test.csv` (the validation part; it has `Survived` too), each plain or with `.gz`.

    x: float32 (N, 15), the columns of `FEATURES`; categories are one-hot and fixed, so a file that
    lacks one still gives 15.
    y: float32 (N, 1), 1 for a survivor. Columns that are not needed are ignored.

    Raises:
        DataError: a file or a needed column is missing, or a value is not what its column holds.

    Source: https://www.kaggle.com/c/titanic/data (there, `test.csv` has no `Survived`: split `train.csv` instead).
    """
    train, val = (_encode(read_table(locate(folder, name), COLUMNS)) for name in FILES)
    return Splits(train, val, CLASSES, str(folder))


def read_passengers(path: str | Path) -> tuple[np.ndarray, tuple[int, ...]]:
    """Read passengers of whom it is not known whether they survived: the features of `load`, and each one's line.

    The file has the columns of `COLUMNS` but `Survived`; more do no harm.

    Raises:
        DataError: the file or a needed column is missing, or a value is not what its column holds.
    """
    table = read_table(path, COLUMNS[1:])
    return _features(table), table.lines


def synthetic(n: int, rng: np.random.Generator) -> Splits:
    """Make `n` training and max(1, ⌊n/5⌋) validation passengers with the same columns; sex and class decide, mostly.

    P(survived) = σ(3·female − 1.2·class + 0.9)

    Raises:
        UsageError: n is less than 1.
    """
    train, val = (_draw(size, rng) for size in synthetic_sizes(n))
    return Splits(train, val, CLASSES, "synthetic")


def _encode(table: Table) -> Arrays:
    survived = table.one_hot("Survived", ("0", "1"))[:, 1:]
    return Arrays(_features(table), survived.astype(np.float32))


def _features(table: Table) -> np.ndarray:
    features = (
        table.one_hot("Pclass", ("1", "2", "3")),
        table.one_hot("Sex", ("female", "male")),
        table.numbers("Age", missing=0),
        table.is_missing("Age"),
        table.numbers("SibSp"),
        table.numbers("Parch"),
        table.numbers("Fare"),
        table.is_missing("Cabin"),
        table.one_hot("Embarked", PORTS),
    )
    return np.column_stack(features).astype(np.float32)


def _draw(n: int, rng: np.random.Generator) -> Arrays:
    pclass, female, port = rng.integers(1, 4, n), rng.random(n) < 0.4, rng.choice(4, n, p=(0.2, 0.1, 0.6, 0.1))
    age_null = rng.random(n) < 0.2
    features = (
        pclass[:, None] == (1, 2, 3),
        female,
        ~female,
        np.where(age_null, 0, rng.integers(1, 75, n)),
        age_null,
        rng.poisson(0.5, n),
        rng.poisson(0.4, n),
        rng.gamma(2, 30, n) / pclass,
        rng.random(n) < 0.3 * pclass,
        port[:, None] == np.arange(4),
    )
    odds = np.exp(3 * female - 1.2 * pclass + 0.9)
    survived = rng.random(n) < odds / (1 + odds)
    return Arrays(np.column_stack(features).astype(np.float32), survived[:, None].astype(np.float32))
