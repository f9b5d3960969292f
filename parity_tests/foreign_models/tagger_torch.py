"""A bidirectional LSTM tagger in PyTorch."""

from __future__ import annotations

import torch
from torch import nn


class Tagger(nn.Module):
    def __init__(self, words: int = 23, dim: int = 6, hidden: int = 5, tags: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, dim, padding_idx=0)
        self.lstm = nn.LSTM(dim, hidden, bidirectional=True, batch_first=True)
        self.classifier = nn.Linear(2 * hidden, tags)

    def forward(self, sentence: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(self.embedding(sentence))
        return self.classifier(states)
