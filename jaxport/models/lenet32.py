"""LeNet for pictures of 32 × 32 pixels, with ReLUs."""

import jax
from flax import nnx

from jaxport import nn


class Net(nn.Module):
    """Two convolutions of 5 × 5 with max pooling and 400-120-84-10: (N, 1, 32, 32) to (N, 10)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv1 = nn.Conv2d(1, 6, 5, rngs=rngs)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5, rngs=rngs)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120, rngs=rngs)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(120, 84, rngs=rngs)
        self.relu4 = nn.ReLU()
        self.fc3 = nn.Linear(84, 10, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        """Map pictures (N, 1, 32, 32) to ten numbers (N, 10)."""
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.relu3(self.fc1(nn.flatten(x, 1)))
        return self.fc3(self.relu4(self.fc2(x)))


def build(*, rngs: nnx.Rngs) -> Net:
    """Return the model with new weights."""
    return Net(rngs=rngs)
