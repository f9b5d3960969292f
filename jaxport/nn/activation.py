"""Activations: relu, sigmoid, softmax and log_softmax."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .module import Module


def relu(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Return max(0, x), with gradient 0 at 0 as in PyTorch (``jnp.maximum`` gives 0.5); NaN passes through both ways.

    `inplace` is accepted and changes nothing: JAX arrays are immutable.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.relu.html
    """
    del inplace
    # Not jax.nn.relu, whose gradient is 0 at NaN: PyTorch's is 1, so that a NaN reaches the weights before it.
    return jnp.where(input <= 0, jnp.zeros_like(input), input)


def sigmoid(input: jax.Array) -> jax.Array:
    """Return 1 / (1 + exp(-x)).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.sigmoid.html
    """
    return jax.nn.sigmoid(input)


def softmax(input: jax.Array, dim: int) -> jax.Array:
    """Return exp(x) / Σ exp(x) along axis `dim`.

    Differs from PyTorch: `dim` has no default (PyTorch's implicit choice is deprecated).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softmax.html
    """
    return jax.nn.softmax(input, axis=dim)


def log_softmax(input: jax.Array, dim: int) -> jax.Array:
    """Return x - log Σ exp(x) along axis `dim`.

    Differs from PyTorch: `dim` has no default (PyTorch's implicit choice is deprecated).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.log_softmax.html
    """
    return jax.nn.log_softmax(input, axis=dim)


class ReLU(Module):
    """Apply max(0, x) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Return max(0, x), in the input's shape."""
        return relu(input)

    def extra_repr(self) -> str:
        """Return the flag, as PyTorch prints it."""
        return "inplace=True" if self.inplace else ""


class Sigmoid(Module):
    """Apply 1 / (1 + exp(-x)) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the logistic function, in the input's shape."""
        return sigmoid(input)
