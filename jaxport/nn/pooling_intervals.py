"""The windows of fractional max pooling: where they start, and their maxima."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .checks import index_dtype, same_dtype
from .pooling_max import first_max, flat_places
from .pooling_windows import check_input, sizes


def _starts(sample: jax.Array, size: int, kernel: int, output: int) -> jax.Array:
    """Return where the windows of every image start: (N, C) samples to (N, C, output).

    ⌊(i + u)·a⌋ - ⌊u·a⌋ with a = (size - kernel) / (output - 1); the last window ends with the axis.
    """
    last = jnp.full((*sample.shape, 1), size - kernel, jnp.int32)
    if output == 1:
        return last
    # Divided in the sample's dtype, as in PyTorch: rounding decides where a window starts.
    step = jnp.asarray(size - kernel, sample.dtype) / jnp.asarray(output - 1, sample.dtype)
    number = jnp.arange(output - 1, dtype=sample.dtype)
    moved = (number[None, None] + sample[..., None]) * step
    return jnp.concatenate([moved.astype(jnp.int32) - (sample * step).astype(jnp.int32)[..., None], last], axis=-1)


def _fractional_places(x: jax.Array, starts: list[jax.Array], kernels: tuple[int, ...]) -> jax.Array:
    """Return the flat index of each window's maximum in (N, C, ...); starts of one axis are (N, C, output)."""
    dims = len(kernels)
    best, place = x, flat_places(x.shape, 2, dims)
    for axis in reversed(range(dims)):
        shape = [1] * dims
        shape[axis] = starts[axis].shape[-1]
        first = starts[axis].reshape(*x.shape[:2], *shape)
        index = [first + u for u in range(kernels[axis])]
        views = [jnp.take_along_axis(best, i, axis + 2, mode="promise_in_bounds") for i in index]
        places = [jnp.take_along_axis(place, i, axis + 2, mode="promise_in_bounds") for i in index]
        best, place = first_max(views, places, [None] * len(views))
        assert place is not None
    return place


def _sizes(
    owner: str, input: jax.Array, kernel_size: Any, output_size: Any, output_ratio: Any, dims: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    check_input(owner, input, dims, may_be_empty=1)
    lengths = input.shape[-dims:]
    if output_size is None:
        if output_ratio is None:
            raise ValueError(f"{owner}: output_size or output_ratio must be given, got neither")
        ratios = wanted_ratios(owner, output_ratio, dims)
        output_size = tuple(int(n * r) for n, r in zip(lengths, ratios, strict=True))
    kernels = sizes(owner, "kernel_size", kernel_size, dims, 1)
    outputs = sizes(owner, "output_size", output_size, dims, 1)
    # In 3-D PyTorch refuses the largest kernel that would fit.
    spare = 0 if dims == 2 else 1
    if any(o + k - 1 + spare > n for o, k, n in zip(outputs, kernels, lengths, strict=True)):
        raise ValueError(f"{owner}: kernel_size {kernels} is too large for output_size {outputs} of {lengths}")
    return kernels, outputs


def wanted_ratios(owner: str, value: Any, dims: int) -> tuple[float, ...]:
    """Return `value` as one ratio per axis.

    Raises:
        ValueError: they are not numbers in (0, 1), or another number of them.
    """
    ratios = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims
    if len(ratios) != dims or not all(isinstance(r, (int, float)) and 0 < r < 1 for r in ratios):
        raise ValueError(f"{owner}: output_ratio must be a number in (0, 1) or {dims} of them, got {value!r}")
    return ratios


def _samples(owner: str, x: jax.Array, samples: jax.Array | None, key: jax.Array | None) -> jax.Array:
    """Return one number in [0, 1) per image and axis: (N, C, dims)."""
    dims = x.ndim - 2
    shape = (*x.shape[:2], dims)
    if samples is None:
        if key is None:
            raise ValueError(f"{owner}: key must be a JAX PRNG key where no _random_samples are given, got None")
        return jax.random.uniform(key, shape, x.dtype)
    same_dtype(owner, input=x, _random_samples=samples)
    if samples.ndim != 3 or samples.shape[0] < shape[0] or samples.shape[1:] != shape[1:]:
        raise ValueError(f"{owner}: _random_samples must have shape {shape}, got {samples.shape}")
    return samples[: shape[0]]


def fractional_max(
    owner: str, dims: int, input: jax.Array, options: tuple[Any, Any, Any], samples: Any, key: Any
) -> tuple[jax.Array, jax.Array]:
    """Return the maxima and their flat indices; `options` are kernel size, output size and ratio.

    Raises:
        ValueError: a shape, size or ratio that does not fit, or neither samples nor key.
        TypeError: integers, or samples of another dtype.
    """
    kernels, outputs = _sizes(owner, input, *options, dims)
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise TypeError(f"{owner}: input must be floating, got {input.dtype}")
    x = input if input.ndim == dims + 2 else input[None]
    samples = _samples(owner, x, samples, key)
    best, place = _pooled(x, samples, kernels, outputs)
    return (best, place) if input.ndim == x.ndim else (best[0], place[0])


@functools.partial(jax.jit, static_argnames=("kernels", "outputs"), inline=True)
def _pooled(
    x: jax.Array, samples: jax.Array, kernels: tuple[int, ...], outputs: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    dims = len(kernels)
    # PyTorch's order of the samples: (W, H) in 2-D, (T, H, W) in 3-D.
    order = (1, 0) if dims == 2 else (0, 1, 2)
    axes = zip(order, x.shape[2:], kernels, outputs, strict=True)
    starts = [_starts(lax.stop_gradient(samples[..., i]), n, k, o) for i, n, k, o in axes]
    place = _fractional_places(lax.stop_gradient(x), starts, kernels)
    # Sizes, not -1: an empty batch has no size to infer.
    flat = place.reshape(*x.shape[:2], math.prod(place.shape[2:]))
    best = jnp.take_along_axis(x.reshape(*x.shape[:2], math.prod(x.shape[2:])), flat, 2, mode="promise_in_bounds")
    return best.reshape(place.shape), place.astype(index_dtype())
