"""Random transforms of image batches: one draw for each image, all of them from one key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxport.errors import UsageError

from .image_transforms import Pad, _check_inside, _pair, rotate


class _Random:
    """A transform that draws for each image."""

    needs_key = True

    def __init__(self, p: float = 1.0) -> None:
        if not 0.0 <= p <= 1.0:
            raise UsageError(f"p is {p}; it must be a probability, 0 to 1")
        self.p = p

    def chosen(self, x: Any, key: jax.Array | None) -> Any:
        """Return which images, bool (N, 1, 1, 1), with probability p."""
        drawn = jax.random.bernoulli(_needed(type(self).__name__, key), self.p, x.shape[:-3])
        return (np.asarray(drawn) if isinstance(x, np.ndarray) else drawn)[..., None, None, None]


class RandomHorizontalFlip(_Random):
    """Mirror each image left to right with probability p.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomHorizontalFlip.html
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def __call__(self, x: Any, key: jax.Array | None = None) -> Any:
        """Return the batch."""
        return x.__array_namespace__().where(self.chosen(x, key), x[..., ::-1], x)


class RandomVerticalFlip(_Random):
    """Turn each image upside down with probability p.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomVerticalFlip.html
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def __call__(self, x: Any, key: jax.Array | None = None) -> Any:
        """Return the batch."""
        return x.__array_namespace__().where(self.chosen(x, key), x[..., ::-1, :], x)


class RandomCrop(_Random):
    """A part of each image, of `size`, at a random place, after `padding` on all sides.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomCrop.html
    """

    def __init__(self, size: int | tuple[int, int], padding: int | Sequence[int] = 0, fill: float = 0) -> None:
        super().__init__()
        self.size, self.pad = _pair("size", size), Pad(padding, fill)

    def __call__(self, x: Any, key: jax.Array | None = None) -> Any:
        """Return the parts."""
        x = self.pad(x)
        _check_inside("RandomCrop", x, 0, 0, self.size)
        keys = jax.random.split(_needed("RandomCrop", key))
        xp = x.__array_namespace__()
        for axis, each in ((-2, keys[0]), (-1, keys[1])):
            want = self.size[axis]
            start = jax.random.randint(each, x.shape[:-3], 0, x.shape[axis] - want + 1, jnp.int32)
            places = np.arange(want, dtype=np.int32).reshape((1,) * (x.ndim - 1) + (-1,))
            places = places.swapaxes(axis, -1)
            start = (np.asarray(start) if isinstance(x, np.ndarray) else start)[..., None, None, None] + places
            x = xp.take_along_axis(x, start, axis=axis)
        return x


class RandomRotation(_Random):
    """Each image turned about its middle by an angle drawn evenly from -degrees to degrees, counter-clockwise.

    The nearest pixel is taken, and 0 outside the image, as torchvision does with arrays.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomRotation.html
    """

    def __init__(self, degrees: float | tuple[float, float]) -> None:
        super().__init__()
        self.low, self.high = (-degrees, degrees) if isinstance(degrees, (int, float)) else degrees
        if self.low > self.high:
            raise UsageError(f"degrees is {degrees!r}; it must be a number of at least 0, or (low, high)")

    def __call__(self, x: Any, key: jax.Array | None = None) -> Any:
        """Return the turned batch."""
        angle = jax.random.uniform(_needed("RandomRotation", key), x.shape[:-3], jnp.float32, self.low, self.high)
        return rotate(x, angle)


def _needed(owner: str, key: jax.Array | None) -> jax.Array:
    if key is None:
        raise UsageError(f"{owner}: key is None; a random transform needs one, as in transform(x, jax.random.key(0))")
    return key
