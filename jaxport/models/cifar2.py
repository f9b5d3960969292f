"""A small convolutional network that tells airplanes from automobiles."""

import jax
from flax import nnx

from jaxport import nn


class Net(nn.Module):
    """Two convolutions with max pooling, a global maximum, 64-32-1 and a sigmoid: (N, 3, 32, 32) to (N, 1)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv1 = nn.Conv2d(in_channels=3, out_channels=32, kernel_size=3, rngs=rngs)
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv2 = nn.Conv2d(in_channels=32, out_channels=64, kernel_size=5, rngs=rngs)
        self.dropout = nn.Dropout2d(p=0.1, rngs=rngs)
        self.adaptive_pool = nn.AdaptiveMaxPool2d((1, 1))
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(64, 32, rngs=rngs)
        self.relu = nn.ReLU()
        self.linear2 = nn.Linear(32, 1, rngs=rngs)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: jax.Array) -> jax.Array:
        """Map pictures (N, 3, 32, 32) to the probability of an automobile (N, 1)."""
        x = self.pool(self.conv1(x))
        x = self.pool(self.conv2(x))
        x = self.flatten(self.adaptive_pool(self.dropout(x)))
        return self.sigmoid(self.linear2(self.relu(self.linear1(x))))


def build(*, rngs: nnx.Rngs) -> Net:
    """Return the model with new weights."""
    return Net(rngs=rngs)
