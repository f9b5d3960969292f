"""A line through fifteen points, with a layer."""

import jax
from flax import nnx

from jaxport import nn


class LinearRegression(nn.Module):
    """One linear layer, `linear`: (N, 1) to (N, 1)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.linear = nn.Linear(1, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        """Map abscissas (N, 1) to ordinates (N, 1)."""
        return self.linear(x)


def build(*, rngs: nnx.Rngs) -> LinearRegression:
    """Return the model with new weights."""
    return LinearRegression(rngs=rngs)
