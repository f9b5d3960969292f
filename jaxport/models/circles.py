"""Which of two rings a point is on."""

import jax
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F


class Net(nn.Module):
    """2-4-8-1 with ReLU between and a sigmoid at the end."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.fc1 = nn.Linear(2, 4, rngs=rngs)
        self.fc2 = nn.Linear(4, 8, rngs=rngs)
        self.fc3 = nn.Linear(8, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        """Map points (N, 2) to the probability of the inner ring (N, 1)."""
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.sigmoid(self.fc3(x))


def build(*, rngs: nnx.Rngs) -> Net:
    """Return the model with new weights."""
    return Net(rngs=rngs)
