"""A network with one hidden layer for handwritten digits, its layers numbered."""

from flax import nnx

from jaxport import nn


def build(*, rngs: nnx.Rngs) -> nn.Sequential:
    """Return 784-200-10 with ReLU: (N, 1, 28, 28) to logits (N, 10)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 200, rngs=rngs), nn.ReLU(), nn.Linear(200, 10, rngs=rngs))
