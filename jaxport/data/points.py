"""Points: the five points of the matrix regression, and random lines in the same form."""

from pathlib import Path

import numpy as np

from jaxport.data.splits import Arrays, Splits, synthetic_sizes

X = (1.4, 5.0, 11.0, 16.0, 21.0)
Y = (14.4, 29.6, 62.0, 85.5, 113.4)


def load(folder: str | Path | None = None) -> Splits:
    """Return the five points as a design matrix and its targets; `folder` is not used.

    y ≈ X·w with X = [x, 1], w = (slope, intercept)

    x: float32 (5, 2). y: float32 (5,). The tutorial has no validation part: `val` is the same five points as `train`.
    """
    points = Arrays(design(np.array(X)), np.array(Y, np.float32))
    return Splits(points, points, (), "embedded")


def design(x: np.ndarray) -> np.ndarray:
    """Return the design matrix [x, 1], float32 (N, 2), of the abscissas x (N,)."""
    return np.column_stack((x, np.ones_like(x))).astype(np.float32)


def synthetic(n: int, rng: np.random.Generator) -> Splits:
    """Make `n` training and max(1, ⌊n/5⌋) validation points about one random line.

    y = a·x + b + N(0, 1), with x ~ U(0, 20), a ~ U(1, 6), b ~ U(0, 10)

    Raises:
        UsageError: n is less than 1.
    """
    line = np.array((rng.uniform(1, 6), rng.uniform(0, 10)))
    train, val = (_draw(size, line, rng) for size in synthetic_sizes(n))
    return Splits(train, val, (), "synthetic")


def _draw(n: int, line: np.ndarray, rng: np.random.Generator) -> Arrays:
    x = design(rng.uniform(0, 20, n))
    return Arrays(x, (x @ line + rng.standard_normal(n)).astype(np.float32))
