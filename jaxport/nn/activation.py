"""The plainest activations: relu, sigmoid, tanh and their modules; the other files of this name hold the rest."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .activation_rule import promoting, with_tangent
from .activation_softmax import log_softmax as log_softmax
from .activation_softmax import softmax as softmax
from .exponential import logistic
from .module import Module


def relu(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Return max(0, x), with gradient 0 at 0 as in PyTorch (``jnp.maximum`` gives 0.5); NaN passes through both ways.

    `inplace` is accepted and changes nothing: JAX arrays are immutable.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.relu.html
    """
    del inplace
    # Not jax.nn.relu, whose gradient is 0 at NaN: PyTorch's is 1, so that a NaN reaches the weights before it.
    return jnp.where(input <= 0, jnp.zeros_like(input), input)


@promoting
def sigmoid(input: jax.Array) -> jax.Array:
    """Return 1 / (1 + exp(-x)).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.sigmoid.html
    """
    return logistic(input)


def _tanh_tangent(x: jax.Array, dx: jax.Array) -> jax.Array:
    e = jnp.exp(-2.0 * jnp.abs(x))
    return dx * (4.0 * e / ((1.0 + e) * (1.0 + e)))


def _tanh_value(x: jax.Array) -> jax.Array:
    e = jnp.expm1(-2.0 * jnp.abs(x))
    return jnp.sign(x) * (-e / (2.0 + e))


@promoting
def tanh(input: jax.Array) -> jax.Array:
    """Return (exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.tanh.html
    """
    # Not jnp.tanh, which loses two bits of float32 on CPUs, and three in its derivative.
    return with_tangent(_tanh_value, _tanh_tangent)(input)


class InplaceFlag(Module):
    """An activation whose only setting is `inplace`, which is accepted, printed and without effect."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Return the flag, as PyTorch prints it."""
        return "inplace=True" if self.inplace else ""


class ReLU(InplaceFlag):
    """Apply max(0, x) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return max(0, x), in the input's shape."""
        return relu(input)


class Sigmoid(Module):
    """Apply 1 / (1 + exp(-x)) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the logistic function, in the input's shape."""
        return sigmoid(input)


class Tanh(Module):
    """Apply the hyperbolic tangent elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return tanh(x), in the input's shape."""
        return tanh(input)
