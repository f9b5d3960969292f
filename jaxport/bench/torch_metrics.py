"""The ports' metrics in PyTorch, of all predictions and targets of an epoch: (prediction, target) → a scalar."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Accuracy:
    """Share of the highest scores that stand at their class."""

    name: str = ""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the share."""
        return (prediction.argmax(1) == target).double().mean()


@dataclass(frozen=True)
class BinaryAccuracy:
    """Share of the probabilities on the right side of the threshold."""

    threshold: float = 0.5
    name: str = ""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the share."""
        return ((prediction > self.threshold) == (target == 1)).double().mean()


@dataclass(frozen=True)
class BinaryAUC:
    """Area under the ROC curve, of the ranks, those of equal scores averaged."""

    name: str = ""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the area."""
        positive = target.reshape(-1) == 1
        _, place, counts = torch.unique(prediction.reshape(-1), return_inverse=True, return_counts=True)
        ranks = counts.cumsum(0).double() - (counts.double() - 1) / 2
        ones, zeros = positive.sum().double(), (~positive).sum().double()
        return (ranks[place][positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)


@dataclass(frozen=True)
class MeanAbsoluteError:
    """Mean distance between prediction and target."""

    name: str = ""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean."""
        return (prediction - target).abs().mean()


@dataclass(frozen=True)
class MeanAbsolutePercentageError:
    """Mean distance relative to the target."""

    name: str = ""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean."""
        return ((prediction - target).abs() / target.abs().clamp(min=2.0**-52)).mean()


@dataclass(frozen=True)
class R2Score:
    """Coefficient of determination, the mean over the outputs."""

    outputs: int = 1
    name: str = ""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the coefficient."""
        target, error = target.reshape(len(target), -1), (target - prediction).reshape(len(target), -1)
        spread = (target - target.mean(0)).square().sum(0)
        return (1 - error.square().sum(0) / spread).mean()


@dataclass(frozen=True)
class Dice:
    """Overlap of predicted and true masks, over all pixels."""

    threshold: float = 0.5
    smooth: float = 0.0
    name: str = ""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the overlap."""
        guessed, true = prediction > self.threshold, target > 0.5
        both = (guessed.sum() + true.sum()).double()
        return (2 * (guessed & true).sum() + self.smooth) / (both + self.smooth)


METRICS = {
    kind.__name__: kind
    for kind in (
        Accuracy, BinaryAccuracy, BinaryAUC, MeanAbsoluteError, MeanAbsolutePercentageError, R2Score, Dice
    )
}  # fmt: skip
