"""LeNet for pictures of 28 × 28 pixels, in PyTorch."""

import torch
from torch import nn


class LeNet(nn.Module):
    """Convolutions with sigmoid and pooling, then 256-120-84-10."""

    def __init__(self) -> None:
        super().__init__()
        convolutions: list[nn.Module] = []
        for before, after in ((1, 6), (6, 16)):
            convolutions += [nn.Conv2d(before, after, kernel_size=5), nn.Sigmoid(), nn.MaxPool2d(2, 2)]
        self.conv = nn.Sequential(*convolutions)
        self.fc = nn.Sequential(nn.Linear(256, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map pictures (N, 1, 28, 28) to logits (N, 10)."""
        return self.fc(torch.flatten(self.conv(x), start_dim=1))


def build() -> LeNet:
    """Return the model with new weights."""
    return LeNet()
