"""The PyTorch side of every port, written for this project: each file has `build()` → ``torch.nn.Module``.

A variant's model, as of ``resnet-50``, is ``build_50()`` of its port's file, or `build()` where that is the same net.
These files import torch and nothing of jaxport; only ``jaxport.parity`` and ``jaxport.bench`` import them.
"""

from importlib import import_module
from typing import Any


def find(name: str) -> Any:
    """Return the file of a port or variant: it holds `build`, and losses and optimisers that PyTorch does not have."""
    return import_module(f"{__name__}.{name.partition('-')[0]}")


def build(name: str) -> Any:
    """Return the PyTorch model of a port or variant with new weights."""
    file = find(name)
    return getattr(file, f"build_{name.partition('-')[2]}", file.build)()
