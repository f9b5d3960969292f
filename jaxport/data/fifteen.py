"""Fifteen: the fifteen points of the linear regressions, and random lines in the same form."""

from pathlib import Path

import numpy as np

from jaxport.data.splits import Arrays, Splits, synthetic_sizes

X = (3.3, 4.4, 5.5, 6.71, 6.93, 4.168, 9.779, 6.182, 7.59, 2.167, 7.042, 10.791, 5.313, 7.997, 3.1)
Y = (1.7, 2.76, 2.09, 3.19, 1.694, 1.573, 3.366, 2.596, 2.53, 1.221, 2.827, 3.465, 1.65, 2.904, 1.3)


def load(folder: str | Path | None = None) -> Splits:
    """Return the fifteen points; `folder` is not used.

    x: float32 (15, 1). y: float32 (15, 1). The tutorials have no validation part: `val` is the training part.
    """
    points = Arrays(np.array(X, np.float32)[:, None], np.array(Y, np.float32)[:, None])
    return Splits(points, points, (), "embedded")


def synthetic(n: int, rng: np.random.Generator) -> Splits:
    """Make `n` training and max(1, ⌊n/5⌋) validation points about one random line.

    y = a·x + b + N(0, 0.3²), with x ~ U(2, 11), a ~ U(0.1, 0.5), b ~ U(0, 1)

    Raises:
        UsageError: n is less than 1.
    """
    slope, intercept = rng.uniform(0.1, 0.5), rng.uniform(0, 1)
    parts = []
    for size in synthetic_sizes(n):
        x = rng.uniform(2, 11, (size, 1))
        y = slope * x + intercept + 0.3 * rng.standard_normal((size, 1))
        parts.append(Arrays(x.astype(np.float32), y.astype(np.float32)))
    return Splits(parts[0], parts[1], (), "synthetic")
