"""What `record` is given: checked, and made arrays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch

from jaxport.errors import UsageError

from .deviations import matches
from .golden import DTYPES, MODES


def check_arguments(path: Any, dtypes: Sequence[str], modes: Sequence[str], draws: int) -> None:
    """Find wrong arguments before anything is run."""
    if not str(path).endswith(".safetensors"):
        raise UsageError(f"path={str(path)!r}: a golden's name ends in .safetensors")
    for name, given, allowed in (("dtypes", dtypes, DTYPES), ("modes", modes, MODES)):
        if isinstance(given, str) or not given or set(given) - set(allowed):
            raise UsageError(f"{name}={given!r}: a sequence of {' and '.join(allowed)} is needed")
    if "float64" not in dtypes:
        raise UsageError(f"dtypes={dtypes!r}: float64 is needed, against which float32 is judged too")
    if draws < 0:
        raise UsageError(f"draws={draws}: 0 or more is needed")


def as_arrays(inputs: Any) -> list[np.ndarray]:
    """Return the arguments as arrays, floats rounded to float32: both precisions have those exactly."""
    given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    arrays = [value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value) for value in given]
    if wrong := [i for i, array in enumerate(arrays) if array.dtype.kind not in "fiub"] or ([] if arrays else [0]):
        kind = type(given[wrong[0]]).__name__ if given else "nothing"
        raise UsageError(f"inputs[{wrong[0]}]: an array of numbers is needed, got {kind}")
    return [array.astype(np.float32) if array.dtype.kind == "f" else array for array in arrays]


def hidden_dropouts(module: torch.nn.Module) -> list[str]:
    """Return the layers that draw dropouts inside one operation, where no mask reaches them."""
    inside = torch.nn.RNNBase | torch.nn.MultiheadAttention
    parts = [(path, part) for path, part in module.named_modules() if isinstance(part, inside) and part.dropout]
    return [path or type(part).__name__ for path, part in parts if getattr(part, "num_layers", 2) > 1]


def wanted(path: str, layers: bool | Collection[str]) -> bool:
    """Return whether the outputs of a module are to be recorded."""
    return layers if isinstance(layers, bool) else any(matches(pattern, path) for pattern in layers)


def tried(call: Callable[..., Any], inputs: list[np.ndarray], *args: Any, **kwargs: Any) -> Any:
    """Return what a first pass gives; whatever a stranger's model raises on wrong inputs is the user's to mend."""
    try:
        return call(inputs, *args, **kwargs)
    except UsageError:
        raise
    except Exception as error:
        shapes = ", ".join(f"{array.dtype}{list(array.shape)}" for array in inputs)
        reason = str(error).splitlines()[0] if str(error) else ""
        raise UsageError(f"model: it does not take inputs of {shapes}: {type(error).__name__}: {reason}") from error
