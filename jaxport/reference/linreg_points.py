"""A line through fifteen points from two raw parameters, in PyTorch."""

import torch
from torch import nn


class LinearRegression(nn.Module):
    """y = w x + b with w from N(0, 1) and b = 0."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(1))
        self.b = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map abscissas (N, 1) to ordinates (N, 1)."""
        return x * self.w + self.b


def build() -> LinearRegression:
    """Return the model with new weights."""
    return LinearRegression()
