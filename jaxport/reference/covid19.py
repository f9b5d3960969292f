"""A recurrent network for the days of an epidemic, and its loss, in PyTorch."""

import torch
from torch import nn


class Block(nn.Module):
    """The last day, grown by the predicted rates, and never below 0."""

    def forward(self, rates: torch.Tensor, days: torch.Tensor) -> torch.Tensor:
        """Map rates (N, 3) and days (N, T, 3) to the next day (N, 3)."""
        last = days[:, -1]
        return torch.maximum(last * (rates + 1.0), torch.zeros_like(last))


class Net(nn.Module):
    """LSTM(3, 3) five times, Linear(3, 3), Block: (N, T, 3) to (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 3, num_layers=5, batch_first=True)
        self.linear = nn.Linear(3, 3)
        self.block = Block()

    def forward(self, days: torch.Tensor) -> torch.Tensor:
        """Map days (N, T, 3) to the next one (N, 3)."""
        every_state = self.lstm(days)[0]
        return self.block(self.linear(every_state[:, -1]), days)


class MSPELoss(nn.Module):
    """Mean of (target - prediction)² / max(target², 1e-7)."""

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar."""
        squared = target**2
        return ((target - prediction) ** 2 / squared.clamp(min=1e-7)).mean()


def build() -> Net:
    """Return the model with new weights."""
    return Net()
