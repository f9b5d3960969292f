"""Helpers around the layers, in PyTorch's names: ``torch.nn.utils``."""

from . import rnn as rnn
