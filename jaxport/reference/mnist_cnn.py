"""A small convolutional network for handwritten digits, in PyTorch."""

from collections import OrderedDict

import torch
from torch import nn


def build() -> nn.Sequential:
    """Return two convolutions with max pooling, a global maximum and 64-32-10: (N, 1, H, W) to logits (N, 10)."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 32, 3),
            pool1=nn.MaxPool2d(2, 2),
            conv2=nn.Conv2d(32, 64, 5),
            pool2=nn.MaxPool2d(2, 2),
            dropout=nn.Dropout2d(0.1),
            adaptive_pool=nn.AdaptiveMaxPool2d((1, 1)),
            flatten=nn.Flatten(),
            linear1=nn.Linear(64, 32),
            relu=nn.ReLU(),
            linear2=nn.Linear(32, 10),
        )
    )


class Net(nn.Module):
    """The same layers in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(build())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map pictures (N, 1, H, W) to logits (N, 10)."""
        for layer in self.layers:
            x = layer(x)
        return x


def build_functions() -> Net:
    """Return the model of the function style with new weights."""
    return Net()


def build_class() -> Net:
    """Return the model of the class style with new weights."""
    return Net()
