"""Max pooling: functions and modules, with PyTorch's choice among equal elements."""

from __future__ import annotations

from typing import Any

import jax

from .module import Module
from .pooling_adaptive import AdaptiveMaxPool2d as AdaptiveMaxPool2d
from .pooling_adaptive import adaptive_max_pool2d as adaptive_max_pool2d
from .pooling_max import max_over
from .pooling_windows import Size, regular_windows


def _max_pool(owner: str, dims: int, input: jax.Array, *geometry: Any, indices: bool) -> Any:
    kernel, stride, padding, dilation, ceil_mode = geometry
    windows = regular_windows(owner, input, kernel, stride, padding, dilation, ceil_mode, dims)
    best, place = max_over(input, windows, indices)
    return (best, place) if indices else best


def max_pool2d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Take the maximum of each window.

    y[n, c, i, j] = max_{u,v} x[n, c, i·stride + u·dilation - padding, …], where padding counts as -inf.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: an integer or (kH, kW).
        stride: step between windows; None means `kernel_size`.
        padding: at most half the kernel.
        dilation: step between the elements of a window.
        ceil_mode: whether a last, partly covered window counts, if it starts in the input or the padding before it.
        return_indices: whether to return also where each maximum was, as an index into H·W (int64 under x64, else
            int32).

    Returns:
        (N, C, H', W'), H' = ⌊(H + 2p - d(k - 1) - 1) / s⌋ + 1 (⌈…⌉ with `ceil_mode`), and the indices if asked for. Of
        equal elements the first in row-major order counts and receives the whole gradient, as in PyTorch; of NaNs,
        which win over everything, the last.

    Raises:
        ValueError: options that do not fit, or an output that would be empty.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html
    """
    geometry = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool2d", 2, input, *geometry, indices=return_indices)


def max_pool1d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Take the maximum of each window of (N, C, L) or (C, L); see `max_pool2d`.

    The options, for one axis, and the choice among equal elements are the same.

    Raises:
        ValueError: options that do not fit, or an output that would be empty.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool1d.html
    """
    geometry = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool1d", 1, input, *geometry, indices=return_indices)


def max_pool3d(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Take the maximum of each window of (N, C, D, H, W) or (C, D, H, W); see `max_pool2d`.

    The options, for three axes, and the choice among equal elements are the same.

    Raises:
        ValueError: options that do not fit, or an output that would be empty.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool3d.html
    """
    geometry = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool3d", 3, input, *geometry, indices=return_indices)


def max_pool1d_with_indices(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Return (maxima, indices) of `max_pool1d`, whatever `return_indices` says, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool1d.html
    """
    del return_indices
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Return (maxima, indices) of `max_pool2d`, whatever `return_indices` says, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html
    """
    del return_indices
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Return (maxima, indices) of `max_pool3d`, whatever `return_indices` says, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool3d.html
    """
    del return_indices
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


class _MaxPool(Module):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def _geometry(self) -> tuple[Any, ...]:
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Take the maximum of each window; see `max_pool1d` for the formula and the options.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool1d.html
    """

    def forward(self, input: jax.Array) -> Any:
        """Map (N, C, L) to (N, C, L'), and to the maxima's indices if `return_indices`."""
        return max_pool1d(input, *self._geometry())


class MaxPool2d(_MaxPool):
    """Take the maximum of each window; see `max_pool2d` for the formula and the options.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html
    """

    def forward(self, input: jax.Array) -> Any:
        """Map (N, C, H, W) to (N, C, H', W'), and to the maxima's indices if `return_indices`."""
        return max_pool2d(input, *self._geometry())


class MaxPool3d(_MaxPool):
    """Take the maximum of each window; see `max_pool3d` for the formula and the options.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool3d.html
    """

    def forward(self, input: jax.Array) -> Any:
        """Map (N, C, D, H, W) to (N, C, D', H', W'), and to the maxima's indices if `return_indices`."""
        return max_pool3d(input, *self._geometry())
