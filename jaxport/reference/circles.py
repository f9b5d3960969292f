"""Which of two rings a point is on, in PyTorch."""

import torch
from torch import nn


class Net(nn.Module):
    """2-4-8-1, ReLU, sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(2, 4), nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map points (N, 2) to the probability of the inner ring (N, 1)."""
        for layer in (self.fc1, self.fc2):
            x = layer(x).relu()
        return self.fc3(x).sigmoid()


def build() -> Net:
    """Return the model with new weights."""
    return Net()


class RawNet(nn.Module):
    """2-4-8-1 of raw arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.b1 = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.zeros(1, 4))
        self.w2, self.b2 = nn.Parameter(torch.randn(4, 8)), nn.Parameter(torch.zeros(1, 8))
        self.w3, self.b3 = nn.Parameter(torch.randn(8, 1)), nn.Parameter(torch.zeros(1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map points (N, 2) to the probability of the inner ring (N, 1)."""
        for weight, bias in ((self.w1, self.b1), (self.w2, self.b2)):
            x = torch.addmm(bias, x, weight).relu()
        return torch.addmm(self.b3, x, self.w3).sigmoid()


class ClampedBCE(nn.Module):
    """Binary cross-entropy of probabilities between 1e-7 and 1 - 1e-7."""

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar."""
        p = prediction.clamp(1e-7, 1 - 1e-7)
        return -(target * p.log() + (1 - target) * (1 - p).log()).mean()


def build_low() -> RawNet:
    """Return the low level's model with new weights."""
    return RawNet()
