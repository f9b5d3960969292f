"""Transforms of images: what each does, the same from NumPy's and JAX's arrays, by key, and what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport.data import transforms as T
from jaxport.errors import UsageError

pytestmark = pytest.mark.usefixtures("strict_jax")

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 3, 6, 8), dtype=np.uint8)
FLOATS = RNG.standard_normal((4, 3, 6, 8)).astype(np.float32)
ALL = {
    "ToFloat": (T.ToFloat(), IMAGES, lambda x: x.astype(np.float32) / np.float32(255)),
    "Normalize": (
        T.Normalize([0.1, 0.2, 0.3], 0.5),
        FLOATS,
        lambda x: (x - np.float32([0.1, 0.2, 0.3])[:, None, None]) / np.float32(0.5),
    ),
    "OneHot": (T.OneHot(3), np.array([0, 2, 3, 1], np.int32), lambda y: np.eye(4, dtype=np.float32)[y][:, :3]),
    "Crop": (T.Crop(1, 2, (3, 4)), IMAGES, lambda x: x[..., 1:4, 2:6]),
    "CenterCrop": (T.CenterCrop(4), IMAGES, lambda x: x[..., 1:5, 2:6]),
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
    "Compose": T.Compose([T.RandomVerticalFlip(), T.RandomHorizontalFlip(), T.RandomCrop(5)]),
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


def test_random_crops_are_parts_of_the_image():
    found = T.RandomCrop((3, 4))(np.repeat(IMAGES[:1], 50, axis=0), jax.random.key(0))
    parts = {IMAGES[0, :, i : i + 3, j : j + 4].tobytes() for i in range(4) for j in range(5)}
    assert {image.tobytes() for image in found} <= parts
    assert len({image.tobytes() for image in found}) > 10


ERRORS: list[tuple[Any, type[Exception], str]] = [
    (lambda: T.Compose([3]), UsageError, r"transforms\[0\] is 3"),
    (lambda: T.Lambda(3), UsageError, "function is 3"),
    (lambda: T.Normalize(0.5, 0.0), UsageError, "std is 0.0; every value must be greater than 0"),
    (lambda: T.Normalize(0.5, 1.0)(IMAGES), TypeError, "put ToFloat"),
    (lambda: T.OneHot(0), UsageError, "num_classes is 0"),
    (lambda: T.Crop(4, 0, 3)(IMAGES), UsageError, "pad them first"),
    (lambda: T.CenterCrop(9)(IMAGES), UsageError, "does not lie inside images of 6x8"),
    (lambda: T.RandomCrop(7)(IMAGES, jax.random.key(0)), UsageError, "does not lie inside"),
    (lambda: T.Pad((1, 2, 3)), UsageError, "it must be 1, 2 or 4 numbers"),
    (lambda: T.Pad(-1), UsageError, "at least 0"),
    (lambda: T.Resize((0, 3)), UsageError, r"size is \(0, 3\)"),
    (lambda: T.Resize(3, "lanczos"), UsageError, "mode is 'lanczos'"),
    (lambda: T.RandomHorizontalFlip(1.5), UsageError, "p is 1.5"),
    (lambda: T.RandomRotation((3, 1)), UsageError, "degrees is"),
]


@pytest.mark.parametrize(("make", "kind", "match"), ERRORS)
def test_errors(make, kind, match):
    with pytest.raises(kind, match=match):
        make()
