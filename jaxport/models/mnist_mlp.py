"""A network with one hidden layer for handwritten digits."""

from flax import nnx

from jaxport import nn


def build(*, rngs: nnx.Rngs) -> nn.Sequential:
    """Return 784-500-10 with ReLU: (N, 1, 28, 28) to logits (N, 10)."""
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc1", nn.Linear(28 * 28, 500, rngs=rngs))
    net.add_module("relu", nn.ReLU())
    net.add_module("fc2", nn.Linear(500, 10, rngs=rngs))
    return net
