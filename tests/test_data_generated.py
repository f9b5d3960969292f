"""The sets that the tutorials draw: their sizes, what is drawn, and that it is always the same."""

from itertools import pairwise

import numpy as np
import pytest

from jaxport import data
from jaxport.data import fifteen, generated
from jaxport.errors import UsageError

# name, shapes of x and y, training and validation examples
SETS = [
    ("plane", (2,), (1,), 280, 120),
    ("line", (1,), (1,), 100_000, 100_000),
    ("cubic", (1,), (1,), 10_000, 10_000),
    ("circles", (2,), (1,), 2_800, 1_200),
    ("rare_circles", (2,), (1,), 4_340, 1_860),
    ("two_clusters", (2,), (), 1_000, 1_000),
    ("three_clusters", (2,), (), 1_500, 1_500),
    ("fifteen", (1,), (1,), 15, 15),
]


@pytest.mark.parametrize(("name", "x", "y", "train", "val"), SETS, ids=[row[0] for row in SETS])
def test_shapes(name: str, x: tuple[int, ...], y: tuple[int, ...], train: int, val: int) -> None:
    splits, again = data.load(name), data.load(name)
    made = data.DATASETS[name].synthetic(7, np.random.default_rng(1))
    for part, size in ((splits.train, train), (splits.val, val), (made.train, 7), (made.val, 1)):
        assert (part.x.shape, part.y.shape) == ((size, *x), (size, *y))
        assert part.x.dtype == np.float32
        assert part.y.dtype == (np.int32 if splits.classes and not y else np.float32)
    np.testing.assert_array_equal(splits.train.x, again.train.x)
    np.testing.assert_array_equal(splits.train.y, again.train.y)
    assert not np.array_equal(made.train.x, data.DATASETS[name].synthetic(7, np.random.default_rng(2)).train.x) or (
        name in ("line", "cubic")  # their x are evenly spaced
    )
    with pytest.raises(UsageError, match="n is 0"):
        data.DATASETS[name].synthetic(0, np.random.default_rng(0))


def test_the_plane() -> None:
    splits = data.load("plane")
    x, y = (np.concatenate(pair) for pair in zip(splits.train, splits.val, strict=True))
    assert len(x) == 400
    assert np.abs(x).max() <= 5
    assert np.ptp(x) > 9.5
    noise = y - (x @ np.array([[2.0], [-3.0]]) + 10)
    assert abs(noise.mean()) < 0.3
    assert 1.8 < noise.std() < 2.2


@pytest.mark.parametrize(("name", "power", "width"), [("line", 1, 1.2), ("cubic", 3, 1.3)])
def test_the_curves(name: str, power: int, width: float) -> None:
    x, y = data.load(name).train
    assert (x[0, 0], x[-1, 0]) == (-3, 3)
    assert (np.diff(x[:, 0]) > 0).all()
    noise = (y - x.astype(np.float64) ** power) / width
    assert np.abs(noise - 0.5).max() < 0.5 + 1e-5
    assert abs(noise.mean() - 0.5) < 0.01
    assert abs(noise.std() - 12**-0.5) < 0.01


@pytest.mark.parametrize(("name", "positive", "total"), [("circles", 2_000, 4_000), ("rare_circles", 200, 6_200)])
def test_the_rings(name: str, positive: int, total: int) -> None:
    splits = data.load(name)
    x, y = (np.concatenate(pair) for pair in zip(splits.train, splits.val, strict=True))
    assert (len(y), y.sum()) == (total, positive)
    assert set(np.unique(splits.train.y[:200])) == {0, 1}  # mixed
    radius = np.hypot(*x.T)
    for label, mean in ((1, 5), (0, 8)):
        ring = radius[y[:, 0] == label]
        assert abs(ring.mean() - mean) < 0.2
        assert abs(ring.std() - 1) < 0.15
    angle = np.arctan2(*x.T)
    assert (np.histogram(angle, 8)[0] > total / 10).all()


@pytest.mark.parametrize(
    ("name", "clusters"), [("two_clusters", [(4, 2), (-4, 2)]), ("three_clusters", [(4, 2), (-4, 1), (-8, 1)])]
)
def test_the_clusters(name: str, clusters: list[tuple[float, float]]) -> None:
    x, y = data.load(name).train
    for label, (mean, deviation) in enumerate(clusters):
        points = x[y == label]
        assert len(points) == 500
        np.testing.assert_allclose(points.mean(0), mean, atol=0.3)
        np.testing.assert_allclose(points.std(0), deviation, rtol=0.1)
        assert abs(np.corrcoef(points.T)[0, 1]) < 0.15


def test_the_fifteen_points() -> None:
    x, y = data.load("fifteen").train
    assert (x[0, 0], y[0, 0], x[-1, 0], y[-1, 0]) == tuple(np.float32([3.3, 1.7, 3.1, 1.3]))
    assert (x.sum(), y.sum()) == pytest.approx((sum(fifteen.X), sum(fifteen.Y)))


def test_every_set_has_numbers_of_its_own() -> None:
    sets = [value for value in vars(generated).values() if isinstance(value, generated.Generated)]
    drawn = [made.load().train.y.sum() for made in sets]
    assert len(sets) > 7
    assert all(a != b for a, b in pairwise(drawn))
