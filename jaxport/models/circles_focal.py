"""Which of two rings a point is on, where one ring is rare: the net of `circles` and the focal loss."""

import jax
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F
from jaxport.nn.loss_reduce import Loss, matching_pair, reduce_loss


class DNNModel(nn.Module):
    """2-4-8-1 with ReLU between and a sigmoid at the end."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.fc1 = nn.Linear(2, 4, rngs=rngs)
        self.fc2 = nn.Linear(4, 8, rngs=rngs)
        self.fc3 = nn.Linear(8, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        """Map points (N, 2) to the probability of the inner ring (N, 1)."""
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.sigmoid(self.fc3(x))


class FocalLoss(Loss):
    """Binary cross-entropy that counts hard examples more, and the rare class.

    loss = mean(a · (1 - p)^γ · (-log p)), with p the probability of the true class, a = α where it is 1 and 1 - α where
    it is 0.

    Args:
        gamma: γ, how much easy examples lose.
        alpha: α, the share of class 1.

    Raises:
        ValueError: the shapes of prediction and target differ.
        TypeError: their dtypes differ or are not floating.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002; Eat PyTorch in 20 days, 5-3.
    """

    reduction = "mean"

    def __init__(self, gamma: float = 2.0, alpha: float = 0.75) -> None:
        self.gamma, self.alpha = gamma, alpha

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of probabilities (N, 1) against 0 and 1 (N, 1); `where` (N,) says which examples count."""
        input, target = matching_pair("FocalLoss", input, target, where)
        likelihood = target * input + (1 - target) * (1 - input)
        weight = target * self.alpha + (1 - target) * (1 - self.alpha)
        values = weight * (1 - likelihood) ** self.gamma * F.binary_cross_entropy(input, target, reduction="none")
        return reduce_loss(values, self.reduction, where, "FocalLoss")


def build(*, rngs: nnx.Rngs) -> DNNModel:
    """Return the model with new weights."""
    return DNNModel(rngs=rngs)
