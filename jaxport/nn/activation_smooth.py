"""Smooth activations: gelu, silu, mish, softplus, logsigmoid, softsign, tanhshrink and their modules."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from .activation import InplaceFlag
from .activation_rule import floating, with_tangent
from .module import Module


def _approximation(owner: str, value: str) -> str:
    if value not in ("none", "tanh"):
        raise ValueError(f"{owner}: approximate must be 'none' or 'tanh', got {value!r}")
    return value


@floating
def gelu(input: jax.Array, approximate: str = "none") -> jax.Array:
    """Return x · Φ(x), Φ the normal distribution function; 'tanh' gives ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Raises:
        ValueError: `approximate` is neither 'none' nor 'tanh'.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gelu.html
    """
    if _approximation("gelu", approximate) == "tanh":
        inner = math.sqrt(2.0 / math.pi) * (input + 0.044715 * input * input * input)
        return 0.5 * input * (1.0 + jnp.tanh(inner))
    # erfc keeps the digits that 1 + erf loses far below zero.
    return 0.5 * input * lax.erfc(-math.sqrt(0.5) * input)


@floating
def silu(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Return x / (1 + exp(-x)).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.silu.html
    """
    del inplace
    return input * jax.nn.sigmoid(input)


def _log1p_exp(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def _mish_tangent(x: jax.Array, dx: jax.Array) -> jax.Array:
    t = jnp.tanh(_log1p_exp(x))
    return dx * (t + x * jax.nn.sigmoid(x) * (1.0 - t * t))


@floating
def mish(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Return x · tanh(log(1 + exp(x))).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mish.html
    """
    del inplace
    return with_tangent(lambda x: x * jnp.tanh(_log1p_exp(x)), _mish_tangent)(input)


@floating
def softplus(input: jax.Array, beta: float = 1, threshold: float = 20) -> jax.Array:
    """Return log(1 + exp(βx)) / β, and x itself where βx > `threshold`.

    Differs from PyTorch: finite also where exp(βx) overflows below a large `threshold`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softplus.html
    """

    def value(x: jax.Array) -> jax.Array:
        return jnp.where(x * beta > threshold, x, _log1p_exp(x * beta) / beta)

    def tangent(x: jax.Array, dx: jax.Array) -> jax.Array:
        return jnp.where(x * beta > threshold, dx, dx * jax.nn.sigmoid(x * beta))

    return with_tangent(value, tangent)(input)


@floating
def logsigmoid(input: jax.Array) -> jax.Array:
    """Return log(1 / (1 + exp(-x))), without overflow on either side.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.logsigmoid.html
    """
    return with_tangent(lambda x: -_log1p_exp(-x), lambda x, dx: dx * jax.nn.sigmoid(-x))(input)


@floating
def softsign(input: jax.Array) -> jax.Array:
    """Return x / (1 + |x|).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softsign.html
    """
    # x · sign(x) has PyTorch's derivative of |x|, 0 at 0, where jnp.abs has 1.
    return input / (1.0 + input * jnp.sign(input))


@floating
def tanhshrink(input: jax.Array) -> jax.Array:
    """Return x - tanh(x).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.tanhshrink.html
    """
    return input - jnp.tanh(input)


class GELU(Module):
    """Apply x · Φ(x) elementwise, Φ the normal distribution function, or its approximation 'tanh'.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GELU.html
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = _approximation("GELU", approximate)

    def forward(self, input: jax.Array) -> jax.Array:
        """Return x · Φ(x), in the input's shape."""
        return gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """Return the approximation, as PyTorch prints it."""
        return f"approximate={self.approximate!r}"


class SiLU(InplaceFlag):
    """Apply x / (1 + exp(-x)) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SiLU.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return x · sigmoid(x), in the input's shape."""
        return silu(input)


class Mish(InplaceFlag):
    """Apply x · tanh(log(1 + exp(x))) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Mish.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return x · tanh(softplus(x)), in the input's shape."""
        return mish(input)


class Softplus(Module):
    """Apply log(1 + exp(βx)) / β elementwise, and x itself where βx > `threshold`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softplus.html
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: jax.Array) -> jax.Array:
        """Return a smooth max(0, x), in the input's shape."""
        return softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"beta={self.beta}, threshold={self.threshold}"


class LogSigmoid(Module):
    """Apply log(1 / (1 + exp(-x))) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSigmoid.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the logarithm of the logistic function, in the input's shape."""
        return logsigmoid(input)


class Softsign(Module):
    """Apply x / (1 + |x|) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softsign.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return x / (1 + |x|), in the input's shape."""
        return softsign(input)


class Tanhshrink(Module):
    """Apply x - tanh(x) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanhshrink.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return x - tanh(x), in the input's shape."""
        return tanhshrink(input)
