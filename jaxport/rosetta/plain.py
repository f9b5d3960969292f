"""Values of either side in one form: leaves of NumPy arrays with the name of their dtype."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Leaf:
    """An array, number, dtype or text: what it is ("float32", "Python float") and its value."""

    dtype: str
    value: Any


def plain(value: Any) -> Any:
    """Return tensors, arrays, numbers and dtypes as leaves, in nested tuples; dictionaries by sorted keys."""
    if isinstance(value, dict):
        return tuple((plain(str(key)), plain(value[key])) for key in sorted(value, key=str))
    if isinstance(value, (tuple, list)):
        return tuple(plain(item) for item in value)
    if isinstance(value, bool | int | float | str) and not isinstance(value, np.generic):
        return Leaf(f"Python {type(value).__name__}", value)
    name = _dtype_name(value)
    if name:
        return Leaf(name, "dtype")
    return _leaf(value)


def _leaf(value: Any) -> Any:
    if hasattr(value, "detach"):  # a tensor
        tensor = value.detach().cpu()
        wide = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
        return Leaf(str(tensor.dtype).removeprefix("torch."), wide.numpy().copy())
    if hasattr(value, "get_value"):  # a variable of Flax
        value = value.get_value()
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        array = np.asarray(value)
        return Leaf(str(array.dtype), array.astype(np.float32) if str(array.dtype) == "bfloat16" else array.copy())
    if hasattr(value, "platform"):  # a device of JAX
        return Leaf("device", value.platform)
    if type(value).__module__ == "torch" and type(value).__name__ == "device":
        return Leaf("device", value.type)
    if value is None:
        return Leaf("None", None)
    if isinstance(value, Iterator):
        return plain(list(value))
    return Leaf(type(value).__name__, str(value))


def _dtype_name(value: Any) -> str:
    """Return the name of a dtype of PyTorch, NumPy or JAX; of anything else, nothing."""
    if type(value).__module__ == "torch" and type(value).__name__ == "dtype":
        return str(value).removeprefix("torch.")
    if isinstance(value, np.dtype):
        return value.name
    return ""


def pairs(first: Any, second: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the leaves of two plain values side by side with their place; where they are built otherwise, the whole."""
    if isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second):
        for number, items in enumerate(zip(first, second, strict=True)):
            yield from pairs(*items, f"{path}[{number}]")
    else:
        yield path, first, second
