"""A convolutional network over words, in PyTorch."""

from collections import OrderedDict

import torch
from torch import nn


class Net(nn.Module):
    """The probability that a review of 200 words is a good one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10_000, 3, padding_idx=1)
        self.conv = nn.Sequential(
            OrderedDict(
                conv_1=nn.Conv1d(3, 16, 5),
                pool_1=nn.MaxPool1d(2),
                relu_1=nn.ReLU(),
                conv_2=nn.Conv1d(16, 128, 2),
                pool_2=nn.MaxPool1d(2),
                relu_2=nn.ReLU(),
            )
        )
        self.dense = nn.Sequential(
            OrderedDict(flatten=nn.Flatten(), linear=nn.Linear(128 * 48, 1), sigmoid=nn.Sigmoid())
        )

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Map (N, 200) to (N, 1)."""
        return self.dense(self.conv(self.embedding(words).mT))


def build() -> Net:
    """Return the model with new weights."""
    return Net()
