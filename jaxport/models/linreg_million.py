"""A plane through a million points, of two raw arrays."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F


class LinearRegression(nn.Module):
    """y = x wᵀ + b with w (1, 2) from N(0, 1) and b (1, 1) zero at the start: (N, 2) to (N, 1)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.w = nn.Parameter(jnp.zeros((1, 2)))
        self.b = nn.Parameter(jnp.zeros((1, 1)))
        nn.init.normal_(self.w, generator=rngs.params())

    def forward(self, x: jax.Array) -> jax.Array:
        """Map points (N, 2) to heights (N, 1)."""
        return F.linear(x, self.w[...], self.b[0])


def build(*, rngs: nnx.Rngs) -> LinearRegression:
    """Return the model with new weights."""
    return LinearRegression(rngs=rngs)
