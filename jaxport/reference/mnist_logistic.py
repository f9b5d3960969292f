"""Logistic regression on pictures, in PyTorch."""

from collections import OrderedDict

from torch import nn


def build() -> nn.Sequential:
    """Return one linear layer: (N, 1, 28, 28) to logits (N, 10)."""
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), linear=nn.Linear(784, 10)))
