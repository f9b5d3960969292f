"""A small convolutional network for handwritten digits."""

import jax
from flax import nnx

from jaxport import nn


def build(*, rngs: nnx.Rngs) -> nn.Sequential:
    """Return two convolutions with max pooling, a global maximum and 64-32-10: (N, 1, H, W) to logits (N, 10).

    H and W are at least 16; on 28 × 28 pictures the maps are 26, 13, 9, 4 and 1 wide.
    """
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(in_channels=1, out_channels=32, kernel_size=3, rngs=rngs))
    net.add_module("pool1", nn.MaxPool2d(kernel_size=2, stride=2))
    net.add_module("conv2", nn.Conv2d(in_channels=32, out_channels=64, kernel_size=5, rngs=rngs))
    net.add_module("pool2", nn.MaxPool2d(kernel_size=2, stride=2))
    net.add_module("dropout", nn.Dropout2d(p=0.1, rngs=rngs))
    net.add_module("adaptive_pool", nn.AdaptiveMaxPool2d((1, 1)))
    net.add_module("flatten", nn.Flatten())
    net.add_module("linear1", nn.Linear(64, 32, rngs=rngs))
    net.add_module("relu", nn.ReLU())
    net.add_module("linear2", nn.Linear(32, 10, rngs=rngs))
    return net


class Net(nn.Module):
    """The same layers in a list, `layers.0` to `layers.9`: (N, 1, H, W) to logits (N, 10)."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.layers = nn.ModuleList(list(build(rngs=rngs).children()))

    def forward(self, x: jax.Array) -> jax.Array:
        """Map pictures (N, 1, H, W) to logits (N, 10)."""
        for layer in self.layers:
            x = layer(x)
        return x


def build_functions(*, rngs: nnx.Rngs) -> Net:
    """Return the model of the function style with new weights."""
    return Net(rngs=rngs)


def build_class(*, rngs: nnx.Rngs) -> Net:
    """Return the model of the class style with new weights."""
    return Net(rngs=rngs)
