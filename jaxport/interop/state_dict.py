"""state_dict and load_state_dict: a module's arrays under PyTorch's keys, in PyTorch's shapes and layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import ArrayLike

from jaxport.errors import WeightsError
from jaxport.nn import Buffer, Module


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` did not fill, and what it did not use."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def _stored(module: Module) -> Iterator[tuple[str, nnx.Variable]]:
    """Yield every parameter and buffer with its key: PyTorch's order, module by module, parameters before buffers."""
    for path, part in module.named_modules(remove_duplicate=False):
        for kind in (nnx.Param, Buffer):
            for name, member in part._members():
                if isinstance(member, kind) and getattr(member, "persistent", True):
                    yield (f"{path}.{name}" if path else name), member


def state_dict(module: Module) -> dict[str, np.ndarray]:
    """Return a copy of every parameter and buffer under its PyTorch key.

    Args:
        module: a jaxport module.

    Returns:
        Key → array in PyTorch's shape and layout, in PyTorch's order. ``torch.from_numpy`` of each, in a dictionary,
        is what the PyTorch module of the same architecture loads. Integers are int64, as PyTorch's are, also where
        JAX holds them in 32 bits.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.state_dict
    """
    return {key: as_in_torch(np.array(variable[...])) for key, variable in _stored(module)}


def as_in_torch(array: np.ndarray) -> np.ndarray:
    """Return int32 as int64, which JAX does not have without x64: PyTorch's integer (BatchNorm's count of batches)."""
    narrowed = array.dtype == np.int32 and jax.dtypes.canonicalize_dtype(np.int64) == np.int32
    return array.astype(np.int64) if narrowed else array


def _misfit(key: str, variable: nnx.Variable, value: np.ndarray) -> str | None:
    """Say why `value` cannot be stored in `variable`, or return None."""
    if value.shape != variable.shape:
        return f"{key}: shape {value.shape} in the mapping, {variable.shape} in the module"
    floating = [jnp.issubdtype(dtype, jnp.floating) for dtype in (value.dtype, variable.dtype)]
    if floating[0] != floating[1]:
        return f"{key}: dtype {value.dtype} in the mapping, {variable.dtype} in the module"
    if not floating[0] and (value.astype(variable.dtype) != value).any():
        return f"{key}: {value.dtype} values that {variable.dtype} cannot hold"
    return None


def load_state_dict(module: Module, mapping: Mapping[str, ArrayLike], strict: bool = True) -> IncompatibleKeys:
    """Fill a module's parameters and buffers from PyTorch keys, or change nothing.

    Args:
        module: filled in place. Each value is cast to the dtype of what it fills, as in PyTorch.
        mapping: key → array (NumPy, JAX, or a CPU tensor), for instance what `state_dict` or `load_file` returned.
        strict: whether missing and unexpected keys are errors. Misshapen ones always are.

    Returns:
        The missing and the unexpected keys (both empty when `strict`).

    Raises:
        WeightsError: lists *all* missing, unexpected and misshapen keys at once.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict
    """
    variables = dict(_stored(module))
    arrays = {key: np.asarray(value) for key, value in mapping.items()}
    missing = [key for key in variables if key not in arrays]
    unexpected = [key for key in arrays if key not in variables]
    fits = [(key, variable, arrays[key]) for key, variable in variables.items() if key in arrays]
    misfits = [text for fit in fits if (text := _misfit(*fit))]
    problems = [f"misshapen: {'; '.join(misfits)}"] if misfits else []
    if strict:
        problems += [f"missing: {', '.join(missing)}"] if missing else []
        problems += [f"unexpected: {', '.join(unexpected)}"] if unexpected else []
    if problems:
        raise WeightsError(f"the weights do not fit {type(module).__name__}: " + " | ".join(problems))
    for _, variable, value in fits:
        variable.set_value(jnp.asarray(value.astype(variable.dtype)))
    return IncompatibleKeys(missing, unexpected)
