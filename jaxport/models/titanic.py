"""A small network for the Titanic's passengers: 15 features to the probability of survival."""

from flax import nnx

from jaxport import nn


def build(*, rngs: nnx.Rngs) -> nn.Sequential:
    """Return 15-20-15-1 with ReLU between and a sigmoid at the end: (N, 15) to (N, 1)."""
    net = nn.Sequential()
    net.add_module("linear1", nn.Linear(15, 20, rngs=rngs))
    net.add_module("relu1", nn.ReLU())
    net.add_module("linear2", nn.Linear(20, 15, rngs=rngs))
    net.add_module("relu2", nn.ReLU())
    net.add_module("linear3", nn.Linear(15, 1, rngs=rngs))
    net.add_module("sigmoid", nn.Sigmoid())
    return net
