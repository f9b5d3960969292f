"""Logistic regression on pictures."""

from collections import OrderedDict

from flax import nnx

from jaxport import nn


def build(*, rngs: nnx.Rngs) -> nn.Sequential:
    """Return one linear layer: (N, 1, 28, 28) to logits (N, 10)."""
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), linear=nn.Linear(28 * 28, 10, rngs=rngs)))
