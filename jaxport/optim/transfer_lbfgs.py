"""LBFGS carried over from PyTorch and back: its state is flat vectors over all parameters, in either order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from .names import leaf_names, named_leaves

_VECTORS = ("d", "prev_flat_grad")
_NUMBERS = ("t", "H_diag", "prev_loss")


def _reorder(vector: np.ndarray, source: Sequence[str], target: Sequence[str], sizes: Mapping[str, int]) -> np.ndarray:
    """Return a flat vector over the parameters in another order of them."""
    ends = np.cumsum([sizes[name] for name in source])[:-1]
    parts = dict(zip(source, np.split(vector, ends), strict=True))
    return np.concatenate([parts[name] for name in target])


def _sizes(params: Any) -> dict[str, int]:
    return {name: leaf.size for name, leaf in named_leaves(params).items()}


def fill(
    state: Any, order: Sequence[str], entry: Mapping[str, Any], params: Any, to_array: Callable[[Any], np.ndarray]
) -> Any:
    """Return a new state with the values of PyTorch's, whose vectors are over the parameters in `order`."""
    sizes, ours, dtype = _sizes(params), leaf_names(params), state.d.dtype
    new: dict[str, Any] = {name: jnp.asarray(int(entry[name]), jnp.int32) for name in ("func_evals", "n_iter") if entry}
    if entry.get("d") is None:
        return state._replace(**new)

    def vector(value: Any) -> np.ndarray:
        return _reorder(to_array(value), order, ours, sizes)

    stored = len(entry["old_dirs"])
    new |= {name: jnp.asarray(vector(entry[name]), dtype) for name in _VECTORS}
    new |= {name: jnp.asarray(to_array(entry[name]), dtype) for name in _NUMBERS}
    for name in ("old_dirs", "old_stps"):
        if stored:
            rows = jnp.asarray(np.stack([vector(value) for value in entry[name]]), dtype)
            new[name] = getattr(state, name).at[:stored].set(rows)
    if stored:
        ro = jnp.asarray([float(to_array(value)) for value in entry["ro"]], dtype)
        new["ro"] = state.ro.at[:stored].set(ro)
    return state._replace(**new, stored=jnp.asarray(stored, jnp.int32))


def entries(state: Any, order: Sequence[str], params: Any) -> dict[str, Any]:
    """Return PyTorch's entry of the first parameter; nothing before the first evaluation."""
    if int(state.func_evals) == 0:
        return {}
    found: dict[str, Any] = {"func_evals": int(state.func_evals), "n_iter": int(state.n_iter)}
    if found["n_iter"] == 0:
        return found
    sizes, ours, size = _sizes(params), leaf_names(params), state.ro.shape[0]
    places = [(int(state.oldest) + i) % size for i in range(int(state.stored))]

    def vector(value: Any) -> np.ndarray:
        return _reorder(np.asarray(value), ours, order, sizes)

    found |= {name: vector(getattr(state, name)) for name in _VECTORS}
    found |= {name: [vector(getattr(state, name)[i]) for i in places] for name in ("old_dirs", "old_stps")}
    found |= {"ro": [np.asarray(state.ro[i]) for i in places], "al": [None] * size}
    return found | {"t": np.asarray(state.t), "H_diag": np.asarray(state.H_diag), "prev_loss": float(state.prev_loss)}
