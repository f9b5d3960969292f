"""A line through fifteen points, with a layer, in PyTorch."""

import torch
from torch import nn


class LinearRegression(nn.Module):
    """One linear layer, `linear`."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map abscissas (N, 1) to ordinates (N, 1)."""
        return self.linear(x)


def build() -> LinearRegression:
    """Return the model with new weights."""
    return LinearRegression()
