"""Optimisers carried over from PyTorch in the middle of training, and back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import transfer_lbfgs
from .base import Optimizer
from .groups import groups
from .names import from_named, leaf_names, named_leaves

# What each state holds for the optimiser's own use, next to PyTorch's tensors.
OWN_FIELDS = ("lr", "step", "momentum")


def _functions() -> dict[str, Callable[..., Optimizer]]:
    from jaxport import optim

    return {name: value for name, value in vars(optim).items() if inspect.isfunction(value) and name[0].isupper()}


def to_array(value: Any) -> Any:
    """Return a PyTorch tensor (or anything array-like) as a NumPy array, bfloat16 too."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    value = value.detach().cpu()
    if str(value.dtype) == "torch.bfloat16":
        return value.float().numpy().astype(jnp.bfloat16)
    return value.numpy().copy()


def from_torch(
    source: Any, params: Any, names: Sequence[str] | None = None, kind: str | None = None
) -> tuple[Optimizer, Any]:
    """Return the transformation equal to one of PyTorch's optimisers, and its state: training goes on in JAX.

    Args:
        source: an optimiser of torch.optim, or its ``state_dict()`` (tensors or NumPy arrays).
        params: parameters as the transformation will see them, with PyTorch's names as keys or paths
            ("conv1.weight" or {"conv1": {"weight": ...}}).
        names: PyTorch's names of the optimiser's parameters, in its order:
            ``[name for name, _ in model.named_parameters()]``. Not needed where the optimiser was made with names.
        kind: name of the optimiser's class, where `source` is a state_dict.

    Returns:
        The optimiser and its state. Several parameter groups become `jaxport.optim.groups`; parameters that PyTorch's
        optimiser does not have become a frozen group.

    Raises:
        ValueError: an unknown class, names that do not fit, or a state that is not the same for all parameters.
    """
    if not isinstance(source, Mapping):
        kind, source = kind or type(source).__name__, source.state_dict()
    makers = _functions()
    if kind not in makers:
        raise ValueError(f"kind must be the name of one of {sorted(makers)}, got {kind!r}")
    rows = source["param_groups"]
    by_index = _names_by_index(rows, names, leaf_names(params))
    options = [_options(makers[kind], row) for row in rows]
    members = [[by_index[index] for index in row["params"]] for row in rows]
    tensors = {by_index[index]: dict(state) for index, state in source["state"].items()}
    rest = [name for name in leaf_names(params) if name not in by_index.values()]
    if len(rows) == 1 and not rest:
        optimizer = makers[kind](**options[0])
        state: Any = optimizer.init(params)
        return optimizer, _fill(kind, state, members[0], tensors, params)
    selectors = [{"params": partial(_in, tuple(own)), **option} for own, option in zip(members, options, strict=True)]
    frozen = [{"params": partial(_in, tuple(rest)), "frozen": True}] if rest else []
    optimizer = groups([*selectors, *frozen], makers[kind])
    state: Any = optimizer.init(params)
    leaves = named_leaves(params)
    filled = [
        _fill(kind, part, own, tensors, {name: leaves[name] for name in own})
        for part, own in zip(state.groups, members, strict=True)
    ]
    return optimizer, state._replace(groups=tuple(filled))


def _in(names: tuple[str, ...], name: str, leaf: Any) -> bool:
    return name in names


def _names_by_index(rows: Sequence[Any], names: Sequence[str] | None, wanted: Sequence[str]) -> dict[int, str]:
    """Return PyTorch's parameter number → name.

    Raises:
        ValueError: there are no names, or not as many, or one that `params` does not have.
    """
    indices = [index for row in rows for index in row["params"]]
    if names is None:
        if not all("param_names" in row for row in rows):
            raise ValueError(
                "names must be PyTorch's parameter names in the optimiser's order, "
                "[name for name, _ in model.named_parameters()], got None (and the optimiser was made without names)"
            )
        names = [name for row in rows for name in row["param_names"]]
    if len(names) != len(indices):
        raise ValueError(f"names must be one for each of the optimiser's {len(indices)} parameters, got {len(names)}")
    if unknown := sorted(set(names) - set(wanted)):
        raise ValueError(f"names must be names of params, got {unknown}; params has {sorted(wanted)}")
    return dict(zip(indices, names, strict=True))


def _options(make: Callable[..., Optimizer], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a group of a state_dict holds."""

    def plain(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return tuple(map(plain, value))
        return jnp.asarray(to_array(value)) if hasattr(value, "detach") else value

    return {name: plain(row[name]) for name in inspect.signature(make).parameters if name in row}


def _steps(kind: str, own: Sequence[str], tensors: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the number of steps taken, which must be the same for all parameters of a group.

    Raises:
        ValueError: it is not.
    """
    # SGD and Muon count no steps: what matters is whether there is a buffer.
    taken = {name: int(tensors[name].get("step", bool(len(tensors[name])))) if tensors.get(name) else 0 for name in own}
    if len(set(taken.values())) > 1:
        raise ValueError(
            f"{kind}: all parameters of a group must have taken the same number of steps, got {taken}; PyTorch skips a "
            "parameter without a gradient: give those a group of their own, or leave them out of the optimiser"
        )
    return next(iter(taken.values()), 0)


def _fill(kind: str, state: Any, own: Sequence[str], tensors: Mapping[str, Mapping[str, Any]], params: Any) -> Any:
    """Return a new state with the values of PyTorch's."""
    if kind == "LBFGS":
        return transfer_lbfgs.fill(state, own, tensors.get(own[0], {}), params, to_array)
    steps = _steps(kind, own, tensors)
    if not any(tensors.get(name) for name in own):
        return state
    new: dict[str, Any] = {"step": jnp.asarray(steps, state.step.dtype)}
    for field, tree in state._asdict().items():
        if field in OWN_FIELDS or tree is None:
            continue
        found = {name: to_array(tensors[name][field]) for name in own if tensors[name].get(field) is not None}
        if isinstance(tree, jax.Array):
            new[field] = jnp.asarray(_one_value(kind, field, found))
        elif found:
            new[field] = from_named(tree, {name: jnp.asarray(value) for name, value in found.items()})
    return state._replace(**new)


def _one_value(kind: str, field: str, found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the value that all parameters share.

    Raises:
        ValueError: they differ.
    """
    values = {float(value) for value in found.values()}
    if len(values) != 1:
        raise ValueError(f"{kind}: {field} must be the same for all parameters of a group, got {sorted(values)}")
    return next(iter(found.values()))
