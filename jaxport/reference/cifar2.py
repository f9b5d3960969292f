"""A small convolutional network that tells airplanes from automobiles, in PyTorch."""

import torch
from torch import nn


class Net(nn.Module):
    """The probability that a 32 × 32 colour picture shows an automobile."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(32, 64, 5)
        self.dropout = nn.Dropout2d(0.1)
        self.adaptive_pool = nn.AdaptiveMaxPool2d((1, 1))
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(64, 32)
        self.relu = nn.ReLU()
        self.linear2 = nn.Linear(32, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Map (N, 3, 32, 32) to (N, 1)."""
        maps = pictures
        for convolution in (self.conv1, self.conv2):
            maps = self.pool(convolution(maps))
        features = self.flatten(self.adaptive_pool(self.dropout(maps)))
        hidden = self.relu(self.linear1(features))
        return self.sigmoid(self.linear2(hidden))


def build() -> Net:
    """Return the model with new weights."""
    return Net()
