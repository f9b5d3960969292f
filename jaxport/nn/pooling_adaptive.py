"""Adaptive pooling: the output's size is given, and the windows follow from it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .checks import index_dtype
from .module import Module
from .pooling_avg import average
from .pooling_grid import AnyWindows, adaptive_windows
from .pooling_max import max_over
from .pooling_windows import check_input


def _empty(input: jax.Array, windows: tuple[AnyWindows, ...]) -> tuple[int, ...] | None:
    """Return the shape of an output without elements, None if it has some."""
    outputs = tuple(w.output for w in windows)
    return None if min(outputs) else (*input.shape[: -len(outputs)], *outputs)


def _adaptive_max(owner: str, dims: int, input: jax.Array, output_size: Any, indices: bool) -> Any:
    check_input(owner, input, dims, may_be_empty=1)
    windows = adaptive_windows(owner, input, output_size, dims)
    if (shape := _empty(input, windows)) is not None:
        best, place = jnp.zeros(shape, input.dtype), jnp.zeros(shape, index_dtype())
    else:
        best, place = max_over(input, windows, indices)
    return (best, place) if indices else best


def _adaptive_avg(owner: str, dims: int, input: jax.Array, output_size: Any) -> jax.Array:
    check_input(owner, input, dims, may_be_empty=input.ndim - dims)
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise TypeError(f"{owner}: input must be floating, got {input.dtype}")
    windows = adaptive_windows(owner, input, output_size, dims)
    if (shape := _empty(input, windows)) is not None:
        return jnp.zeros(shape, input.dtype)
    return average(input, windows)


def adaptive_max_pool2d(input: jax.Array, output_size: Any, return_indices: bool = False) -> Any:
    """Take the maximum over a grid of windows that cover the input, as many as the output has elements.

    Window i of an axis of length L and output length O covers [⌊i·L/O⌋, ⌈(i+1)·L/O⌉).

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: an integer or (H', W'); None for an axis keeps its length.
        return_indices: whether to return also where each maximum was, as an index into H·W (int64 under x64, else
            int32).

    Returns:
        (N, C, H', W'), and the indices if asked for. Of equal elements the first in row-major order counts.

    Raises:
        ValueError: a shape or size that does not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool2d.html
    """
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool1d(input: jax.Array, output_size: Any, return_indices: bool = False) -> Any:
    """Take the maximum over a grid of `output_size` windows of (N, C, L) or (C, L); see `adaptive_max_pool2d`.

    Raises:
        ValueError: a shape or size that does not fit; None is no size of a single axis.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool1d.html
    """
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool3d(input: jax.Array, output_size: Any, return_indices: bool = False) -> Any:
    """Take the maximum over a grid of windows of (N, C, D, H, W) or (C, D, H, W); see `adaptive_max_pool2d`.

    Raises:
        ValueError: a shape or size that does not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool3d.html
    """
    return _adaptive_max("adaptive_max_pool3d", 3, input, output_size, return_indices)


def adaptive_max_pool1d_with_indices(
    input: jax.Array, output_size: Any, return_indices: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Return (maxima, indices) of `adaptive_max_pool1d`, whatever `return_indices` says, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool1d.html
    """
    del return_indices
    return adaptive_max_pool1d(input, output_size, True)


def adaptive_max_pool2d_with_indices(
    input: jax.Array, output_size: Any, return_indices: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Return (maxima, indices) of `adaptive_max_pool2d`, whatever `return_indices` says, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool2d.html
    """
    del return_indices
    return adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d_with_indices(
    input: jax.Array, output_size: Any, return_indices: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Return (maxima, indices) of `adaptive_max_pool3d`, whatever `return_indices` says, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool3d.html
    """
    del return_indices
    return adaptive_max_pool3d(input, output_size, True)


def adaptive_avg_pool2d(input: jax.Array, output_size: Any) -> jax.Array:
    """Average over a grid of windows that cover the input, as many as the output has elements.

    Window i of an axis of length L and output length O covers [⌊i·L/O⌋, ⌈(i+1)·L/O⌉).

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: an integer or (H', W'); None for an axis keeps its length.

    Returns:
        (N, C, H', W').

    Raises:
        ValueError: a shape or size that does not fit.
        TypeError: integers.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool2d.html
    """
    return _adaptive_avg("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool1d(input: jax.Array, output_size: Any) -> jax.Array:
    """Average over a grid of `output_size` windows of (N, C, L) or (C, L); see `adaptive_avg_pool2d`.

    Raises:
        ValueError: a shape or size that does not fit; None is no size of a single axis.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool1d.html
    """
    return _adaptive_avg("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool3d(input: jax.Array, output_size: Any) -> jax.Array:
    """Average over a grid of windows of (N, C, D, H, W) or (C, D, H, W); see `adaptive_avg_pool2d`.

    Raises:
        ValueError: a shape or size that does not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool3d.html
    """
    return _adaptive_avg("adaptive_avg_pool3d", 3, input, output_size)


class _AdaptivePool(Module):
    output_size: Any

    def extra_repr(self) -> str:
        """Return the output size, as PyTorch prints it."""
        return f"output_size={self.output_size}"


class _AdaptiveMaxPool(_AdaptivePool):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        self.output_size = output_size
        self.return_indices = return_indices


class _AdaptiveAvgPool(_AdaptivePool):
    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Take the maximum over a grid of windows of the given output size; see `adaptive_max_pool1d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool1d.html
    """

    def forward(self, input: jax.Array) -> Any:
        """Map (N, C, L) to (N, C, L'), and to the maxima's indices if `return_indices`."""
        return adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Take the maximum over a grid of windows of the given output size; see `adaptive_max_pool2d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html
    """

    def forward(self, input: jax.Array) -> Any:
        """Map (N, C, H, W) to (N, C, H', W'), and to the maxima's indices if `return_indices`."""
        return adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Take the maximum over a grid of windows of the given output size; see `adaptive_max_pool3d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool3d.html
    """

    def forward(self, input: jax.Array) -> Any:
        """Map (N, C, D, H, W) to (N, C, D', H', W'), and to the maxima's indices if `return_indices`."""
        return adaptive_max_pool3d(input, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Average over a grid of windows of the given output size; see `adaptive_avg_pool1d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool1d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C, L) to (N, C, L')."""
        return adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Average over a grid of windows of the given output size; see `adaptive_avg_pool2d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C, H, W) to (N, C, H', W')."""
        return adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Average over a grid of windows of the given output size; see `adaptive_avg_pool3d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool3d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C, D, H, W) to (N, C, D', H', W')."""
        return adaptive_avg_pool3d(input, self.output_size)
