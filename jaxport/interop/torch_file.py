"""PyTorch's own weight files (`.pt`, `.pth`, `.pkl`) as NumPy arrays by name; PyTorch is imported on use."""

import os
import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jaxport.errors import WeightsError

from .files import SAFETENSORS_DTYPES, native_arrays, replacing

DTYPES = {*SAFETENSORS_DTYPES.values(), np.dtype(np.complex128)}
# Those that PyTorch and NumPy do not exchange directly, and the integers through which their bits travel.
CARRIERS = {d: np.dtype(f"int{8 * d.itemsize}") for d in DTYPES if d.type.__module__ == "ml_dtypes"}


def load_torch(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a state dict that `torch.save` wrote, whatever the file is called: {name: array}, in the file's order.

    The file is read with `weights_only=True`: code that a file contains is refused, never run. Bits are kept; bfloat16
    and float8 tensors become `ml_dtypes` arrays. Tensors that share storage (tied weights) become separate arrays.

    Raises:
        WeightsError: PyTorch is not installed; the file is missing or damaged; it holds anything but a flat state dict
            (a whole module, a list, a checkpoint around a state dict: the message says how to get the weights out);
            a tensor is sparse, quantised, without data, or of a dtype that NumPy does not have (all are listed).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.load.html
    """
    torch = _import_torch()
    checkpoint = _read(torch, Path(path))
    if problem := _not_a_state_dict(torch, checkpoint):
        raise WeightsError(f"path={str(path)!r} {problem}")
    problems = [f"{name!r} is {what}" for name, tensor in checkpoint.items() if (what := _unsupported(torch, tensor))]
    if problems:
        raise WeightsError(f"path={str(path)!r} holds tensors that NumPy cannot: {'; '.join(problems)}")
    return {name: _to_numpy(torch, tensor) for name, tensor in checkpoint.items()}


def save_torch(mapping: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> None:
    """Write named arrays as a state dict that `torch.load` reads: the same order, dtypes and bits; all or nothing.

    Raises:
        WeightsError: PyTorch is not installed, the folder is missing or not writable, a name is not a string, or a
            value is not an array or has a dtype that PyTorch does not have (all such names are listed).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.save.html
    """
    with replacing(path) as temporary:
        write_torch(mapping, temporary)


def write_torch(mapping: Mapping[str, np.ndarray], path: Path) -> None:
    """Write `mapping` straight to `path`; `save_torch` is this, made atomic."""
    torch = _import_torch()
    arrays = native_arrays(mapping, DTYPES, "a PyTorch file")
    tensors = OrderedDict((name, _to_torch(torch, array)) for name, array in arrays.items())
    try:
        with path.open("wb") as file:
            torch.save(tensors, file)
    except RuntimeError as error:  # torch.save's way of saying that the disk is full
        raise WeightsError(f"mapping could not be written whole: {error}") from error


def _import_torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise WeightsError("PyTorch files need PyTorch: pip install 'jaxport[parity]', or use .safetensors") from error
    return torch


def _read(torch: ModuleType, path: Path) -> Any:
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # remarks on old pickle protocols: what can be read is read
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"path={str(path)!r} cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(f"path={str(path)!r} {_refusal(str(error))}") from error
    except Exception as error:  # a damaged pickle can raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(f"path={str(path)!r} is not a whole PyTorch file: {reason}") from error


def _refusal(message: str) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", message)
    if found is None:
        return "is damaged or was not written by torch.save"
    return (
        f"holds {found[1]}, which is code and not weights; it was not run. If you trust its source, "
        "load it in PyTorch and write the weights alone: torch.save(model.state_dict(), 'weights.pt')"
    )


def _not_a_state_dict(torch: ModuleType, checkpoint: Any) -> str | None:
    """Say what a file holds instead of {name: tensor}, and where in it a state dict seems to be; None if it is one."""
    if not isinstance(checkpoint, Mapping):
        return f"holds a {type(checkpoint).__name__}; a state dict is needed: torch.save(model.state_dict(), path)"
    others = {k: v for k, v in checkpoint.items() if not (isinstance(k, str) and torch.is_tensor(v))}
    if not others:
        return None
    inner = [k for k, v in others.items() if isinstance(v, Mapping) and v and all(map(torch.is_tensor, v.values()))]
    if inner:
        advice = f"A state dict seems to lie under {' and '.join(map(repr, inner))}: "
        advice += f"torch.save(torch.load(path, weights_only=True)[{inner[0]!r}], 'weights.pt')"
    else:
        advice = "A state dict holds tensors by name: torch.save(model.state_dict(), path)"
    listed = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in others.items())
    return f"is no flat state dict; it holds {listed}. {advice}"


def _unsupported(torch: ModuleType, tensor: Any) -> str | None:
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"sparse or nested ({tensor.layout}): save its .to_dense()"
    if tensor.is_quantized:
        return f"quantised ({tensor.dtype}): save its .dequantize()"
    if tensor.is_meta:
        return "on the meta device, without data"
    return None if _numpy_dtype(tensor) else f"of dtype {tensor.dtype}: save it as another"


def _numpy_dtype(tensor: Any) -> np.dtype | None:
    name = str(tensor.dtype).removeprefix("torch.")  # both sides call their dtypes the same
    return next((dtype for dtype in DTYPES if dtype.name == name), None)


def _to_numpy(torch: ModuleType, tensor: Any) -> np.ndarray:
    dtype = _numpy_dtype(tensor)
    assert dtype is not None
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if carrier := CARRIERS.get(dtype):
        tensor = tensor.view(getattr(torch, carrier.name))
    return tensor.numpy().copy().view(dtype)  # a copy, so that a slice does not keep its whole storage alive


def _to_torch(torch: ModuleType, array: np.ndarray) -> Any:
    carrier = CARRIERS.get(array.dtype, array.dtype)
    return torch.from_numpy(array.view(carrier).copy()).view(getattr(torch, array.dtype.name))
