"""A multilayer perceptron for pictures of clothes."""

import jax
from flax import nnx

from jaxport import nn


class NeuralNetwork(nn.Module):
    """784-512-512-10 with ReLU between: (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(28 * 28, 512, rngs=rngs),
            nn.ReLU(),
            nn.Linear(512, 512, rngs=rngs),
            nn.ReLU(),
            nn.Linear(512, 10, rngs=rngs),
        )

    def forward(self, x: jax.Array) -> jax.Array:
        """Map pictures (N, 1, 28, 28) to logits (N, 10)."""
        return self.linear_relu_stack(self.flatten(x))


def build(*, rngs: nnx.Rngs) -> NeuralNetwork:
    """Return the model with new weights."""
    return NeuralNetwork(rngs=rngs)
