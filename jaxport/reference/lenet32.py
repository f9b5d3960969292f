"""LeNet for pictures of 32 × 32 pixels, in PyTorch."""

import torch
from torch import nn


class Net(nn.Module):
    """Two convolutions, pooled, and three linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1, self.pool1 = nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2, 2)
        self.conv2, self.relu2, self.pool2 = nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2, 2)
        self.fc1, self.relu3 = nn.Linear(400, 120), nn.ReLU()
        self.fc2, self.relu4 = nn.Linear(120, 84), nn.ReLU()
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map pictures (N, 1, 32, 32) to ten numbers (N, 10)."""
        for layer in (self.conv1, self.relu1, self.pool1, self.conv2, self.relu2, self.pool2):
            x = layer(x)
        x = x.flatten(start_dim=1)
        for layer in (self.fc1, self.relu3, self.fc2, self.relu4, self.fc3):
            x = layer(x)
        return x


def build() -> Net:
    """Return the model with new weights."""
    return Net()
