"""LeNet for pictures of 28 × 28 pixels, with sigmoids."""

import jax
from flax import nnx

from jaxport import nn


class LeNet(nn.Module):
    """Two convolutions of 5 × 5 with max pooling and 256-120-84-10: (N, 1, 28, 28) to logits (N, 10)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv = nn.Sequential(
            nn.Conv2d(1, 6, 5, rngs=rngs),
            nn.Sigmoid(),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(6, 16, 5, rngs=rngs),
            nn.Sigmoid(),
            nn.MaxPool2d(2, 2),
        )
        self.fc = nn.Sequential(
            nn.Linear(16 * 4 * 4, 120, rngs=rngs),
            nn.Sigmoid(),
            nn.Linear(120, 84, rngs=rngs),
            nn.Sigmoid(),
            nn.Linear(84, 10, rngs=rngs),
        )

    def forward(self, x: jax.Array) -> jax.Array:
        """Map pictures (N, 1, 28, 28) to logits (N, 10)."""
        features = self.conv(x)
        return self.fc(nn.flatten(features, 1))


def build(*, rngs: nnx.Rngs) -> LeNet:
    """Return the model with new weights."""
    return LeNet(rngs=rngs)
