"""Linear regression by a matrix-vector product."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F


class LinearRegression(nn.Module):
    """y = X w, with the columns of X the abscissas and ones, and w = (slope, intercept) from U(0, 1).

    X: (N, 2), y: (N,), w: (2,).
    """

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.w = nn.Parameter(jnp.zeros(2))
        nn.init.uniform_(self.w, generator=rngs.params())

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, 2) to (N,)."""
        return F.linear(input, self.w[...])


def build(*, rngs: nnx.Rngs) -> LinearRegression:
    """Return the model with new weights."""
    return LinearRegression(rngs=rngs)
