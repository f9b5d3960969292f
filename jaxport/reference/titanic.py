"""A small network for the Titanic's passengers, in PyTorch."""

from collections import OrderedDict

from torch import nn


def build() -> nn.Sequential:
    """Return 15-20-15-1 with ReLU between and a sigmoid at the end: (N, 15) to (N, 1)."""
    return nn.Sequential(
        OrderedDict(
            linear1=nn.Linear(15, 20),
            relu1=nn.ReLU(),
            linear2=nn.Linear(20, 15),
            relu2=nn.ReLU(),
            linear3=nn.Linear(15, 1),
            sigmoid=nn.Sigmoid(),
        )
    )
