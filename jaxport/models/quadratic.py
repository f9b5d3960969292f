"""A parabola's minimum: the one parameter is the place."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import nn
from jaxport.nn.loss_reduce import Loss, matching_pair, reduce_loss


class Parabola(nn.Module):
    """a p² + b p + c at the parameter p, which is 0 at the start: (N, 3) to (N, 1)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.p = nn.Parameter(jnp.zeros(1))

    def forward(self, x: jax.Array) -> jax.Array:
        """Map coefficients (N, 3) to values (N, 1)."""
        p = self.p[...]
        return x @ jnp.stack([p**2, p, jnp.ones_like(p)])


class Value(Loss):
    """The function's own value, to be made small; the target does not count.

    loss = mean(input)

    Raises:
        ValueError: the shapes of input and target differ.
        TypeError: their dtypes differ or are not floating.

    Source: Eat PyTorch in 20 days, 2-2.
    """

    reduction = "mean"

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the mean of the values (N, 1); `where` (N,) says which count."""
        input, _ = matching_pair("Value", input, target, where)
        return reduce_loss(input, self.reduction, where, "Value")


def build(*, rngs: nnx.Rngs) -> Parabola:
    """Return the model at p = 0."""
    return Parabola(rngs=rngs)
