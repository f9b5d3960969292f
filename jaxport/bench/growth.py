"""The shape of growth: what a time costs once, and how the rest grows with a size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxport.errors import UsageError

# Exponents that are tried.
_EXPONENTS = np.arange(0.05, 3.0001, 0.01)
# A free exponent must explain this much better than 1 does. With 5 % of noise on five points of a straight line one fit
# in ten is bent (at 0.7 one in seven), and none of n^0.7 or n^1.3 is straight.
_BETTER, _SMALL = 0.5, 0.03
# Below this many points a free exponent would explain everything.
_LEAST = 4


@dataclass(frozen=True)
class Growth:
    """t(n) = a + b·nᶜ.

    Attributes:
        a: what a call costs whatever the size, in the unit of t.
        b: what size 1 adds.
        c: the exponent.
        residual: root mean square of (fit − t) / t.
    """

    a: float
    b: float
    c: float
    residual: float

    def __call__(self, n: float) -> float:
        """Return t(n)."""
        return self.a + self.b * n**self.c

    @property
    def half(self) -> float | None:
        """The size from which the growing part is the larger one: (a / b)^(1/c); None where nothing grows."""
        return (self.a / self.b) ** (1 / self.c) if self.b > 0 else None


def fit_growth(sizes: Sequence[float], times: Sequence[float]) -> Growth:
    """Fit t = a + b·nᶜ with a, b ≥ 0 by least squares of the relative errors.

    min Σ ((a + b·nᶜ − t) / t)², over a grid of exponents. The exponent is 1 unless another explains the times clearly
    better (half the residual, and 1 is off by more than 3 %) or there are fewer than four sizes.

    Args:
        sizes: n, positive, at least two different ones.
        times: t, positive, as many.

    Raises:
        UsageError: the numbers are not such.
    """
    n, t = np.asarray(sizes, float), np.asarray(times, float)
    if n.shape != t.shape or n.ndim != 1 or len(set(n.tolist())) < 2:
        raise UsageError(f"sizes and times must be as many, of at least two sizes; got {list(sizes)} and {list(times)}")
    if not (np.isfinite(t) & np.isfinite(n) & (t > 0) & (n > 0)).all():
        raise UsageError(f"sizes and times must be positive numbers; got {list(sizes)} and {list(times)}")
    straight = _fit_for(1.0, n, t)
    if len(set(n.tolist())) < _LEAST or straight.residual <= _SMALL:
        return straight
    free = min((_fit_for(float(c), n, t) for c in _EXPONENTS), key=lambda fit: fit.residual)
    return free if free.residual < _BETTER * straight.residual else straight


def _fit_for(c: float, n: np.ndarray, t: np.ndarray) -> Growth:
    """Return the best fit with this exponent."""
    columns = np.stack([1 / t, n**c / t], axis=1)
    solution = np.linalg.lstsq(columns, np.ones_like(t), rcond=None)[0]
    if (solution < 0).any():  # the best of the two edges: nothing fixed, or nothing that grows
        edges = [np.where(keep, column @ np.ones_like(t) / (column @ column), 0.0)
                 for keep, column in (((True, False), columns[:, 0]), ((False, True), columns[:, 1]))]  # fmt: skip
        solution = min(edges, key=lambda edge: float(np.square(columns @ edge - 1).sum()))
    a, b = map(float, solution)
    return Growth(a, b, c, float(np.sqrt(np.square(columns @ solution - 1).mean())))
