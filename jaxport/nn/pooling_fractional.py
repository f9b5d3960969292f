"""Fractional max pooling: windows at random steps between 1 / ratio rounded down and up (Graham 2014)."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

from .module import Buffer, Module, fresh_rngs
from .pooling_intervals import fractional_max, wanted_ratios
from .pooling_windows import Size, sizes


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
    best, place = fractional_max("fractional_max_pool2d", 2, input, options, _random_samples, key)
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
    best, place = fractional_max("fractional_max_pool3d", 3, input, options, _random_samples, key)
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
        self.output_ratio = None if output_ratio is None else wanted_ratios(owner, output_ratio, dims)
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
