"""A network with one hidden layer for handwritten digits, in PyTorch."""

from collections import OrderedDict

from torch import nn


def build() -> nn.Sequential:
    """Return 784-500-10 with ReLU: (N, 1, 28, 28) to logits (N, 10)."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(784, 500),
            relu=nn.ReLU(),
            fc2=nn.Linear(500, 10),
        )
    )
