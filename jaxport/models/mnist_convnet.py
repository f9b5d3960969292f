"""A convolutional network with batch normalisation for handwritten digits."""

import jax
from flax import nnx

from jaxport import nn


def _layer(channels_in: int, channels_out: int, rngs: nnx.Rngs) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=5, stride=1, padding=2, rngs=rngs),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2, stride=2),
    )


class ConvNet(nn.Module):
    """Two layers of convolution, batch normalisation, ReLU and pooling, and a linear one: (N, 1, 28, 28) to (N, 10)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.layer1 = _layer(1, 16, rngs)
        self.layer2 = _layer(16, 32, rngs)
        self.fc = nn.Linear(7 * 7 * 32, 10, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        """Map pictures (N, 1, 28, 28) to logits (N, 10)."""
        maps = self.layer2(self.layer1(x))
        return self.fc(nn.flatten(maps, 1))


def build(*, rngs: nnx.Rngs) -> ConvNet:
    """Return the model with new weights."""
    return ConvNet(rngs=rngs)
