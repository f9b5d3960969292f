"""Activations that saturate exponentially below zero: elu, celu, selu and their modules."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .activation import InplaceFlag
from .activation_rule import floating, with_tangent
from .module import Module


def _exponential(input: jax.Array, alpha: float, divisor: float, scale: float) -> jax.Array:
    """Return scale · x where x > 0 and scale · alpha · (exp(x / divisor) - 1) elsewhere."""

    def below(x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, 0.0, x) / divisor

    def value(x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, scale * x, (scale * alpha) * jnp.expm1(below(x)))

    def tangent(x: jax.Array, dx: jax.Array) -> jax.Array:
        return jnp.where(x > 0, scale * dx, (scale * alpha / divisor) * jnp.exp(below(x)) * dx)

    return with_tangent(value, tangent)(input)


@floating
def elu(input: jax.Array, alpha: float = 1.0, inplace: bool = False) -> jax.Array:
    """Return x where x > 0 and α (exp(x) - 1) elsewhere, whose slope α also holds at 0.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.elu.html
    """
    del inplace
    return _exponential(input, alpha, 1.0, 1.0)


@floating
def celu(input: jax.Array, alpha: float = 1.0, inplace: bool = False) -> jax.Array:
    """Return x where x > 0 and α (exp(x / α) - 1) elsewhere.

    Raises:
        ValueError: α is 0.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.celu.html
    """
    del inplace
    if alpha == 0:
        raise ValueError("celu: alpha must not be 0")
    return _exponential(input, alpha, alpha, 1.0)


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@floating
def selu(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Return λ x where x > 0 and λ α (exp(x) - 1) elsewhere, λ = 1.0507…, α = 1.6732… (Klambauer et al. 2017).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.selu.html
    """
    del inplace
    return _exponential(input, _SELU_ALPHA, 1.0, _SELU_SCALE)


class _Alpha(Module):
    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = alpha
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"alpha={self.alpha}{', inplace=True' if self.inplace else ''}"


class ELU(_Alpha):
    """Return x where x > 0 and α (exp(x) - 1) elsewhere.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ELU.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return x, bounded below by -α, in the input's shape."""
        return elu(input, self.alpha)


class CELU(_Alpha):
    """Return x where x > 0 and α (exp(x / α) - 1) elsewhere.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CELU.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return x, bounded below by -α, in the input's shape."""
        return celu(input, self.alpha)


class SELU(InplaceFlag):
    """Return λ x where x > 0 and λ α (exp(x) - 1) elsewhere, λ = 1.0507…, α = 1.6732….

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SELU.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the self-normalising activation, in the input's shape."""
        return selu(input)
