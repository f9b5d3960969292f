"""A plane through points: y = X w + b."""

import jax
from flax import nnx

from jaxport import nn


class LinearRegression(nn.Module):
    """One linear layer, `fc`: (N, 2) to (N, 1)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.fc = nn.Linear(2, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        """Map points (N, 2) to heights (N, 1)."""
        return self.fc(x)


def build(*, rngs: nnx.Rngs) -> LinearRegression:
    """Return the model with new weights."""
    return LinearRegression(rngs=rngs)
