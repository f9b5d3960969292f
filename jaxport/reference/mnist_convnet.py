"""A convolutional network with batch normalisation for handwritten digits, in PyTorch."""

import torch
from torch import nn


class ConvNet(nn.Module):
    """Convolution, batch normalisation, ReLU and pooling, twice; then 1568-10."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2, 2))
        self.layer2 = nn.Sequential(nn.Conv2d(16, 32, 5, padding=2), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2, 2))
        self.fc = nn.Linear(1568, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map pictures (N, 1, 28, 28) to logits (N, 10)."""
        for layer in (self.layer1, self.layer2):
            x = layer(x)
        return self.fc(x.flatten(1))


def build() -> ConvNet:
    """Return the model with new weights."""
    return ConvNet()
