"""A recurrent network for the days of an epidemic, and the loss of relative errors that it is trained with."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import nn
from jaxport.nn.loss_reduce import Loss, matching_pair, reduce_loss


class Block(nn.Module):
    """The last day, grown by the predicted rates, and never below 0: y = max((1 + x) · last, 0).

    x: (N, F), input: (N, T, F), y: (N, F).
    """

    def forward(self, x: jax.Array, input: jax.Array) -> jax.Array:
        """Map rates (N, F) and days (N, T, F) to the next day (N, F)."""
        return jnp.maximum((1 + x) * input[:, -1, :], 0)


class Net(nn.Module):
    """Five layers of LSTM(3, 3), a linear layer on the last day's state, and the block: (N, T, 3) to (N, 3)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.lstm = nn.LSTM(input_size=3, hidden_size=3, num_layers=5, batch_first=True, rngs=rngs)
        self.linear = nn.Linear(3, 3, rngs=rngs)
        self.block = Block()

    def forward(self, input: jax.Array) -> jax.Array:
        """Map T days of three numbers (N, T, 3) to the day after (N, 3)."""
        states, _ = self.lstm(input)
        return self.block(self.linear(states[:, -1, :]), input)


class MSPELoss(Loss):
    """Mean squared relative error: mean((target - input)² / max(target², 1e-7)).

    Where a target is 0, an error of 1 costs 10⁷: the tutorial's bound is that low.

    Raises:
        ValueError: the shapes differ.
        TypeError: the dtypes differ or are not floating.

    Source: Eat PyTorch in 20 days, 1-4.
    """

    reduction = "mean"

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of predictions (N, ...); `where` (N,) says which examples count."""
        input, target = matching_pair("MSPELoss", input, target, where)
        error = jnp.square(target - input) / jnp.maximum(jnp.square(target), 1e-7)
        return reduce_loss(error, self.reduction, where, "MSPELoss")


def build(*, rngs: nnx.Rngs) -> Net:
    """Return the model with new weights."""
    return Net(rngs=rngs)
