"""Activations with another slope below zero: leaky_relu, prelu, rrelu and their modules."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from . import init as initial
from .activation_rule import floating
from .channel_sums import along_channels, spread
from .checks import same_dtype
from .dropout import is_replaying, replayed
from .module import Module, Parameter, fresh_rngs


@floating
def leaky_relu(input: jax.Array, negative_slope: float = 0.01, inplace: bool = False) -> jax.Array:
    """Return x where x > 0 and negative_slope · x elsewhere, whose slope also holds at 0.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.leaky_relu.html
    """
    del inplace
    return jnp.where(input > 0, input, input * negative_slope)


def _as_channels(input: jax.Array, weight: jax.Array) -> tuple[int, ...]:
    """Return the shape (N, C, *) with one slope to a channel that `input` is looked at in."""
    if weight.ndim > 1:
        raise ValueError(f"prelu: weight must be a scalar or a vector, got shape {weight.shape}")
    if weight.size == 1:
        rows = input.shape[0] if input.ndim > 1 else 1
        return (rows, 1, math.prod(input.shape[1:]) if input.ndim > 1 else input.size)
    channels = input.shape[1] if input.ndim > 1 else 1
    if input.ndim == 0 or weight.size != channels:
        raise ValueError(f"prelu: weight must have 1 or {channels} elements for input {input.shape}, got {weight.size}")
    return input.shape


@jax.custom_jvp
def _prelu(x: jax.Array, slopes: jax.Array) -> jax.Array:
    """Return x where x > 0 and w · x elsewhere, for (N, C, *) and (C,)."""
    return jnp.where(x > 0, x, along_channels(slopes, x.ndim) * x)


@_prelu.defjvp
def _prelu_jvp(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    (x, slopes), (dx, dslopes) = primals, tangents
    # A zero where the slope is not used: an infinite x would make the slope's gradient NaN.
    below = jnp.where(x > 0, jnp.zeros_like(x), x)
    return _prelu(x, slopes), jnp.where(x > 0, dx, along_channels(slopes, x.ndim) * dx) + below * spread(
        dslopes, x.shape
    )


def prelu(input: jax.Array, weight: jax.Array) -> jax.Array:
    """Return x where x > 0 and w · x elsewhere, w one slope or one per channel.

    Args:
        input: x, (N, C, *), or any shape with one slope.
        weight: w, (C,), (1,) or ().

    Raises:
        TypeError: the dtypes differ.
        ValueError: there are other than 1 or C slopes.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.prelu.html
    """
    same_dtype("prelu", input=input, weight=weight)
    shape = _as_channels(input, weight)
    return _prelu(input.reshape(shape), weight.reshape(-1)).reshape(input.shape)


def _slopes(key: jax.Array | None, input: jax.Array, lower: float, upper: float) -> jax.Array:
    slopes = replayed(input.shape, "rrelu")
    if slopes is not None:
        return slopes.astype(input.dtype)
    if key is None:
        raise ValueError("rrelu: key must be a JAX PRNG key while training with lower < upper, got None")
    return jax.random.uniform(key, input.shape, input.dtype, lower, upper)


@floating
def rrelu(
    input: jax.Array,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """Return x where x > 0 and a · x elsewhere, a ~ U(lower, upper) drawn per element while training, else their mean.

    Args:
        input: any shape.
        lower: least slope.
        upper: greatest slope.
        training: whether slopes are drawn.
        inplace: accepted and without effect; JAX arrays are immutable.
        key: JAX PRNG key of the slopes; needed while training unless `lower` is `upper` or slopes are replayed.

    Raises:
        ValueError: `lower` is greater than `upper`, a bound is not finite, or no key.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.rrelu.html
    """
    del inplace
    if not (math.isfinite(lower) and math.isfinite(upper) and lower <= upper):
        raise ValueError(f"rrelu: lower and upper must be finite, lower the smaller, got {lower} and {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    if lower == upper or input.size == 0:
        return jnp.where(input <= 0, input * lower, input)
    return jnp.where(input <= 0, input * _slopes(key, input, lower, upper), input)


class LeakyReLU(Module):
    """Return x where x > 0 and negative_slope · x elsewhere.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Return x with another slope below zero, in the input's shape."""
        return leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"negative_slope={self.negative_slope}{', inplace=True' if self.inplace else ''}"


class PReLU(Module):
    """Return x where x > 0 and w · x elsewhere, with trained `weight` (num_parameters,).

    Args:
        num_parameters: 1, or the number of channels.
        init: what every slope starts from.
        dtype: of the weight; None means float32.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: DTypeLike | None = None) -> None:
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(jnp.zeros((num_parameters,), jnp.float32 if dtype is None else dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every slope to `init`."""
        initial.constant_(self.weight, self.init)

    def forward(self, input: jax.Array) -> jax.Array:
        """Return x with the trained slopes below zero, in the input's shape."""
        return prelu(input, self.weight[...])

    def extra_repr(self) -> str:
        """Return the number of slopes, as PyTorch prints it."""
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """Return x where x > 0 and a · x elsewhere, a ~ U(lower, upper) per element while training, else their mean.

    Args:
        lower: least slope.
        upper: greatest slope.
        inplace: accepted and without effect; JAX arrays are immutable.
        rngs: a ``flax.nnx.Rngs`` (stream ``dropout``) or a seed; the layer keeps a stream of its own.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RReLU.html
    """

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False, *, rngs: nnx.Rngs | int
    ) -> None:
        self.lower = lower
        self.upper = upper
        self.inplace = inplace
        self.rngs = fresh_rngs(rngs, "RReLU")["dropout"].fork()

    def forward(self, input: jax.Array) -> jax.Array:
        """Return x with random slopes below zero, in the input's shape."""
        # Drawn only when used, so that evaluation and replay leave the stream where it was.
        key = self.rngs() if self.training and self.lower < self.upper and not is_replaying() else None
        return rrelu(input, self.lower, self.upper, self.training, key=key)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"lower={self.lower}, upper={self.upper}{', inplace=True' if self.inplace else ''}"
