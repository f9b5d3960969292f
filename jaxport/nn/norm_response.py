"""Normalisation by the neighbouring channels: local_response_norm, LocalResponseNorm, CrossMapLRN2d."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .checks import positive_int
from .module import Module
from .norm_core import statistics_dtype


def _channel_sums(x: jax.Array, before: int, after: int) -> jax.Array:
    """Return Σ x over the channels c - before … c + after that exist, for each channel c of (N, C, *)."""
    window = (1, before + after + 1, *(1,) * (x.ndim - 2))
    padding = ((0, 0), (before, after), *((0, 0),) * (x.ndim - 2))
    return lax.reduce_window(x, np.zeros((), x.dtype), lax.add, window, (1,) * x.ndim, padding)


def local_response_norm(
    input: jax.Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> jax.Array:
    """Divide by the energy of the neighbouring channels: y_c = x_c / (k + alpha / size · Σ x²)^beta.

    The sum goes over the `size` channels from c - ⌊size / 2⌋ on, those outside counting as 0.

    Args:
        input: x, shape (N, C, *) with at least 3 dimensions.
        size: how many channels.
        alpha: factor of the energy.
        beta: exponent.
        k: added to the energy.

    Returns:
        y, in the input's shape and dtype.

    Raises:
        ValueError: fewer than 3 dimensions, or a size that is not a positive integer.
        TypeError: an input that is not floating.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.local_response_norm.html
    """
    positive_int("local_response_norm", "size", size)
    if input.ndim < 3:
        raise ValueError(f"local_response_norm: input must have at least 3 dimensions, got shape {input.shape}")
    x = input.astype(statistics_dtype("local_response_norm", input))
    if x.size == 0:
        return input
    energy = _channel_sums(jnp.square(x), size // 2, (size - 1) // 2) / size
    return (x / (energy * alpha + k) ** beta).astype(input.dtype)


class LocalResponseNorm(Module):
    """Divide by the energy of the neighbouring channels; see `local_response_norm` for the formula.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LocalResponseNorm.html
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = positive_int("LocalResponseNorm", "size", size)
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: jax.Array) -> jax.Array:
        """Return (N, C, *) normalised."""
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


Settings = tuple[int, float, float, float]


def _cross_map_scale(x: jax.Array, settings: Settings) -> jax.Array:
    size, alpha, _, k = settings
    reach = (size - 1) // 2
    squares = jnp.square(x)
    sums = _channel_sums(squares, reach, reach)
    # PyTorch never takes the first channel out of its moving sum.
    late = lax.broadcasted_iota(jnp.int32, x.shape, 1) > reach
    first = jnp.broadcast_to(squares[:, :1], x.shape)
    return (sums + jnp.where(late, first, jnp.zeros_like(first))) * (alpha / size) + k


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _cross_map(x: jax.Array, settings: Settings) -> jax.Array:
    return x * _cross_map_scale(x, settings) ** -settings[2]


@_cross_map.defjvp
def _cross_map_jvp(
    settings: Settings, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The map whose transpose is PyTorch's backward pass: its window is one channel off, and forgets the first."""
    size, alpha, beta, _ = settings
    (x,), (dx,) = primals, tangents
    scale = _cross_map_scale(x, settings)
    power = scale**-beta
    y = x * power
    # PyTorch sums from c - behind to c - behind + size - 1 in the backward pass; this is the transpose of that.
    behind = min(size - size // 2, size - 1)
    sums = _channel_sums(x * dx, size - 1 - behind, behind)
    return y, power * dx - 2.0 * alpha * beta / size * (y / scale * sums)


class CrossMapLRN2d(Module):
    """Divide by the energy of the neighbouring channels: y_c = x_c / (k + alpha / size · Σ x²)^beta.

    As PyTorch computes it, which is not as its documentation says: the sum goes over the channels within
    ⌊(size - 1) / 2⌋ of c and the first one, and the gradient sums over a window that lies one channel off.
    `LocalResponseNorm` has neither of these.

    Raises:
        ValueError: an input that is not (N, C, H, W), or a size that is not a positive integer.

    Differs from PyTorch: ``size=1`` has a gradient (PyTorch's fails).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossMapLRN2d.html
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        self.size = positive_int("CrossMapLRN2d", "size", size)
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: jax.Array) -> jax.Array:
        """Return (N, C, H, W) normalised."""
        if input.ndim != 4:
            raise ValueError(f"CrossMapLRN2d: input must be (N, C, H, W), got shape {input.shape}")
        x = input.astype(statistics_dtype("CrossMapLRN2d", input))
        return _cross_map(x, (self.size, self.alpha, self.beta, self.k)).astype(input.dtype) if x.size else input

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
