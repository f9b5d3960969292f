"""Sampling images at given places: grid_sample, affine_grid."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from .checks import same_dtype
from .precision import product_precision

Arrays = list[jax.Array]


def _unnormalise(u: jax.Array, size: int, align_corners: bool, axes: int) -> jax.Array:
    """Map [-1, 1] to element numbers; in PyTorch's order of operations, which differs between two axes and three."""
    if axes == 2:
        return (u + 1.0) * ((size - 1) / 2.0) if align_corners else (u + 1.0) * (size / 2.0) - 0.5
    return (u + 1.0) / 2.0 * (size - 1) if align_corners else ((u + 1.0) * size - 1.0) / 2.0


def _clip(place: jax.Array, size: int) -> jax.Array:
    """Clip to [0, size - 1], with gradient 0 also at the bounds, as in PyTorch; a NaN becomes 0."""
    last = jnp.full_like(place, size - 1)
    return jnp.where(place > 0, jnp.where(place >= last, last, place), jnp.zeros_like(place))


def _reflect(place: jax.Array, size: int, align_corners: bool) -> jax.Array:
    """Reflect at the outer elements' centres (`align_corners`) or edges, as often as needed."""
    low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
    if span == 0.0:
        return jnp.zeros_like(place)
    away = jnp.where(place < low, low - place, place - low)
    rest = away - jnp.floor(away / (2.0 * span)) * (2.0 * span)
    return jnp.where(rest > span, 2.0 * span - rest, rest) + low


def _pad(place: jax.Array, size: int, padding_mode: str, align_corners: bool) -> jax.Array:
    """Bring places outside the image to where `padding_mode` reads; 'zeros' leaves them."""
    if padding_mode == "zeros":
        return place
    return _clip(_reflect(place, size, align_corners) if padding_mode == "reflection" else place, size)


def _read(image: jax.Array, places: Arrays) -> jax.Array:
    """Return the elements (N, C, P) at whole-numbered places (N, P) of each axis, 0 outside."""
    sizes, flat, inside = image.shape[2:], None, None
    for place, size in zip(places, sizes, strict=True):
        within = (place >= 0) & (place <= size - 1)
        number = jnp.where(within, place, jnp.zeros_like(place)).astype(jnp.int32)
        flat = number if flat is None else flat * size + number
        inside = within if inside is None else inside & within
    assert flat is not None and inside is not None
    elements = image.reshape(*image.shape[:2], -1)
    read = jax.vmap(lambda one, index: jnp.take(one, index, axis=1, mode="clip"))(elements, flat)
    return jnp.where(jnp.broadcast_to(inside[:, None], read.shape), read, jnp.zeros_like(read))


def _weighted(image: jax.Array, taps: list[list[tuple[jax.Array, jax.Array]]]) -> jax.Array:
    """Return the sum over all combinations of each axis' (place, weight) taps."""
    parts = []
    for corner in itertools.product(*taps):
        weight = functools.reduce(jnp.multiply, (weight for _, weight in corner))
        value = _read(image, [place for place, _ in corner])
        parts.append(value * jnp.broadcast_to(weight[:, None], value.shape))
    return functools.reduce(jnp.add, parts)


def _linear_taps(place: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    before = jax.lax.stop_gradient(jnp.floor(place))
    return [(before, before + 1.0 - place), (before + 1.0, place - before)]


def _cubic_taps(place: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """Keys' cubic convolution with a = -0.75, at the element before, the one before that, and the two after."""
    before, a = jax.lax.stop_gradient(jnp.floor(place)), -0.75
    t = place - before
    near = lambda x: ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0  # noqa: E731
    far = lambda x: ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a  # noqa: E731
    weights = (far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t))
    return [(before + float(k - 1), weight) for k, weight in enumerate(weights)]


def _check(input: jax.Array, grid: jax.Array, mode: str, padding_mode: str) -> None:
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(f"grid_sample: mode must be 'bilinear', 'nearest' or 'bicubic', got {mode!r}")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"grid_sample: padding_mode must be 'zeros', 'border' or 'reflection', got {padding_mode!r}")
    if input.ndim not in (4, 5) or grid.ndim != input.ndim:
        raise ValueError(f"grid_sample: input and grid must both have 4 or 5 axes, got {input.shape} and {grid.shape}")
    if mode == "bicubic" and input.ndim != 4:
        raise ValueError(f"grid_sample: input must be (N, C, H, W) for mode 'bicubic', got shape {input.shape}")
    if grid.shape[0] != input.shape[0] or grid.shape[-1] != input.ndim - 2:
        wanted = f"({input.shape[0]}, …, {input.ndim - 2})"
        raise ValueError(f"grid_sample: grid must have shape {wanted} beside input {input.shape}, got {grid.shape}")
    if 0 in input.shape[2:]:
        raise ValueError(f"grid_sample: input must have elements in every spatial axis, got shape {input.shape}")
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise TypeError(f"grid_sample: input must be floating, got {input.dtype}")
    same_dtype("grid_sample", input=input, grid=grid)


def grid_sample(
    input: jax.Array,
    grid: jax.Array,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> jax.Array:
    """Sample each image at the places that `grid` names, with gradients to both.

    A coordinate u in [-1, 1] of an axis of n elements lies at (u + 1)·n/2 - ½, so that ±1 are the image's edges, or
    with `align_corners` at (u + 1)·(n - 1)/2, so that ±1 are the centres of the outer elements.

    Args:
        input: (N, C, H, W) or (N, C, D, H, W).
        grid: (N, H', W', 2) of (x, y), or (N, D', H', W', 3) of (x, y, z): x runs along W.
        mode: 'bilinear' (trilinear for 5 axes), 'nearest' (halves to even; no gradient to `grid`), or 'bicubic'
            (a = -0.75; 4 axes only).
        padding_mode: what lies outside: 'zeros', 'border' (the outer element), or 'reflection'.
        align_corners: None means False.

    Returns:
        (N, C, H', W') or (N, C, D', H', W').

    Raises:
        TypeError: dtypes differ or are not floating.
        ValueError: options or shapes that do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html
    """
    _check(input, grid, mode, padding_mode)
    align, sizes = bool(align_corners), input.shape[2:]
    # The grid's last axis is in the order x, y, z: from the last spatial axis to the first.
    points = [grid[..., k].reshape(grid.shape[0], -1) for k in reversed(range(len(sizes)))]
    places = [_unnormalise(u, n, align, len(sizes)) for u, n in zip(points, sizes, strict=True)]
    pad = functools.partial(_pad, padding_mode=padding_mode, align_corners=align)
    if mode == "bicubic":
        taps = [[(pad(p, n), w) for p, w in _cubic_taps(place)] for place, n in zip(places, sizes, strict=True)]
        output = _weighted(input, taps)
    else:
        places = [pad(place, n) for place, n in zip(places, sizes, strict=True)]
        if mode == "nearest":
            output = _read(input, [jax.lax.stop_gradient(jnp.round(place)) for place in places])
        else:
            output = _weighted(input, [_linear_taps(place) for place in places])
    return output.reshape(*input.shape[:2], *grid.shape[1:-1])


def _marks(size: int, align_corners: bool) -> np.ndarray:
    """Return `size` coordinates from -1 to 1: of the outer elements' centres, or of their edges."""
    marks = np.linspace(-1.0, 1.0, size) if size > 1 else np.zeros(1)
    return marks if align_corners else marks * (size - 1) / size


def affine_grid(theta: jax.Array, size: Sequence[int], align_corners: bool | None = None) -> jax.Array:
    """Return the grid that samples images by affine maps: at each place p of the output, θ (p, 1).

    Args:
        theta: θ, (N, 2, 3) for images or (N, 3, 4) for volumes.
        size: the output's (N, C, H, W) or (N, C, D, H, W).
        align_corners: as in `grid_sample`; None means False.

    Returns:
        (N, H, W, 2) of (x, y), or (N, D, H, W, 3) of (x, y, z).

    Raises:
        TypeError: `theta` is not floating.
        ValueError: shapes that do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.affine_grid.html
    """
    if not jnp.issubdtype(theta.dtype, jnp.floating):
        raise TypeError(f"affine_grid: theta must be floating, got {theta.dtype}")
    size = tuple(int(n) for n in size)
    if len(size) not in (4, 5) or min(size) < 1:
        raise ValueError(f"affine_grid: size must be 4 or 5 positive integers, got {size}")
    wanted = (size[0], len(size) - 2, len(size) - 1)
    if theta.shape != wanted:
        raise ValueError(f"affine_grid: theta must have shape {wanted} for size {size}, got {theta.shape}")
    axes = np.meshgrid(*(_marks(n, bool(align_corners)) for n in size[2:]), indexing="ij")
    base = np.stack([*reversed(axes), np.ones(size[2:])], axis=-1).reshape(-1, len(size) - 1)
    grid = jnp.einsum("pk,njk->npj", jnp.asarray(base, theta.dtype), theta, precision=product_precision())
    return grid.reshape(size[0], *size[2:], len(size) - 2)
