"""A curve through points with one hidden layer."""

import jax
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F


class Net(nn.Module):
    """1-20-1 with ReLU."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.hidden = nn.Linear(1, 20, rngs=rngs)
        self.out = nn.Linear(20, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        """Map abscissas (N, 1) to ordinates (N, 1)."""
        return self.out(F.relu(self.hidden(x)))


def build(*, rngs: nnx.Rngs) -> Net:
    """Return the model with new weights."""
    return Net(rngs=rngs)
