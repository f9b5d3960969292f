"""Transforms of images: what each does, the same from NumPy's and JAX's arrays, by key, and what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport.data import random_transforms
from jaxport.data import transforms as T
from jaxport.errors import UsageError

pytestmark = pytest.mark.usefixtures("strict_jax")

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 3, 6, 8), dtype=np.uint8)
FLOATS = RNG.standard_normal((4, 3, 6, 8)).astype(np.float32)
# Half the width with antialias: weights 1, 3, 3, 1 of eight; at the border those inside, made to sum to 1.
HALVING = np.float32([[3, 3, 1] + [0] * 5, [0, 1, 3, 3, 1] + [0] * 3, [0] * 3 + [1, 3, 3, 1, 0], [0] * 5 + [1, 3, 3]]).T
HALVING /= HALVING.sum(axis=0)
# Cubic weights (A = -1/2) at a quarter and three quarters of a pixel: the step overshoots, and is cut to 0 … 255.
STEP = np.uint8([0, 0, 255, 255] * 2).reshape(2, 1, 1, 4)
BICUBIC_STEP = np.uint8([0, 0, 0, 52, 203, 255, 255, 255] * 2).reshape(2, 1, 1, 8)
ALL = {
    "ToFloat": (T.ToFloat(), IMAGES, lambda x: x.astype(np.float32) / np.float32(255)),
    "Normalize": (
        T.Normalize([0.1, 0.2, 0.3], 0.5),
        FLOATS,
        lambda x: (x - np.float32([0.1, 0.2, 0.3])[:, None, None]) / np.float32(0.5),
    ),
    "Normalize, half": (
        T.Normalize(0.5, 0.25),
        FLOATS.astype(np.float16),
        lambda x: (x - np.float16(0.5)) * np.float16(4),
    ),
    "ToFloat, half": (T.ToFloat(np.float16), IMAGES, lambda x: x.astype(np.float16) / np.float16(255)),
    "OneHot, bytes": (T.OneHot(2, np.uint8), np.array([1, 0], np.int32), lambda y: np.uint8([[0, 1], [1, 0]])),
    "OneHot": (T.OneHot(3), np.array([0, 2, 3, 1], np.int32), lambda y: np.eye(4, dtype=np.float32)[y][:, :3]),
    "Crop": (T.Crop(1, 2, (3, 4)), IMAGES, lambda x: x[..., 1:4, 2:6]),
    "CenterCrop": (T.CenterCrop(4), IMAGES, lambda x: x[..., 1:5, 2:6]),
    "CenterCrop, halves to even": (T.CenterCrop((3, 5)), IMAGES, lambda x: x[..., 2:5, 2:7]),
    "CenterCrop, one left over": (T.CenterCrop((5, 7)), IMAGES, lambda x: x[..., :5, :7]),
    "Pad": (T.Pad((1, 2), fill=7), IMAGES, lambda x: np.pad(x, [(0, 0)] * 2 + [(2, 2), (1, 1)], constant_values=7)),
    "Pad, four sides": (T.Pad((1, 0, 2, 3)), IMAGES, lambda x: np.pad(x, [(0, 0)] * 2 + [(0, 3), (1, 2)])),
    "Resize, twice, nearest": (
        T.Resize((12, 16), "nearest"),
        IMAGES,
        lambda x: x.repeat(2, -1).repeat(2, -2),
    ),
    "Resize, shorter side": (T.Resize(3, "nearest"), FLOATS, lambda x: x[..., ::2, ::2]),
    "Resize, halved": (
        T.Resize((3, 4), antialias=False),
        FLOATS,
        lambda x: (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / np.float32(4),
    ),
    "Resize, shorter side, cut": (T.Resize(5, "nearest"), IMAGES, lambda x: T.Resize((5, 6), "nearest")(x)),
    "Resize, shorter side, tall": (T.Resize(3, "nearest"), FLOATS.swapaxes(-1, -2), lambda x: x[..., ::2, ::2]),
    "Resize, antialias": (T.Resize((6, 4)), FLOATS, lambda x: x @ HALVING),
    "Resize, beyond the bytes": (T.Resize((1, 8), "bicubic"), STEP, lambda x: BICUBIC_STEP),
    "Compose": (T.Compose([T.Crop(0, 0, 2), T.Lambda(lambda x: x[..., ::-1])]), IMAGES, lambda x: x[..., :2, 1::-1]),
    "all flipped": (T.RandomHorizontalFlip(1.0), IMAGES, lambda x: x[..., ::-1]),
    "none flipped": (T.RandomHorizontalFlip(0.0), IMAGES, lambda x: x),
    "all upside down": (T.RandomVerticalFlip(1.0), IMAGES, lambda x: x[..., ::-1, :]),
}


@pytest.mark.parametrize("name", ALL)
def test_what_it_does_on_the_host_on_the_device_and_compiled(name):
    transform, x, wanted = ALL[name]
    key = jax.random.key(0)
    on_host = T.apply(transform, x, key)
    assert isinstance(on_host, np.ndarray)
    on_device = T.apply(transform, jnp.asarray(x), key)
    assert isinstance(on_device, jax.Array)
    compiled = jax.jit(lambda x: T.apply(transform, x, key))(x)
    for found in (on_host, on_device, compiled):
        assert (found.shape, found.dtype) == (wanted(x).shape, wanted(x).dtype)
        np.testing.assert_allclose(np.asarray(found), wanted(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(on_host, on_device)
    if name != "OneHot":
        np.testing.assert_array_equal(T.apply(transform, x[1], key), on_host[1])


RANDOM: dict[str, Any] = {
    "RandomHorizontalFlip": T.RandomHorizontalFlip(),
    "RandomVerticalFlip": T.RandomVerticalFlip(0.3),
    "RandomCrop": T.RandomCrop((4, 5), padding=1),
    "RandomRotation": T.RandomRotation(40),
    "Compose": T.Compose([T.Lambda(lambda x: x), T.RandomVerticalFlip(), T.RandomHorizontalFlip(), T.RandomCrop(5)]),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_ones_go_by_their_key(name):
    transform, x = RANDOM[name], np.repeat(IMAGES[:1], 40, axis=0)
    one, two = (T.apply(transform, x, jax.random.key(seed)) for seed in (1, 2))
    np.testing.assert_array_equal(one, T.apply(transform, jnp.asarray(x), jax.random.key(1)))
    np.testing.assert_array_equal(one, jax.jit(transform)(x, jax.random.key(1)))
    assert not np.array_equal(one, two)
    assert len(np.unique(one.reshape(40, -1), axis=0)) > 1  # each image has a draw of its own
    with pytest.raises(UsageError, match="key is None"):
        transform(x)


def test_flips_in_a_chain_are_drawn_apart():
    x = np.repeat(np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2), 400, axis=0)
    transform = T.Compose([T.RandomHorizontalFlip(), T.RandomVerticalFlip()])
    found, counts = np.unique(transform(x, jax.random.key(0)).reshape(400, 4), axis=0, return_counts=True)
    assert len(found) == 4
    assert counts.min() > 60


@pytest.mark.parametrize(("angle", "wanted"), [(0, 0), (90, 1), (180, 2), (270, 3), (-90, 3)])
def test_quarter_turns(angle, wanted):
    square = IMAGES[..., :6, :6]
    np.testing.assert_array_equal(T.rotate(square, angle), np.rot90(square, wanted, axes=(-2, -1)))


@pytest.mark.parametrize("angle", [17.0, -50.0, 111.0])
def test_turns_of_an_oblong_image(angle):
    """Each pixel is the one that the opposite turn of its centre falls on; y points down."""
    x = FLOATS[:2]
    across, down = np.meshgrid(np.arange(8) - 3.5, np.arange(6) - 2.5)
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    column, row = (np.rint(v).astype(int) for v in (across * cos - down * sin + 3.5, across * sin + down * cos + 2.5))
    inside = (column >= 0) & (column < 8) & (row >= 0) & (row < 6)
    assert 0 < inside.sum() < 48
    wanted = np.where(inside, x[..., np.clip(row, 0, 5), np.clip(column, 0, 7)], 0)
    np.testing.assert_array_equal(T.rotate(x, angle), wanted)
    np.testing.assert_array_equal(T.rotate(x, np.float32([0, angle])), np.stack([x[0], wanted[1]]))


@pytest.mark.parametrize(
    ("degrees", "low", "high"), [(40, -40, 40), ((10.0, 30.0), 10, 30), ((90, 90), 90, 90), (0, 0, 0)]
)
def test_random_turns_lie_in_their_range(degrees, low, high, monkeypatch):
    angles = []
    monkeypatch.setattr(random_transforms, "rotate", lambda x, angle: angles.append(np.asarray(angle)) or x)
    T.RandomRotation(degrees)(np.zeros((400, 1, 2, 2), np.float32), jax.random.key(0))
    (angle,) = angles
    assert angle.shape == (400,)
    assert low <= angle.min() <= low + 0.03 * (high - low)
    assert high - 0.03 * (high - low) <= angle.max() <= high


@pytest.mark.parametrize("kind", [T.RandomHorizontalFlip, T.RandomVerticalFlip])
def test_the_share_of_the_flipped(kind):
    x = np.repeat(IMAGES[:1], 400, axis=0)
    for p in (0.1, 0.7):
        flipped = (kind(p)(x, jax.random.key(0)) != x).any(axis=(1, 2, 3))
        assert abs(flipped.mean() - p) < 0.06


def test_padding_of_random_crops_is_the_fill():
    x = IMAGES[:1, :, :5, :7]
    np.testing.assert_array_equal(T.RandomCrop(9, padding=(1, 2), fill=7)(x, jax.random.key(0)), T.Pad((1, 2), 7)(x))


def test_random_crops_are_parts_of_the_image():
    square = IMAGES[:1, :, :, :6]  # rows and columns are drawn from one range, and drawn apart
    found = T.RandomCrop(3)(np.repeat(square, 300, axis=0), jax.random.key(0))
    parts = {square[0, :, i : i + 3, j : j + 3].tobytes() for i in range(4) for j in range(4)}
    assert {image.tobytes() for image in found} <= parts
    assert {image.tobytes() for image in found} == parts


ERRORS: list[tuple[Any, type[Exception], str]] = [
    (lambda: T.Compose([3]), UsageError, r"transforms\[0\] is 3"),
    (lambda: T.Lambda(3), UsageError, "function is 3"),
    (lambda: T.Normalize(0.5, 0.0), UsageError, "std is 0.0; every value must be greater than 0"),
    (lambda: T.Normalize(0.5, 1.0)(IMAGES), TypeError, "put ToFloat"),
    (lambda: T.Normalize(0.5, [1.0, -1.0]), UsageError, "every value must be greater than 0"),
    (lambda: T.OneHot(0), UsageError, "num_classes is 0"),
    (lambda: T.Crop(4, 0, 3)(IMAGES), UsageError, "pad them first"),
    (lambda: T.Crop(0, 6, 3)(IMAGES), UsageError, r"\(0, 6\) does not lie inside images of 6x8"),
    (lambda: T.Crop(-1, 0, 3)(IMAGES), UsageError, r"\(-1, 0\) does not lie"),
    (lambda: T.Crop(0, -1, 3)(IMAGES), UsageError, r"\(0, -1\) does not lie"),
    (lambda: T.CenterCrop(9)(IMAGES), UsageError, "does not lie inside images of 6x8"),
    (lambda: T.RandomCrop(7)(IMAGES, jax.random.key(0)), UsageError, "does not lie inside"),
    (lambda: T.Pad((1, 2, 3)), UsageError, "it must be 1, 2 or 4 numbers"),
    (lambda: T.Pad(-1), UsageError, "at least 0"),
    (lambda: T.Resize((0, 3)), UsageError, r"size is \(0, 3\)"),
    (lambda: T.Resize(3, "lanczos"), UsageError, "mode is 'lanczos'"),
    (lambda: T.RandomHorizontalFlip(1.5), UsageError, "p is 1.5"),
    (lambda: T.RandomVerticalFlip(-0.1), UsageError, "p is -0.1"),
    (lambda: T.RandomRotation(-10), UsageError, "degrees is -10"),
    (lambda: T.RandomRotation((3, 1)), UsageError, "degrees is"),
]


@pytest.mark.parametrize(("make", "kind", "match"), ERRORS)
def test_errors(make, kind, match):
    with pytest.raises(kind, match=match):
        make()
