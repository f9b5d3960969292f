"""What every reader returns: a training and a validation part, each a pair of NumPy arrays."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxport.errors import DataError, UsageError


class Arrays(NamedTuple):
    """Inputs and targets of N examples; row i of `x` belongs to row i of `y`.

    x: (N, ...) and y: (N, ...), in the dtypes that the reader documents.
    """

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set in its two parts.

    train, val: what is trained on and what is only measured.
    classes: the classes' names, in the order of the labels; empty for a regression.
    origin: where the numbers came from: a folder's path, "embedded", "synthetic" or, for arrays made by hand, "memory".

    Raises:
        DataError: a part is empty, or its x and y differ in length.
    """

    train: Arrays
    val: Arrays
    classes: tuple[str, ...] = ()
    origin: str = "memory"

    def __post_init__(self) -> None:
        for name, part in (("train", self.train), ("val", self.val)):
            if len(part.x) != len(part.y):
                raise DataError(f"{name}: x has {len(part.x)} rows and y has {len(part.y)}; they must be as many")
            if len(part.x) == 0:
                raise DataError(f"{name}: x has 0 rows; at least one example is needed")


def synthetic_sizes(n: int) -> tuple[int, int]:
    """Return how many training and validation examples a synthetic set of size `n` has: n and max(1, ⌊n/5⌋).

    Raises:
        UsageError: n is less than 1.
    """
    if n < 1:
        raise UsageError(f"n is {n}; a synthetic set needs at least 1 example")
    return n, max(1, n // 5)
