"""A plane through points: y = X w + b."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import nn
from jaxport.nn.loss_reduce import Loss, matching_pair, reduce_loss


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


class RawRegression(nn.Module):
    """The low level's plane of two raw arrays: w (2, 1) from N(0, 1), b (1, 1) zero; (N, 2) to (N, 1)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.w = nn.Parameter(jnp.zeros((2, 1)))
        self.b = nn.Parameter(jnp.zeros((1, 1)))
        nn.init.normal_(self.w, generator=rngs.params())

    def forward(self, x: jax.Array) -> jax.Array:
        """Map points (N, 2) to heights (N, 1)."""
        return x @ self.w[...] + self.b[...]


class HalfSquaredError(Loss):
    """Half the mean squared error, whose derivative has no factor.

    loss = mean((input - target)² / 2)

    Raises:
        ValueError: the shapes of input and target differ.
        TypeError: their dtypes differ or are not floating.

    Source: Eat PyTorch in 20 days, 3-1.
    """

    reduction = "mean"

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of predictions (N, ...) against targets (N, ...); `where` (N,) says which examples count."""
        input, target = matching_pair("HalfSquaredError", input, target, where)
        return reduce_loss((input - target) ** 2 / 2, self.reduction, where, "HalfSquaredError")


def build_low(*, rngs: nnx.Rngs) -> RawRegression:
    """Return the low level's model with new weights."""
    return RawRegression(rngs=rngs)
