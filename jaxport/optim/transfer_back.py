"""Optimisers carried back to PyTorch: a state_dict for `load_state_dict`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from . import transfer_lbfgs
from .base import Optimizer
from .hyper import as_momentum, optimizer_states
from .names import named_leaves
from .transfer import OWN_FIELDS


def to_torch_state_dict(optimizer: Optimizer, state: Any, params: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return what the same optimiser of PyTorch takes in `load_state_dict`: training goes on in PyTorch.

    Args:
        optimizer: the transformation, one of jaxport.optim's or `groups` of one class.
        state: its state, or that of a chain around it.
        params: the parameters.
        names: PyTorch's names in the order of its optimiser's parameters, group after group.

    Returns:
        A state_dict of tensors, with the learning rates and momenta that the state has now.

    Raises:
        ValueError: names that are not those of the parameters, or optimisers of several classes.
    """
    import torch

    kinds = sorted({one.kind for one in optimizer.groups})
    if len(kinds) != 1:
        raise ValueError(f"optimizer must be of one class, as PyTorch's is, got groups of {kinds}")
    members = optimizer.members(params)
    every = sorted(name for own in members for name in own)
    if sorted(names) != every:
        raise ValueError(f"names must be those of the optimiser's parameters, {every}, got {list(names)}")
    number = {name: index for index, name in enumerate(names)}
    result: dict[str, Any] = {"state": {}, "param_groups": []}
    for one, part, own in zip(optimizer.groups, optimizer_states(state), members, strict=True):
        order = sorted(own, key=number.__getitem__)
        result["param_groups"].append(_group(one, part) | {"params": [number[name] for name in order]})
        if one.kind == "LBFGS":
            entries = {order[0]: transfer_lbfgs.entries(part, order, params)}
        else:
            entries = {name: _entries(one.kind, part, name) for name in order}
        result["state"] |= {number[name]: _tensors(torch, entry) for name, entry in entries.items() if entry}
    return result


def _group(optimizer: Optimizer, state: Any) -> dict[str, Any]:
    """Return a group's options, with the numbers that the state has now."""
    row: dict[str, Any] = {name: _plain(value) for name, value in optimizer.options.items()} | {"lr": float(state.lr)}
    if optimizer.kind == "LBFGS" and row["max_eval"] is None:
        row["max_eval"] = row["max_iter"] * 5 // 4
    if optimizer.kind == "AdamW":
        row["decoupled_weight_decay"] = True  # PyTorch's AdamW is an Adam with this option
    if getattr(state, "momentum", None) is not None:
        # A constant as it was given; an array has float32's digits.
        value = state.momentum.value if isinstance(state.momentum.value, float) else as_momentum(state.momentum).value
        row |= {"betas": (float(value), row["betas"][1])} if "betas" in row else {"momentum": float(value)}
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    return np.asarray(value).item() if isinstance(value, (jax.Array, np.ndarray, np.generic)) else value


def _entries(kind: str, state: Any, name: str) -> dict[str, Any]:
    """Return PyTorch's entries of one parameter; none before the first step, as PyTorch has them."""
    steps = int(state.step)
    if steps == 0:
        return {}
    found: dict[str, Any] = {}
    for field, tree in state._asdict().items():
        if field in OWN_FIELDS or tree is None:
            continue
        value = tree if isinstance(tree, jax.Array) else named_leaves(tree).get(name)
        if value is not None:
            found[field] = value
    counts = {} if kind in ("SGD", "Muon") else {"step": steps if kind == "SparseAdam" else np.float32(steps)}
    return counts | found


def _tensors(torch: Any, value: Any) -> Any:
    """Return arrays as tensors, bfloat16 too."""
    if isinstance(value, dict):
        return {name: _tensors(torch, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_tensors(torch, item) for item in value]
    if not isinstance(value, (jax.Array, np.ndarray, np.generic)):
        return value
    array = np.asarray(value)
    half = array.dtype.name == "bfloat16"
    tensor = torch.from_numpy(np.array(array.astype(np.float32) if half else array))
    return tensor.bfloat16() if half else tensor
