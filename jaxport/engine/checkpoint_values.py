"""JSON values and arrays mixed, as callbacks keep them: taken apart for a checkpoint, and put together again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxport.errors import UsageError

from .arrays import is_key

# What stands for an array, and for a number that JSON does not have.
_ARRAY, _NUMBER = "__array__", "__number__"


def take_apart(value: Any, prefix: str, arrays: dict[str, Any]) -> Any:
    """Return `value` as JSON, and put its arrays into `arrays` under names that begin with `prefix`.

    Tuples become lists, and NumPy's scalars Python's numbers.

    Raises:
        UsageError: something is neither a JSON value nor an array.
    """
    if is_key(value):
        return {**take_apart(jax.random.key_data(value), prefix, arrays), "key": str(jax.random.key_impl(value))}
    if isinstance(value, jax.Array) or (isinstance(value, np.ndarray) and value.dtype.kind not in "OSUMm"):
        name = f"{prefix}.{len(arrays)}"
        # A callback may change an array of NumPy in place while it is written.
        arrays[name] = value if isinstance(value, jax.Array) else value.copy()
        return {_ARRAY: name, "dtype": np.dtype(value.dtype).name, "shape": list(value.shape)}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {_NUMBER: repr(value)}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: take_apart(item, prefix, arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [take_apart(item, prefix, arrays) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UsageError(
        f"{prefix}: state_dict has {_shown(value)}; a checkpoint keeps numbers, strings, arrays, lists, and "
        "dictionaries whose keys are strings"
    )


def put_together(value: Any, array: Callable[[str], Any]) -> Any:
    """Return what `take_apart` took apart; `array` gives the array of a name."""
    if isinstance(value, dict) and _ARRAY in value:
        empty = 0 in value["shape"]
        found = np.zeros(value["shape"], np.dtype(value["dtype"])) if empty else np.asarray(array(value[_ARRAY]))
        return jax.random.wrap_key_data(jnp.asarray(found), impl=value["key"]) if "key" in value else found
    if isinstance(value, dict) and _NUMBER in value:
        return float(value[_NUMBER])
    if isinstance(value, dict):
        return {key: put_together(item, array) for key, item in value.items()}
    return [put_together(item, array) for item in value] if isinstance(value, list) else value


def names_of_arrays(value: Any) -> list[str]:
    """Return the names of the arrays that `put_together` will ask for."""
    if isinstance(value, dict) and _ARRAY in value:
        return [] if 0 in value["shape"] else [value[_ARRAY]]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [name for item in items for name in names_of_arrays(item)]


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
