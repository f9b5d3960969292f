"""Which of two rings a point is on, with the focal loss and penalties on the weights, in PyTorch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class DNNModel(nn.Module):
    """2-4-8-1, ReLU, sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(2, 4), nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map points (N, 2) to the probability of the inner ring (N, 1)."""
        hidden = self.fc2(self.fc1(x).relu()).relu()
        return self.fc3(hidden).sigmoid()


class FocalLoss(nn.Module):
    """Mean of a (1 - p)^γ · BCE."""

    def __init__(self, gamma: float = 2.0, alpha: float = 0.75) -> None:
        super().__init__()
        self.gamma, self.alpha = gamma, alpha

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar."""
        bce = nn.functional.binary_cross_entropy(prediction, target, reduction="none")
        of_truth = torch.where(target == 1, prediction, 1 - prediction)
        share = torch.where(target == 1, self.alpha, 1 - self.alpha)
        return (share * torch.pow(1 - of_truth, self.gamma) * bce).mean()


class PenalisedAdam(torch.optim.Adam):
    """Adam on the loss plus l1 · Σ |w| + l2 / 2 · Σ w² over the weights, not the biases."""

    def __init__(self, params: Any, lr: float, l1: float, l2: float) -> None:
        super().__init__(params, lr=lr)
        self.l1, self.l2 = l1, l2

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Add the penalties' gradients and take a step."""
        with torch.enable_grad():
            weights = [p for group in self.param_groups for p in group["params"] if p.dim() > 1]
            penalty = sum(self.l1 * w.abs().sum() + 0.5 * self.l2 * w.pow(2).sum() for w in weights)
            penalty.backward()  # type: ignore[union-attr]
        return super().step(closure)


def build() -> DNNModel:
    """Return the model with new weights."""
    return DNNModel()
