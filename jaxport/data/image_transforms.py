"""Transforms of image batches by torchvision's names: composable, the same numbers from NumPy's arrays and from JAX's.

A transform is called with a batch (N, C, H, W), or one image (C, H, W); a random one also with a key, from which it
draws one value for each image: ``transform(x, key)``. All run inside `jax.jit`; NumPy's arrays give
NumPy's arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxport.nn.functional as F
from jaxport.errors import UsageError

from .pixels import to_float

Transform = Callable[..., Any]


class Compose:
    """One transform after the other; each random one gets a key of its own, made from its place in the list.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Compose.html
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        for number, transform in enumerate(transforms):
            if not callable(transform):
                raise UsageError(f"transforms[{number}] is {transform!r}; it must be a function of a batch")
        self.transforms = tuple(transforms)
        self.needs_key = any(needs_key(transform) for transform in transforms)

    def __call__(self, x: Any, key: jax.Array | None = None) -> Any:
        """Return x after all transforms."""
        for number, transform in enumerate(self.transforms):
            x = apply(transform, x, None if key is None else jax.random.fold_in(key, number))
        return x


class Lambda:
    """Any function as a transform.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Lambda.html
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        if not callable(function):
            raise UsageError(f"function is {function!r}; it must be callable")
        self.function = function

    def __call__(self, x: Any) -> Any:
        """Return function(x)."""
        return self.function(x)


class ToFloat:
    """Pixels 0..255 as floats in [0, 1], torchvision's ToTensor; see `to_float`."""

    def __init__(self, dtype: Any = np.float32) -> None:
        self.dtype = dtype

    def __call__(self, x: Any) -> Any:
        """Return x / 255."""
        return to_float(x, self.dtype)


class Normalize:
    """(x - mean) / std for each channel.

    mean, std: one number, or one for each channel; x: floats (..., C, H, W).

    Raises:
        UsageError: a std that is not positive.
        TypeError: x is not of a float dtype.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Normalize.html
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean, self.std = np.asarray(mean, np.float64).reshape(-1), np.asarray(std, np.float64).reshape(-1)
        if not np.all(self.std > 0):
            raise UsageError(f"std is {std!r}; every value must be greater than 0")

    def __call__(self, x: Any) -> Any:
        """Return the normalised batch."""
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise TypeError(f"Normalize: x is of dtype {x.dtype}; it must be floats: put ToFloat() before it")
        xp = x.__array_namespace__()
        mean, std = (
            xp.asarray(v.reshape((1,) * (x.ndim - 3) + (-1, 1, 1)), dtype=x.dtype) for v in (self.mean, self.std)
        )
        return (x - mean) / std


class OneHot:
    """Labels as rows of a unit matrix.

    y: integers (...) from 0 to num_classes - 1 → (..., num_classes); a label outside gives a row of zeros.
    """

    def __init__(self, num_classes: int, dtype: Any = np.float32) -> None:
        if num_classes < 1:
            raise UsageError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes, self.dtype = num_classes, dtype

    def __call__(self, y: Any) -> Any:
        """Return the rows."""
        xp = y.__array_namespace__()
        classes = xp.arange(self.num_classes, dtype=y.dtype).reshape((1,) * y.ndim + (-1,))
        return (y[..., None] == classes).astype(self.dtype)


class Crop:
    """The part of each image from row `top` and column `left`, of `size` (height, width).

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.crop.html
    """

    def __init__(self, top: int, left: int, size: int | tuple[int, int]) -> None:
        self.top, self.left, self.size = top, left, _pair("size", size)

    def __call__(self, x: Any) -> Any:
        """Return the part."""
        _check_inside("Crop", x, self.top, self.left, self.size)
        return x[..., self.top : self.top + self.size[0], self.left : self.left + self.size[1]]


class CenterCrop:
    """The middle of each image; what is left over is halved and rounded as torchvision does.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.CenterCrop.html
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = _pair("size", size)

    def __call__(self, x: Any) -> Any:
        """Return the middle."""
        top, left = (round((have - want) / 2.0) for have, want in zip(x.shape[-2:], self.size, strict=True))
        return Crop(top, left, self.size)(x)


class Pad:
    """Rows and columns added around each image.

    padding: one number, (left and right, top and bottom), or (left, top, right, bottom); fill: the value.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Pad.html
    """

    def __init__(self, padding: int | Sequence[int], fill: float = 0) -> None:
        sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding) * (4 // max(1, len(padding)))
        if len(sides) != 4 or any(side < 0 for side in sides):
            raise UsageError(f"padding is {padding!r}; it must be 1, 2 or 4 numbers of at least 0")
        self.left, self.top, self.right, self.bottom = sides
        self.fill = fill

    def __call__(self, x: Any) -> Any:
        """Return the padded batch."""
        widths = [(0, 0)] * (x.ndim - 2) + [(self.top, self.bottom), (self.left, self.right)]
        return (np if isinstance(x, np.ndarray) else jnp).pad(x, widths, constant_values=self.fill)


class Resize:
    """Each image in another size, by interpolation; bytes are computed with as floats, rounded and clipped.

    size: (height, width), or the shorter side. antialias: as torchvision's default, True.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Resize.html
    """

    def __init__(self, size: int | tuple[int, int], mode: str = "bilinear", antialias: bool = True) -> None:
        if mode not in ("nearest", "nearest-exact", "bilinear", "bicubic"):
            raise UsageError(f"mode is {mode!r}; it must be 'nearest', 'nearest-exact', 'bilinear' or 'bicubic'")
        self.shorter = size if isinstance(size, int) else None
        self.size, self.mode = _pair("size", size), mode
        self.antialias = antialias and mode in ("bilinear", "bicubic")

    def __call__(self, x: Any) -> Any:
        """Return the resized batch."""
        height, width = x.shape[-2:]
        size = self.size
        if self.shorter is not None:
            short, long = sorted((height, width))
            other = int(self.shorter * long / short)
            size = (self.shorter, other) if height <= width else (other, self.shorter)
        return _as_images(x, lambda images: F.interpolate(images, size, mode=self.mode, antialias=self.antialias))


def rotate(x: Any, angle: Any) -> Any:
    """Turn images about their middle, counter-clockwise, by `angle` degrees; outside is 0; the nearest pixel is taken.

    x: (..., C, H, W). angle: one number, or one for each image.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.rotate.html
    """
    height, width = x.shape[-2:]
    turn = jnp.deg2rad(jnp.broadcast_to(jnp.asarray(angle, jnp.float32), x.shape[:-3]).reshape(-1))
    cos, sin, zero = jnp.cos(turn), jnp.sin(turn), jnp.zeros_like(turn)
    # In affine_grid's units both sides are 2 long; the turn is one of pixels.
    theta = jnp.stack(
        [jnp.stack([cos, -sin * (height / width), zero], -1), jnp.stack([sin * (width / height), cos, zero], -1)], 1
    )

    def turned(images: jax.Array) -> jax.Array:
        grid = F.affine_grid(theta.astype(images.dtype), images.shape, align_corners=False)
        return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)

    return _as_images(x, turned)


def apply(transform: Transform, x: Any, key: jax.Array | None) -> Any:
    """Return transform(x), or transform(x, key) if it is a random one."""
    return transform(x, key) if needs_key(transform) else transform(x)


def needs_key(transform: Any) -> bool:
    """Tell whether a transform draws random numbers: whether its `needs_key` is true."""
    return bool(getattr(transform, "needs_key", False))


def _as_images(x: Any, function: Callable[[jax.Array], jax.Array]) -> Any:
    """Apply a function of float images (N, C, H, W) to an array of any dtype and any leading axes."""
    images = jnp.asarray(x).reshape(-1, *x.shape[-3:])
    exact = jnp.issubdtype(x.dtype, jnp.floating)
    found = function(images if exact else images.astype(jnp.float32))
    if not exact:
        limits = jnp.iinfo(x.dtype)
        found = jnp.clip(jnp.round(found), limits.min, limits.max).astype(x.dtype)
    found = found.reshape(*x.shape[:-3], *found.shape[-3:])
    return np.asarray(found) if isinstance(x, np.ndarray) else found


def _pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or any(side < 1 for side in pair):
        raise UsageError(f"{name} is {value!r}; it must be one number or (height, width), each at least 1")
    return pair


def _check_inside(owner: str, x: Any, top: int, left: int, size: tuple[int, int]) -> None:
    height, width = x.shape[-2:]
    if top < 0 or left < 0 or top + size[0] > height or left + size[1] > width:
        raise UsageError(
            f"{owner}: size {size} from ({top}, {left}) does not lie inside images of {height}x{width}: pad them first"
        )
