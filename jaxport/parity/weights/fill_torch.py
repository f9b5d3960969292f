"""fill_torch: arrays into a PyTorch module, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from jaxport.errors import UsageError


def fill_torch(module: torch.nn.Module, arrays: Mapping[str, Any]) -> None:
    """Copy arrays into a module's parameters and buffers, or change nothing; each keeps its own dtype.

    Tensors that are not named keep their values (``num_batches_tracked``): what is missing is a finding of the plan.

    Args:
        module: filled in place.
        arrays: key as in ``named_parameters`` and ``named_buffers`` → array, as `Plan.to_torch` returns them.

    Raises:
        UsageError: a key that the module does not have, or another shape; all of them are listed.
    """
    known = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    bad = [f"{key}: no such tensor" for key in arrays if key not in known]
    bad += [
        f"{key}: shape {np.shape(value)} given, {tuple(known[key].shape)} in the module"
        for key, value in arrays.items()
        if key in known and np.shape(value) != tuple(known[key].shape)
    ]
    if bad:
        raise UsageError(f"the arrays do not fit {type(module).__name__}: {'; '.join(bad)}")
    with torch.no_grad():
        for key, value in arrays.items():
            known[key].copy_(torch.from_numpy(np.array(value)))
