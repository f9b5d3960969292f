"""A line through fifteen points from two raw parameters."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F


class LinearRegression(nn.Module):
    """y = w x + b with w from N(0, 1) and b = 0 at the start: (N, 1) to (N, 1)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.w = nn.Parameter(jnp.zeros(1))
        self.b = nn.Parameter(jnp.zeros(1))
        nn.init.normal_(self.w, generator=rngs.params())

    def forward(self, x: jax.Array) -> jax.Array:
        """Map abscissas (N, 1) to ordinates (N, 1)."""
        return F.linear(x, self.w[...][:, None], self.b[...])


def build(*, rngs: nnx.Rngs) -> LinearRegression:
    """Return the model with new weights."""
    return LinearRegression(rngs=rngs)
