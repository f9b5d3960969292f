"""A convolutional network over words: film reviews, good or bad."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import nn


class Net(nn.Module):
    """Vectors of words, two convolutions along the text with pooling, one linear layer: (N, 200) to (N, 1).

    Lengths on the way: 200, 196, 98, 97, 48; 128 channels of 48 are the 6,144 inputs of the linear layer.
    """

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        # The vector of padding, number 1, stays 0.
        self.embedding = nn.Embedding(num_embeddings=10_000, embedding_dim=3, padding_idx=1, rngs=rngs)
        self.conv = nn.Sequential()
        self.conv.add_module("conv_1", nn.Conv1d(in_channels=3, out_channels=16, kernel_size=5, rngs=rngs))
        self.conv.add_module("pool_1", nn.MaxPool1d(kernel_size=2))
        self.conv.add_module("relu_1", nn.ReLU())
        self.conv.add_module("conv_2", nn.Conv1d(in_channels=16, out_channels=128, kernel_size=2, rngs=rngs))
        self.conv.add_module("pool_2", nn.MaxPool1d(kernel_size=2))
        self.conv.add_module("relu_2", nn.ReLU())
        self.dense = nn.Sequential()
        self.dense.add_module("flatten", nn.Flatten())
        self.dense.add_module("linear", nn.Linear(6144, 1, rngs=rngs))
        self.dense.add_module("sigmoid", nn.Sigmoid())

    def forward(self, x: jax.Array) -> jax.Array:
        """Map numbers of words (N, 200) to the probability of a good review (N, 1)."""
        vectors = jnp.swapaxes(self.embedding(x), 1, 2)  # (N, 3, 200): channels first
        return self.dense(self.conv(vectors))


def build(*, rngs: nnx.Rngs) -> Net:
    """Return the model with new weights."""
    return Net(rngs=rngs)
