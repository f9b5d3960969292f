"""Which of two clusters a point is in."""

import jax
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F


class Net(nn.Module):
    """One linear layer and a sigmoid, whose outputs go into the cross-entropy as if they were logits."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.linear = nn.Linear(2, 2, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        """Map points (N, 2) to scores from 0 to 1 (N, 2)."""
        return F.sigmoid(self.linear(x))


def build(*, rngs: nnx.Rngs) -> Net:
    """Return the model with new weights."""
    return Net(rngs=rngs)
