"""Which of three clusters a point is in."""

import jax
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F


class Net(nn.Module):
    """2-20-3 with ReLU and softmax, whose outputs go into the cross-entropy as if they were logits."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.hidden = nn.Linear(2, 20, rngs=rngs)
        self.out = nn.Linear(20, 3, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        """Map points (N, 2) to shares (N, 3)."""
        x = F.relu(self.hidden(x))
        return F.softmax(self.out(x), dim=1)


def build(*, rngs: nnx.Rngs) -> Net:
    """Return the model with new weights."""
    return Net(rngs=rngs)
