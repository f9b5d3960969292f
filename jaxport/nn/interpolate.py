"""Resizing by interpolation: interpolate."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import interpolate_tables as tables
from .interpolate_tables import Table
from .pooling_windows import channels_back, channels_last

Size = int | Sequence[int]
Factor = float | Sequence[float]

_NEAREST = ("nearest", "nearest-exact")
_AXES = {"linear": 1, "bilinear": 2, "bicubic": 2, "lanczos": 2, "trilinear": 3}
# Up to so many taps are summed one by one; XLA fuses them into one pass over the output.
_UNROLLED = 12


def _weigh(x: jax.Array, axis: int, table: Table) -> jax.Array:
    """Return Σ_k weight_ik x_index_ik along `axis`."""
    index, weight = table
    if weight.shape[1] == 1 and (weight == 1.0).all():
        return jnp.take(x, index[:, 0], axis=axis, mode="clip")
    shape = [1] * x.ndim
    shape[axis] = len(weight)
    if weight.shape[1] <= _UNROLLED:
        parts = []
        for k in range(weight.shape[1]):
            read = jnp.take(x, index[:, k], axis=axis, mode="clip")
            parts.append(read * jnp.broadcast_to(jnp.asarray(weight[:, k].reshape(shape), x.dtype), read.shape))
        return functools.reduce(jnp.add, parts)
    read = jnp.take(x, index, axis=axis, mode="clip")
    shape.insert(axis + 1, weight.shape[1])
    return jnp.sum(read * jnp.broadcast_to(jnp.asarray(weight.reshape(shape), x.dtype), read.shape), axis=axis + 1)


class _Resampling:
    """The tables of each spatial axis, from axis `first` on, and those that PyTorch's gradient goes by."""

    def __init__(self, forward: Sequence[Table], gradient: Sequence[Table], first: int) -> None:
        self.forward = tuple(forward)
        self.gradient = tuple(gradient)
        self.first = first

    def apply(self, x: jax.Array) -> jax.Array:
        for axis, table in enumerate(self.forward, self.first):
            x = _weigh(x, axis, table)
        return x

    def pull_back(self, y: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Return the gradient of an input of `shape`: each input gathers from the outputs that it went to."""
        for axis, table in enumerate(self.gradient, self.first):
            y = _weigh(y, axis, tables.transposed(table, shape[axis]))
        return y


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _resample(x: jax.Array, maps: _Resampling) -> jax.Array:
    return maps.apply(x)


@_resample.defjvp
def _resample_jvp(
    maps: _Resampling, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The tangent is the transpose of the gradient, so that reverse mode, which transposes it again, gathers.

    Left to itself JAX would scatter there, which is slow; and where PyTorch's gradient is not that of its own forward
    map (see `interpolate`) there is no other way to have both.
    """
    (x,), (dx,) = primals, tangents
    y = maps.apply(x)
    like = jax.ShapeDtypeStruct(y.shape, y.dtype)
    (dy,) = jax.linear_transpose(lambda y: maps.pull_back(y, x.shape), like)(dx)
    return y, dy


def _tables(
    mode: str, sizes: list[tuple[int, int]], factors: Any, align_corners: bool, antialias: bool, real: Any
) -> tuple[list[Table], list[Table]]:
    """Return the tables of all axes, and those of PyTorch's gradient: the same but for some equal or double sizes."""
    axes = [(n, m, factor) for (n, m), factor in zip(sizes, factors, strict=True)]
    if mode in _NEAREST:
        whole, exact = (tables.nearest, tables.nearest_gradient), (tables.nearest_exact, tables.nearest_exact_gradient)
        take, take_gradient = whole if mode == "nearest" else exact
        gradient = [take_gradient(*axis) for axis in axes]
        # PyTorch computes small images by another kernel, which goes by the gradient's positions.
        small = len(axes) == 2 and sum(m for _, m in sizes) <= 128
        return gradient if small else [take(*axis, real) for axis in axes], gradient
    if antialias:
        kinds = (tables.antialiased, tables.antialiased_gradient)
        forward, gradient = ([kind(mode, n, m, align_corners, factor) for n, m, factor in axes] for kind in kinds)
        return forward, gradient
    if mode == "area":
        forward = [tables.area(n, m) for n, m, _ in axes]
    else:
        kind = tables.cubic if mode == "bicubic" else tables.linear
        forward = [kind(n, m, align_corners, factor) for n, m, factor in axes]
    if mode == "bicubic" and all(n == m for n, m in sizes):
        return forward, [tables.linear(n, m, align_corners, None) for n, m in sizes]
    return forward, forward


def _expand(name: str, value: Any, axes: int, kind: Any, word: str) -> tuple[Any, ...]:
    """Return `value` for each spatial axis, one standing for all."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes
    if not all(isinstance(v, kind) and not isinstance(v, bool) for v in values):
        raise TypeError(f"interpolate: {name} must be {word} or one for each spatial axis, got {value!r}")
    if len(values) != axes:
        raise ValueError(f"interpolate: {name} must have one entry for each of {axes} spatial axes, got {value!r}")
    return values


def _check_mode(mode: str, ndim: int, align_corners: bool | None, antialias: bool) -> None:
    if mode not in (*_NEAREST, "area", *_AXES):
        known = ", ".join((*_NEAREST, "area", *_AXES))
        raise ValueError(f"interpolate: mode must be one of {known}, got {mode!r}")
    if ndim not in (3, 4, 5) or _AXES.get(mode, ndim - 2) != ndim - 2:
        wanted = f"{_AXES[mode] + 2} axes (N, C, …)" if mode in _AXES else "3, 4 or 5 axes (N, C, …)"
        raise ValueError(f"interpolate: input must have {wanted} for mode {mode!r}, got {ndim}")
    if align_corners is not None and mode not in _AXES:
        raise ValueError(f"interpolate: align_corners must be None for mode {mode!r}, got {align_corners!r}")
    if antialias and mode not in ("bilinear", "bicubic", "lanczos"):
        raise ValueError(f"interpolate: antialias must be False for mode {mode!r}; bilinear, bicubic, lanczos have it")
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError("interpolate: mode 'lanczos' must have antialias=True and align_corners=False")


def _sizes(
    spatial: tuple[int, ...], size: Size | None, scale_factor: Factor | None, recompute: bool
) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """Return the output's size, and the factors that the positions go by (None: the sizes' ratio)."""
    none = (None,) * len(spatial)
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate: exactly one of size and scale_factor must be given, got {size!r} and {scale_factor!r}"
        )
    if scale_factor is None:
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor must not be True beside size")
        outputs, factors = _expand("size", size, len(spatial), (int, np.integer), "an integer"), none
    else:
        given = _expand("scale_factor", scale_factor, len(spatial), (int, float), "a number")
        if not all(math.isfinite(f) for f in given):
            raise ValueError(f"interpolate: scale_factor must be finite, got {scale_factor!r}")
        outputs = tuple(int(n * f) for n, f in zip(spatial, given, strict=True))
        factors = none if recompute else tuple(float(f) for f in given)
    if min(*outputs, *spatial) < 1:
        raise ValueError(f"interpolate: sizes must be positive, got input {spatial} and output {outputs}")
    return tuple(int(n) for n in outputs), factors


def interpolate(
    input: jax.Array,
    size: Size | None = None,
    scale_factor: Factor | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> jax.Array:
    """Resize the spatial axes.

    Output i of an axis of n elements resized to m lies at s·(i + ½) - ½, s = n/m or, where it is given,
    1/scale_factor; with `align_corners` at i·(n-1)/(m-1). ‘nearest’ takes element ⌊s·i⌋, ‘nearest-exact’ ⌊s·(i + ½)⌋,
    ‘linear’, ‘bilinear’ and ‘trilinear’ weigh the elements before and after (one, two, three axes), ‘bicubic’ four in
    each axis by the cubic kernel with a = -0.75, ‘area’ takes means over [⌊i·n/m⌋, ⌈(i+1)·n/m⌉). With `antialias`,
    ‘bilinear’, ‘bicubic’ (a = -0.5) and ‘lanczos’ weigh by a kernel that is stretched by s when shrinking.

    Args:
        input: (N, C, W), (N, C, H, W) or (N, C, D, H, W).
        size: the output's size, an integer or one for each spatial axis.
        scale_factor: in its place, a number or one for each axis; the size is ⌊n · scale_factor⌋.
        mode: one of the words above.
        align_corners: None means False where the mode has it.
        recompute_scale_factor: whether s is n/m even where `scale_factor` is given.
        antialias: whether to smooth when shrinking; (N, C, H, W) only.

    Returns:
        the resized array in the input's dtype. Gradients are PyTorch's, also where those are not the derivative: with
        a factor near 1 that leaves the size as it is, ‘nearest’ and ‘bicubic’ have the gradient of a copy, and with
        `antialias` the output is a copy and the gradient is not; ‘nearest’ that doubles a size has that of factor 2.
        Images with H' + W' ≤ 128 are themselves resized by ‘nearest’ as their gradient is, also as in PyTorch.

    Raises:
        TypeError: `size` or `scale_factor` of another type, or an input that is not floating outside the nearest modes
            (PyTorch also takes uint8 for bilinear and bicubic).
        ValueError: options or shapes that do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html
    """
    _check_mode(mode, input.ndim, align_corners, antialias)
    if mode not in _NEAREST and not jnp.issubdtype(input.dtype, jnp.floating):
        raise TypeError(f"interpolate: input must be floating for mode {mode!r}, got {input.dtype}")
    if input.shape[1] == 0:
        raise ValueError(f"interpolate: input must have channels, got shape {input.shape}")
    spatial = input.shape[2:]
    outputs, factors = _sizes(
        spatial, size, scale_factor, bool(recompute_scale_factor) or (mode == "area" and size is None)
    )
    real = np.float64 if input.dtype == jnp.float64 else np.float32
    sizes = list(zip(spatial, outputs, strict=True))
    # Reading whole pixels is five times as fast as reading single numbers.
    x, first = channels_last(input, len(spatial))
    maps = _Resampling(*_tables(mode, sizes, factors, bool(align_corners), antialias, real), first)
    half = jnp.issubdtype(input.dtype, jnp.floating) and jnp.finfo(input.dtype).bits < 32
    y = _resample(x.astype(jnp.float32) if half and mode not in _NEAREST else x, maps)
    return channels_back(y, first, len(spatial)).astype(input.dtype)
