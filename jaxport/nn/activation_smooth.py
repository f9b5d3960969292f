"""Smooth activations: gelu, silu, mish, softplus, logsigmoid, softsign, tanhshrink and their modules."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from .activation import InplaceFlag, tanh
from .activation_rule import floating, promoting, with_tangent
from .exponential import logistic
from .module import Module


def _approximation(owner: str, value: str) -> str:
    if value not in ("none", "tanh"):
        raise ValueError(f"{owner}: approximate must be 'none' or 'tanh', got {value!r}")
    return value


_GELU_SCALE, _GELU_CUBIC = 2.0 * math.sqrt(2.0 / math.pi), 0.044715


def _gelu_inner(x: jax.Array) -> jax.Array:
    return _GELU_SCALE * (x + _GELU_CUBIC * x * x * x)


def _gelu_tangent(x: jax.Array, dx: jax.Array) -> jax.Array:
    inner = _gelu_inner(x)
    # s (1 - s) from one exponential: 1 - s would lose its digits where s is near 1, and is multiplied by x³.
    e = jnp.exp(-jnp.abs(inner))
    slope = _GELU_SCALE * (1.0 + 3.0 * _GELU_CUBIC * x * x)
    return dx * (logistic(inner) + x * slope * (e / ((1.0 + e) * (1.0 + e))))


@floating
def gelu(input: jax.Array, approximate: str = "none") -> jax.Array:
    """Return x · Φ(x), Φ the normal distribution function; 'tanh' gives ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Raises:
        ValueError: `approximate` is neither 'none' nor 'tanh'.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gelu.html
    """
    if _approximation("gelu", approximate) == "tanh":
        # ½ (1 + tanh(u)) = sigmoid(2u)
        return with_tangent(lambda x: x * logistic(_gelu_inner(x)), _gelu_tangent)(input)
    # erfc keeps the digits that 1 + erf loses far below zero.
    return 0.5 * input * lax.erfc(-math.sqrt(0.5) * input)


@floating
def silu(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Return x / (1 + exp(-x)).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.silu.html
    """
    del inplace
    return input * logistic(input)


def _log1p_exp(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def _mish_parts(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return e = exp(-|x|) and n, d with tanh(log(1 + exp(x))) = n / d, from which nothing overflows or cancels."""
    e = jnp.exp(-jnp.abs(x))
    n = jnp.where(x > 0, 1.0 + 2.0 * e, e * (e + 2.0))
    return e, n, n + jnp.where(x > 0, 2.0 * e * e, 2.0)


def _mish_value(x: jax.Array) -> jax.Array:
    _, n, d = _mish_parts(x)
    return x * (n / d)


def _mish_tangent(x: jax.Array, dx: jax.Array) -> jax.Array:
    e, n, d = _mish_parts(x)
    t, logistic = n / d, jnp.where(x > 0, 1.0, e) / (1.0 + e)
    rest = jnp.where(x > 0, 2.0 * e * e, 2.0) * (d + n) / (d * d)  # 1 - t²
    return dx * (t + x * logistic * rest)


@floating
def mish(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Return x · tanh(log(1 + exp(x))).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mish.html
    """
    del inplace
    return with_tangent(_mish_value, _mish_tangent)(input)


@floating
def softplus(input: jax.Array, beta: float = 1, threshold: float = 20) -> jax.Array:
    """Return log(1 + exp(βx)) / β, and x itself where βx > `threshold`.

    Differs from PyTorch: finite also where exp(βx) overflows below a large `threshold`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softplus.html
    """

    def value(x: jax.Array) -> jax.Array:
        return jnp.where(x * beta > threshold, x, _log1p_exp(x * beta) / beta)

    def tangent(x: jax.Array, dx: jax.Array) -> jax.Array:
        return jnp.where(x * beta > threshold, dx, dx * logistic(x * beta))

    return with_tangent(value, tangent)(input)


@floating
def logsigmoid(input: jax.Array) -> jax.Array:
    """Return log(1 / (1 + exp(-x))), without overflow on either side.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.logsigmoid.html
    """
    return with_tangent(lambda x: -_log1p_exp(-x), lambda x, dx: dx * logistic(-x))(input)


@promoting
def softsign(input: jax.Array) -> jax.Array:
    """Return x / (1 + |x|).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softsign.html
    """
    # x · sign(x) has PyTorch's derivative of |x|, 0 at 0, where jnp.abs has 1.
    return input / (1.0 + input * jnp.sign(input))


@promoting
def tanhshrink(input: jax.Array) -> jax.Array:
    """Return x - tanh(x).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.tanhshrink.html
    """

    def tangent(x: jax.Array, dx: jax.Array) -> jax.Array:
        t = tanh(x)
        return dx * (t * t)

    return with_tangent(lambda x: x - tanh(x), tangent)(input)


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
