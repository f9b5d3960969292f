"""Power-average pooling: the p-norm of each window."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .module import Module
from .pooling_avg import average
from .pooling_max import max_over
from .pooling_windows import Size, regular_windows


def _abs(x: jax.Array) -> jax.Array:
    """Return |x| with derivative 0 at 0, as PyTorch's."""
    return x * lax.stop_gradient(jnp.sign(x))


def _power(x: jax.Array, p: float) -> jax.Array:
    return lax.integer_pow(x, int(p)) if float(p).is_integer() else lax.pow(x, jnp.asarray(p, x.dtype))


def _root(x: jax.Array, p: float) -> jax.Array:
    """Return x^(1/p) with derivative 0 at 0."""
    zero = x == 0
    root = _power(jnp.where(zero, jnp.ones_like(x), x), 1.0 / p)
    return jnp.where(zero, jnp.asarray(0.0 if p > 0 else math.inf, x.dtype), root)


def _lp_pool(
    owner: str, dims: int, input: jax.Array, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> jax.Array:
    if norm_type == 0:
        raise ValueError(f"{owner}: norm_type must not be zero")
    windows = regular_windows(owner, input, kernel_size, stride, 0, 1, ceil_mode, dims)
    if math.isinf(norm_type):
        sign = 1 if norm_type > 0 else -1
        return sign * max_over(sign * _abs(input), windows, False)[0]
    means = average(_power(input, norm_type), windows)
    return _root(means * math.prod(w.kernel for w in windows), norm_type)


def lp_pool2d(
    input: jax.Array,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> jax.Array:
    """Take the p-norm of each window, p being `norm_type`.

    y[n, c, i, j] = (Σ_{u,v} x[n, c, i·stride + u, j·stride + v]^p)^(1/p); ±inf give the largest and smallest |x|. Where
    the sum is 0, so is its gradient. As in PyTorch a window that `ceil_mode` cuts is scaled up to a whole one's size,
    and x^p takes no absolute value: an odd p can make the sum negative and its root NaN.

    Args:
        input: (N, C, H, W) or (C, H, W).
        norm_type: p; not zero.
        kernel_size: an integer or (kH, kW).
        stride: step between windows; None means `kernel_size`.
        ceil_mode: whether a last, partly covered window counts.

    Returns:
        (N, C, H', W'), H' = ⌊(H - k) / s⌋ + 1 (⌈…⌉ with `ceil_mode`).

    Raises:
        ValueError: options that do not fit, or an output that would be empty.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool2d.html
    """
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool1d(
    input: jax.Array,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> jax.Array:
    """Take the p-norm of each window of (N, C, L) or (C, L); see `lp_pool2d`.

    Raises:
        ValueError: options that do not fit, or an output that would be empty.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool1d.html
    """
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: jax.Array,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> jax.Array:
    """Take the p-norm of each window of (N, C, D, H, W) or (C, D, H, W); see `lp_pool2d`.

    Raises:
        ValueError: options that do not fit, or an output that would be empty.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool3d.html
    """
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


class _LPPool(Module):
    def __init__(
        self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
    ) -> None:
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """Take the p-norm of each window; see `lp_pool1d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool1d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C, L) to (N, C, L')."""
        return lp_pool1d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(_LPPool):
    """Take the p-norm of each window; see `lp_pool2d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool2d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C, H, W) to (N, C, H', W')."""
        return lp_pool2d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool3d(_LPPool):
    """Take the p-norm of each window; see `lp_pool3d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool3d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C, D, H, W) to (N, C, D', H', W')."""
        return lp_pool3d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)
