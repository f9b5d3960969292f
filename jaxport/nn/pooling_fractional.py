"""Fractional max pooling: windows at random steps between 1 / ratio rounded down and up (Graham 2014)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from .checks import index_dtype, same_dtype
from .module import Buffer, Module, fresh_rngs
from .pooling_max import first_max, flat_places
from .pooling_windows import Size, check_input, sizes


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
        shape[axis] = -1
        first = starts[axis].reshape(*x.shape[:2], *shape)
        index = [first + u for u in range(kernels[axis])]
        views = [jnp.take_along_axis(best, i, axis + 2, mode="promise_in_bounds") for i in index]
        places = [jnp.take_along_axis(place, i, axis + 2, mode="promise_in_bounds") for i in index]
        best, place = first_max(views, places, [None] * len(views))
    return place


def _sizes(
    owner: str, input: jax.Array, kernel_size: Any, output_size: Any, output_ratio: Any, dims: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    check_input(owner, input, dims, may_be_empty=1)
    lengths = input.shape[-dims:]
    if output_size is None:
        if output_ratio is None:
            raise ValueError(f"{owner}: output_size or output_ratio must be given, got neither")
        ratios = _ratios(owner, output_ratio, dims)
        output_size = tuple(int(n * r) for n, r in zip(lengths, ratios, strict=True))
    kernels = sizes(owner, "kernel_size", kernel_size, dims, 1)
    outputs = sizes(owner, "output_size", output_size, dims, 1)
    # In 3-D PyTorch refuses the largest kernel that would fit.
    spare = 0 if dims == 2 else 1
    if any(o + k - 1 + spare > n for o, k, n in zip(outputs, kernels, lengths, strict=True)):
        raise ValueError(f"{owner}: kernel_size {kernels} is too large for output_size {outputs} of {lengths}")
    return kernels, outputs


def _ratios(owner: str, value: Any, dims: int) -> tuple[float, ...]:
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


def _fractional_max_pool(
    owner: str, dims: int, input: jax.Array, options: tuple[Any, Any, Any], samples: Any, key: Any
) -> tuple[jax.Array, jax.Array]:
    kernels, outputs = _sizes(owner, input, *options, dims)
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise TypeError(f"{owner}: input must be floating, got {input.dtype}")
    x = input if input.ndim == dims + 2 else input[None]
    samples = _samples(owner, x, samples, key)
    # PyTorch's order of the samples: (W, H) in 2-D, (T, H, W) in 3-D.
    order = (1, 0) if dims == 2 else (0, 1, 2)
    axes = zip(order, x.shape[2:], kernels, outputs, strict=True)
    starts = [_starts(lax.stop_gradient(samples[..., i]), n, k, o) for i, n, k, o in axes]
    place = _fractional_places(lax.stop_gradient(x), starts, kernels)
    flat = place.reshape(*x.shape[:2], -1)
    best = jnp.take_along_axis(x.reshape(*x.shape[:2], -1), flat, 2, mode="promise_in_bounds")
    shape = (*input.shape[:-dims], *outputs)
    return best.reshape(shape), place.astype(index_dtype()).reshape(shape)


def fractional_max_pool2d(
    input: jax.Array,
    kernel_size: Size,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: jax.Array | None = None,
    *,
    key: jax.Array | None = None,
) -> Any:
    """Take the maximum of windows that start at random steps, each image with its own.

    With a sample u in [0, 1) per image and axis, window i of an axis of length L starts at ⌊(i + u)·a⌋ - ⌊u·a⌋,
    a = (L - k) / (L' - 1), and the last one at L - k.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: an integer or (kH, kW).
        output_size: an integer or (H', W').
        output_ratio: H'/H and W'/W, a number in (0, 1) or two, if `output_size` is None.
        return_indices: whether to return also where each maximum was, as an index into H·W (int64 under x64, else
            int32).
        _random_samples: u, (N, C, 2), for W and H in this order, as in PyTorch.
        key: JAX PRNG key to draw u from if it is not given.

    Returns:
        (N, C, H', W'), and the indices if asked for. Of equal elements the first in row-major order counts.

    Raises:
        ValueError: a shape, size or ratio that does not fit, or neither samples nor key.
        TypeError: integers, or samples of another dtype.

    Differs from PyTorch: an empty output is refused.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool2d.html
    """
    options = (kernel_size, output_size, output_ratio)
    best, place = _fractional_max_pool("fractional_max_pool2d", 2, input, options, _random_samples, key)
    return (best, place) if return_indices else best


def fractional_max_pool3d(
    input: jax.Array,
    kernel_size: Size,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: jax.Array | None = None,
    *,
    key: jax.Array | None = None,
) -> Any:
    """Take the maximum of windows of (N, C, T, H, W) or (C, T, H, W) at random steps; see `fractional_max_pool2d`.

    The samples, (N, C, 3), are for T, H and W, and a kernel must be smaller than its axis by the output's size.

    Raises:
        ValueError: a shape, size or ratio that does not fit, or neither samples nor key.
        TypeError: integers, or samples of another dtype.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool3d.html
    """
    options = (kernel_size, output_size, output_ratio)
    best, place = _fractional_max_pool("fractional_max_pool3d", 3, input, options, _random_samples, key)
    return (best, place) if return_indices else best


def fractional_max_pool2d_with_indices(
    input: jax.Array,
    kernel_size: Size,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: jax.Array | None = None,
    *,
    key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Return (maxima, indices) of `fractional_max_pool2d`, whatever `return_indices` says, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool2d.html
    """
    del return_indices
    return fractional_max_pool2d(input, kernel_size, output_size, output_ratio, True, _random_samples, key=key)


def fractional_max_pool3d_with_indices(
    input: jax.Array,
    kernel_size: Size,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: jax.Array | None = None,
    *,
    key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Return (maxima, indices) of `fractional_max_pool3d`, whatever `return_indices` says, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool3d.html
    """
    del return_indices
    return fractional_max_pool3d(input, kernel_size, output_size, output_ratio, True, _random_samples, key=key)


class _FractionalMaxPool(Module):
    _dims = 2

    def __init__(
        self,
        kernel_size: Size,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: jax.Array | None = None,
        *,
        rngs: nnx.Rngs | int | None = None,
    ) -> None:
        owner, dims = type(self).__name__, self._dims
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{owner}: either output_size or output_ratio must be given")
        self.kernel_size = sizes(owner, "kernel_size", kernel_size, dims, 1)
        self.return_indices = return_indices
        self._random_samples = None if _random_samples is None else Buffer(_random_samples)
        self.output_size = None if output_size is None else sizes(owner, "output_size", output_size, dims, 1)
        self.output_ratio = None if output_ratio is None else _ratios(owner, output_ratio, dims)
        # The layer keeps a stream of its own, as dropout does.
        self.rngs = None if _random_samples is not None else fresh_rngs(rngs, owner)["pooling"].fork()

    def _samples(self) -> dict[str, Any]:
        if self._random_samples is not None:
            return {"_random_samples": self._random_samples[...]}
        return {"key": self.rngs() if self.rngs is not None else None}


class FractionalMaxPool2d(_FractionalMaxPool):
    """Take the maximum of windows at random steps; see `fractional_max_pool2d`.

    Args:
        kernel_size: an integer or (kH, kW).
        output_size: an integer or (H', W').
        output_ratio: H'/H and W'/W, in (0, 1), in place of `output_size`.
        return_indices: whether to return the maxima's indices too.
        _random_samples: the samples, (N, C, 2), if they shall not be drawn at every call; a buffer.
        rngs: a ``flax.nnx.Rngs`` (stream ``pooling``) or a seed; needed unless `_random_samples` are given.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool2d.html
    """

    def forward(self, input: jax.Array) -> Any:
        """Map (N, C, H, W) to (N, C, H', W'), and to the maxima's indices if `return_indices`."""
        options = (self.kernel_size, self.output_size, self.output_ratio, self.return_indices)
        return fractional_max_pool2d(input, *options, **self._samples())


class FractionalMaxPool3d(_FractionalMaxPool):
    """Take the maximum of windows at random steps; see `fractional_max_pool3d`.

    Args:
        kernel_size: an integer or (kT, kH, kW).
        output_size: an integer or (T', H', W').
        output_ratio: T'/T, H'/H and W'/W, in (0, 1), in place of `output_size`.
        return_indices: whether to return the maxima's indices too.
        _random_samples: the samples, (N, C, 3), if they shall not be drawn at every call; a buffer.
        rngs: a ``flax.nnx.Rngs`` (stream ``pooling``) or a seed; needed unless `_random_samples` are given.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool3d.html
    """

    _dims = 3

    def forward(self, input: jax.Array) -> Any:
        """Map (N, C, T, H, W) to (N, C, T', H', W'), and to the maxima's indices if `return_indices`."""
        options = (self.kernel_size, self.output_size, self.output_ratio, self.return_indices)
        return fractional_max_pool3d(input, *options, **self._samples())
