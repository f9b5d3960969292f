"""A network with one hidden layer for handwritten digits, its layers numbered, in PyTorch."""

from torch import nn


def build() -> nn.Sequential:
    """Return 784-200-10 with ReLU: (N, 1, 28, 28) to logits (N, 10)."""
    hidden, output = nn.Linear(28 * 28, 200), nn.Linear(200, 10)
    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), output)
