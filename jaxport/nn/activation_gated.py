"""Gated linear units: glu, GLU."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .activation_rule import floating
from .axes import axis
from .exponential import logistic
from .module import Module


@floating
def glu(input: jax.Array, dim: int = -1) -> jax.Array:
    """Return a · sigmoid(b), a and b the halves of the input along axis `dim`.

    Raises:
        ValueError: the input is a scalar, or the axis has an odd size.
        IndexError: there is no such axis.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.glu.html
    """
    if input.ndim == 0:
        raise ValueError("glu: input must have an axis to halve, got a scalar")
    chosen = axis("glu", "dim", dim, input.ndim)
    if input.shape[chosen] % 2:
        raise ValueError(f"glu: input must have an even size along dim {dim}, got shape {input.shape}")
    values, gates = jnp.split(input, 2, axis=chosen)
    return values * logistic(gates)


class GLU(Module):
    """Multiply one half of the input along axis `dim` by the logistic function of the other.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GLU.html
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: jax.Array) -> jax.Array:
        """Return a · sigmoid(b), half as large along the axis."""
        return glu(input, self.dim)

    def extra_repr(self) -> str:
        """Return the axis, as PyTorch prints it."""
        return f"dim={self.dim}"
