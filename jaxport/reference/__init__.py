"""The PyTorch side of every port, written for this project: each file has `build()` → ``torch.nn.Module``.

These files import torch and nothing of jaxport; only ``jaxport.parity`` and ``jaxport.bench`` import them.
"""
