"""Data sets that the tutorials draw at random: lines, planes, curves, rings, clusters; nothing to download."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxport.data.splits import Arrays, Splits, synthetic_sizes

Draw = Callable[[int, np.random.Generator], Arrays]


@dataclass(frozen=True)
class Generated:
    """A data set that is drawn: the same numbers each time for `load`, others for `synthetic`.

    draw: (n, rng) → n examples, in a random order where the tutorial shuffles them.
    n: how many the tutorial draws. train: how many of them are trained on; all n: the same ones validate.
    classes: the classes' names.
    """

    draw: Draw
    n: int
    train: int
    classes: tuple[str, ...] = ()

    def load(self, folder: str | Path | None = None) -> Splits:
        """Return the set, drawn from seed 0; `folder` is not used."""
        whole = self.draw(self.n, np.random.default_rng(0))
        train, val = (Arrays(*(a[part] for a in whole)) for part in (slice(self.train), slice(self.train, None)))
        return Splits(train, val if len(val.x) else train, self.classes, "embedded")

    def synthetic(self, n: int, rng: np.random.Generator) -> Splits:
        """Draw `n` training and max(1, ⌊n/5⌋) validation examples.

        Raises:
            UsageError: n is less than 1.
        """
        train, val = (self.draw(size, rng) for size in synthetic_sizes(n))
        return Splits(train, val, self.classes, "synthetic")


def _arrays(x: np.ndarray, y: np.ndarray) -> Arrays:
    return Arrays(x.astype(np.float32), y.astype(np.float32) if y.dtype.kind == "f" else y.astype(np.int32))


def _plane(n: int, rng: np.random.Generator) -> Arrays:
    """y = 2 x₁ - 3 x₂ + 10 + N(0, 2²), x from U(-5, 5)²; x (n, 2), y (n, 1)."""
    x = rng.uniform(-5, 5, (n, 2))
    return _arrays(x, x @ np.array([[2.0], [-3.0]]) + 10 + rng.normal(0, 2, (n, 1)))


def _line(n: int, rng: np.random.Generator) -> Arrays:
    """y = x + 1.2 · U(0, 1), x evenly from -3 to 3; x (n, 1), y (n, 1)."""
    x = np.linspace(-3, 3, n)[:, None]
    return _arrays(x, x + 1.2 * rng.random((n, 1)))


def _cubic(n: int, rng: np.random.Generator) -> Arrays:
    """y = x³ + 1.3 · U(0, 1), x evenly from -3 to 3; x (n, 1), y (n, 1)."""
    x = np.linspace(-3, 3, n)[:, None]
    return _arrays(x, x**3 + 1.3 * rng.random((n, 1)))


def _quadratic(n: int, rng: np.random.Generator) -> Arrays:
    """Coefficients (a, b, c) of a x² + b x + c, y zero; x (n, 3), y (n, 1). One alone is 1, -2, 1."""
    x = np.column_stack([rng.uniform(0.5, 1.5, n), rng.uniform(-3, -1, n), rng.uniform(0, 2, n)])
    return _arrays(np.array([[1.0, -2.0, 1.0]]) if n == 1 else x, np.zeros((n, 1)))


def _noise(n: int, rng: np.random.Generator) -> Arrays:
    """Pictures and targets from N(0, 1); x (n, 1, 32, 32), y (n, 10)."""
    return _arrays(rng.standard_normal((n, 1, 32, 32)), rng.standard_normal((n, 10)))


def _rings(share: float) -> Draw:
    """Two rings: a share of positive points at radius 5 + N(0, 1), the others at 8 + N(0, 1); x (n, 2), y (n, 1)."""

    def draw(n: int, rng: np.random.Generator) -> Arrays:
        positive = rng.permutation(np.arange(n) < round(share * n))[:, None]
        radius = np.where(positive, 5.0, 8.0) + rng.standard_normal((n, 1))
        angle = 2 * np.pi * rng.random((n, 1))
        return _arrays(np.hstack([radius * np.cos(angle), radius * np.sin(angle)]), positive.astype(float))

    return draw


def _clusters(*clusters: tuple[float, float]) -> Draw:
    """Class k about (mₖ, mₖ) with deviation sₖ, each class as often; x (n, 2), y (n,)."""
    means, deviations = np.array(clusters).T

    def draw(n: int, rng: np.random.Generator) -> Arrays:
        y = np.arange(n) * len(means) // n
        return _arrays(means[y, None] + deviations[y, None] * rng.standard_normal((n, 2)), y)

    return draw


RINGS = ("negative", "positive")
PLANE = Generated(_plane, 400, 280)
WHOLE_PLANE = Generated(_plane, 400, 400)
MILLION = Generated(_plane, 1_000_000, 1_000_000)
QUADRATIC = Generated(_quadratic, 1, 1)
NOISE = Generated(_noise, 1, 1)
LINE = Generated(_line, 100_000, 100_000)
CUBIC = Generated(_cubic, 10_000, 10_000)
CIRCLES = Generated(_rings(0.5), 4_000, 2_800, RINGS)
WHOLE_CIRCLES = Generated(_rings(0.5), 4_000, 4_000, RINGS)
RARE_CIRCLES = Generated(_rings(200 / 6_200), 6_200, 4_340, RINGS)
TWO_CLUSTERS = Generated(_clusters((4, 2), (-4, 2)), 1_000, 1_000, ("upper", "lower"))
THREE_CLUSTERS = Generated(_clusters((4, 2), (-4, 1), (-8, 1)), 1_500, 1_500, ("upper", "middle", "lower"))
