"""Normalisation of each example by itself: layer_norm, rms_norm, group_norm and their modules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from .checks import positive_int
from .norm_core import AffineModule, affine, integer_shape, normalised, shaped_like, statistics_dtype


def _last_axes(owner: str, input: jax.Array, normalized_shape: Sequence[int]) -> tuple[int, ...]:
    """Return the axes of `input` that `normalized_shape` stands for: the last ones."""
    if isinstance(normalized_shape, int):
        raise TypeError(f"{owner}: normalized_shape must be a sequence of integers, got {normalized_shape!r}")
    shape = integer_shape(owner, "normalized_shape", normalized_shape)
    if input.shape[-len(shape) :] != shape:
        raise ValueError(f"{owner}: input must end in normalized_shape {shape}, got shape {input.shape}")
    return tuple(range(input.ndim - len(shape), input.ndim))


def layer_norm(
    input: jax.Array,
    normalized_shape: Sequence[int],
    weight: jax.Array | None = None,
    bias: jax.Array | None = None,
    eps: float = 1e-5,
) -> jax.Array:
    """Normalise over the last axes: y = (x - E[x]) / √(Var[x] + eps) · weight + bias.

    Var is the biased variance; half precision is computed in float32.

    Args:
        input: x, shape (*, *normalized_shape).
        normalized_shape: sizes of the axes that mean and variance are taken over.
        weight: shape `normalized_shape`; None multiplies by nothing.
        bias: shape `normalized_shape`; None adds nothing.
        eps: added to the variance.

    Returns:
        y, in the input's shape and dtype.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: an input that is not floating, or parameters of another dtype (float32 ones may stand beside a
            half-precision input).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.layer_norm.html
    """
    axes = _last_axes("layer_norm", input, normalized_shape)
    dtype = statistics_dtype("layer_norm", input, weight=weight, bias=bias)
    shape = input.shape[axes[0] :]
    shaped_like("layer_norm", "weight", weight, shape)
    shaped_like("layer_norm", "bias", bias, shape)
    return affine(normalised(input.astype(dtype), axes, eps), weight, bias, axes).astype(input.dtype)


def rms_norm(
    input: jax.Array, normalized_shape: Sequence[int], weight: jax.Array | None = None, eps: float | None = None
) -> jax.Array:
    """Divide by the root mean square over the last axes: y = x / √(E[x²] + eps) · weight.

    Args:
        input: x, shape (*, *normalized_shape).
        normalized_shape: sizes of the axes that the mean is taken over.
        weight: shape `normalized_shape`; None multiplies by nothing.
        eps: added to the mean square; None means the machine epsilon of the dtype computed in, which is float32 for
            half precision.

    Returns:
        y, in the input's shape and dtype.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: an input that is not floating, or a weight of another dtype (a float32 one may stand beside a
            half-precision input).

    Differs from PyTorch: which takes a weight of any dtype here alone, with a warning.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.rms_norm.html
    """
    axes = _last_axes("rms_norm", input, normalized_shape)
    dtype = statistics_dtype("rms_norm", input, weight=weight)
    shaped_like("rms_norm", "weight", weight, input.shape[axes[0] :])
    eps = float(jnp.finfo(dtype).eps) if eps is None else eps
    x = input.astype(dtype)
    y = x * lax.rsqrt(jnp.square(x).mean(axes, keepdims=True) + eps)
    return affine(y, weight, None, axes).astype(input.dtype)


def _check_groups(input: jax.Array, num_groups: int) -> None:
    positive_int("group_norm", "num_groups", num_groups)
    if input.ndim < 2:
        raise ValueError(f"group_norm: input must be (N, C, *), got shape {input.shape}")
    if input.shape[1] % num_groups:
        raise ValueError(f"group_norm: num_groups must divide the channels of {input.shape}, got {num_groups}")
    if input.shape[0] * input.shape[1] // num_groups * math.prod(input.shape[2:]) == 1:
        raise ValueError(f"group_norm: input must have more than one value per group, got {input.shape}")


def group_norm(
    input: jax.Array,
    num_groups: int,
    weight: jax.Array | None = None,
    bias: jax.Array | None = None,
    eps: float = 1e-5,
) -> jax.Array:
    """Normalise over groups of channels: y = (x - E[x]) / √(Var[x] + eps) · weight + bias.

    Mean and biased variance are taken over C / num_groups neighbouring channels and all later axes of each example;
    half precision is computed in float32.

    Args:
        input: x, shape (N, C, *).
        num_groups: into how many groups the channels are divided.
        weight: shape (C,); None multiplies by nothing.
        bias: shape (C,); None adds nothing.
        eps: added to the variance.

    Returns:
        y, in the input's shape and dtype.

    Raises:
        ValueError: shapes that do not fit, or a single value in all.
        TypeError: an input that is not floating, or parameters of another dtype (float32 ones may stand beside a
            half-precision input).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.group_norm.html
    """
    _check_groups(input, num_groups)
    dtype = statistics_dtype("group_norm", input, weight=weight, bias=bias)
    shaped_like("group_norm", "weight", weight, input.shape[1:2])
    shaped_like("group_norm", "bias", bias, input.shape[1:2])
    batch, channels, *rest = input.shape
    grouped = input.astype(dtype).reshape(batch, num_groups, channels // num_groups, *rest)
    y = normalised(grouped, tuple(range(2, grouped.ndim)), eps).reshape(input.shape)
    return affine(y, weight, bias, (1,)).astype(input.dtype)


class LayerNorm(AffineModule):
    """Normalise over the last axes: y = (x - E[x]) / √(Var[x] + eps) · weight + bias; see `layer_norm`.

    Args:
        normalized_shape: sizes of the last axes; an integer stands for one axis.
        eps: added to the variance.
        elementwise_affine: whether there are `weight` (ones at first) and `bias` (zeros), both of `normalized_shape`.
        bias: whether there is a bias.
        dtype: of the parameters; None means float32.

    Raises:
        ValueError: `normalized_shape` has no sizes, or something else than integers of at least 0.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.normalized_shape = integer_shape("LayerNorm", "normalized_shape", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.set_parameters(self.normalized_shape, elementwise_affine, bias, dtype)

    def forward(self, input: jax.Array) -> jax.Array:
        """Return (*, *normalized_shape) normalised."""
        return layer_norm(input, self.normalized_shape, *self.parameter_values(), self.eps)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(AffineModule):
    """Divide by the root mean square over the last axes: y = x / √(E[x²] + eps) · weight; see `rms_norm`.

    Args:
        normalized_shape: sizes of the last axes; an integer stands for one axis.
        eps: added to the mean square; None means the machine epsilon of the dtype computed in.
        elementwise_affine: whether there is a `weight` (ones at first) of `normalized_shape`.
        dtype: of the weight; None means float32.

    Raises:
        ValueError: `normalized_shape` has no sizes, or something else than integers of at least 0.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RMSNorm.html
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.normalized_shape = integer_shape("RMSNorm", "normalized_shape", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.set_parameters(self.normalized_shape, elementwise_affine, False, dtype)

    def forward(self, x: jax.Array) -> jax.Array:
        """Return (*, *normalized_shape) normalised."""
        return rms_norm(x, self.normalized_shape, self.parameter_values()[0], self.eps)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(AffineModule):
    """Normalise over groups of channels: y = (x - E[x]) / √(Var[x] + eps) · weight + bias; see `group_norm`.

    Args:
        num_groups: into how many groups the channels are divided.
        num_channels: C, which `num_groups` divides.
        eps: added to the variance.
        affine: whether there are `weight` (ones at first) and `bias` (zeros), both of shape (num_channels,).
        dtype: of the parameters; None means float32.
        bias: whether there is a bias.

    Raises:
        ValueError: a size that is not a positive integer, or `num_groups` does not divide `num_channels`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GroupNorm.html
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: DTypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        self.num_groups = positive_int("GroupNorm", "num_groups", num_groups)
        self.num_channels = positive_int("GroupNorm", "num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_groups must divide num_channels {num_channels}, got {num_groups}")
        self.eps = eps
        self.affine = affine
        self.set_parameters((num_channels,), affine, bias, dtype)

    def forward(self, input: jax.Array) -> jax.Array:
        """Return (N, C, *) normalised."""
        return group_norm(input, self.num_groups, *self.parameter_values(), self.eps)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )
