"""Which of two rings a point is on."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F
from jaxport.nn.loss_reduce import Loss, matching_pair, reduce_loss


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


class RawNet(nn.Module):
    """The low level's 2-4-8-1 of raw arrays: weights (in, out) from N(0, 1), biases (1, out) zero."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.w1, self.b1 = nn.Parameter(jnp.zeros((2, 4))), nn.Parameter(jnp.zeros((1, 4)))
        self.w2, self.b2 = nn.Parameter(jnp.zeros((4, 8))), nn.Parameter(jnp.zeros((1, 8)))
        self.w3, self.b3 = nn.Parameter(jnp.zeros((8, 1))), nn.Parameter(jnp.zeros((1, 1)))
        for weight in (self.w1, self.w2, self.w3):
            nn.init.normal_(weight, generator=rngs.params())

    def forward(self, x: jax.Array) -> jax.Array:
        """Map points (N, 2) to the probability of the inner ring (N, 1)."""
        x = F.relu(x @ self.w1[...] + self.b1[...])
        x = F.relu(x @ self.w2[...] + self.b2[...])
        return F.sigmoid(x @ self.w3[...] + self.b3[...])


class ClampedBCE(Loss):
    """Binary cross-entropy of probabilities that are kept off 0 and 1.

    loss = mean(-t log p - (1 - t) log (1 - p)),  p = min(max(input, 1e-7), 1 - 1e-7)

    Raises:
        ValueError: the shapes of input and target differ.
        TypeError: their dtypes differ or are not floating.

    Source: Eat PyTorch in 20 days, 3-1. `BCELoss` keeps the logarithms above -100 instead.
    """

    reduction = "mean"

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of probabilities (N, 1) against 0 and 1 (N, 1); `where` (N,) says which examples count."""
        input, target = matching_pair("ClampedBCE", input, target, where)
        p = jnp.clip(input, 1e-7, 1 - 1e-7)
        values = -target * jnp.log(p) - (1 - target) * jnp.log(1 - p)
        return reduce_loss(values, self.reduction, where, "ClampedBCE")


def build_low(*, rngs: nnx.Rngs) -> RawNet:
    """Return the low level's model with new weights."""
    return RawNet(rngs=rngs)
