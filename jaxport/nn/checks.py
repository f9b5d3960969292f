"""Early checks of arguments, with errors that name the argument, the value and what would be right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax.core import Tracer

Reduction = Literal["none", "mean", "sum"]


def positive_int(owner: str, name: str, value: Any) -> int:
    """Return `value` if it is a positive integer.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"{owner}: {name} must be a positive integer, got {value!r}")
    return value


def probability(owner: str, name: str, value: Any) -> float:
    """Return `value` if it lies in [0, 1].

    Raises:
        ValueError: it does not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{owner}: {name} must be a probability between 0 and 1, got {value!r}")
    return value


def int_pair(owner: str, name: str, value: int | tuple[int, ...], least: int) -> tuple[int, int]:
    """Return `value` as a pair of integers, one integer standing for both; each must be at least `least`.

    Raises:
        ValueError: another length, type or size.
    """
    pair = (value, value) if isinstance(value, int) else tuple(value)
    good = len(pair) == 2 and all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in pair)
    if not good:
        raise ValueError(f"{owner}: {name} must be an integer >= {least} or a pair of them, got {value!r}")
    return pair[0], pair[1]


def same_dtype(owner: str, **arrays: jax.Array | None) -> None:
    """Refuse arrays of different dtypes, as PyTorch does, where JAX would promote silently.

    Raises:
        TypeError: they differ.
    """
    dtypes = {name: array.dtype for name, array in arrays.items() if array is not None}
    if len(set(dtypes.values())) > 1:
        found = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        raise TypeError(f"{owner}: all arrays must have one dtype, got {found}; cast with .astype or Module.to")


def same_shape(owner: str, input: jax.Array, target: jax.Array) -> None:
    """Refuse a target of another shape, where broadcasting would silently give a wrong loss.

    Raises:
        ValueError: the shapes differ.
    """
    if input.shape != target.shape:
        raise ValueError(f"{owner}: target must have the shape of input, {input.shape}, got {target.shape}")


def reduction_name(owner: str, value: Any) -> Reduction:
    """Return `value` if it is 'none', 'mean' or 'sum'.

    Raises:
        ValueError: it is not.
    """
    if value not in ("none", "mean", "sum"):
        raise ValueError(f"{owner}: reduction must be 'none', 'mean' or 'sum', got {value!r}")
    return value


def int_tuple(owner: str, name: str, value: int | Sequence[int], length: int, least: int) -> tuple[int, ...]:
    """Return `value` as `length` integers, one integer standing for all; each must be at least `least`.

    Raises:
        ValueError: another length, type or size.
    """
    values = (value,) * length if isinstance(value, int) else tuple(value)
    good = len(values) == length and all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in values)
    if not good:
        raise ValueError(f"{owner}: {name} must be an integer >= {least} or {length} of them, got {value!r}")
    return values


def is_concrete(array: Any) -> bool:
    """Whether the values of `array` can be looked at now: it is not traced, and lies wholly on this host."""
    return not isinstance(array, Tracer) and getattr(array, "is_fully_addressable", True)


def index_in_range(owner: str, name: str, index: jax.Array | np.ndarray, low: int, high: int) -> None:
    """Refuse indices outside [low, high) where PyTorch does; under tracing nothing can be seen and nothing is checked.

    Raises:
        IndexError: an index lies outside.
    """
    if not is_concrete(index) or index.size == 0:
        return
    # In NumPy: an operation of JAX on a constant inside jit is traced.
    values = np.asarray(index)
    least, most = int(values.min()), int(values.max())
    if least < low or most >= high:
        wrong = least if least < low else most
        raise IndexError(f"{owner}: {name} must lie in [{low}, {high - 1}], got {wrong}")


def index_dtype() -> Any:
    """Return the dtype of returned indices: int64 as in PyTorch where JAX has it (x64), int32 otherwise."""
    return jax.dtypes.canonicalize_dtype(np.int64)
