"""Parameter groups: PyTorch's list of dicts, with the parameters selected by name."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .arguments import is_array
from .base import Optimizer, optimizer
from .names import from_named, named_leaves


class GroupsState(NamedTuple):
    """State of `groups`: the groups' states in their order; their trees are dicts by parameter name."""

    groups: tuple[Any, ...]


def groups(param_groups: Sequence[Mapping[str, Any]], make: Callable[..., Optimizer]) -> Optimizer:
    """Give parameters their own options, as PyTorch's optimisers do with a list of dicts.

    ``AdamW([{"params": decay}, {"params": no_decay, "weight_decay": 0.0}], lr=1e-3)`` in PyTorch is::

        optim.groups(
            [{"params": ...}, {"params": ["*.bias", "norm*"], "weight_decay": 0.0}], partial(optim.AdamW, lr=1e-3)
        )

    Args:
        param_groups: one dict for each group: options by name, and "params", which says what belongs to it:
            a name ("conv1.weight"), a module ("conv1") or a pattern ("*.bias"); a compiled regular expression, which is
            searched in the name; a list of these; a function (name, leaf) → bool; a pytree of booleans; or ``...`` for
            every parameter that no other group takes. With "frozen": True the group's parameters stay as they are and
            have no state. "optimizer" takes the place of `make` in a group (Muon for matrices, AdamW for the rest).
        make: an optimiser with the options that all groups share; a group's own options come first.

    Returns:
        An optax transformation; its state holds one state for each group that is not frozen, in their order.

    Raises:
        TypeError: `param_groups` is not a list of dicts, or a selector is of another kind.
        ValueError: at `init`: a parameter in no group or in two, a selector that selects nothing.

    Source: https://docs.pytorch.org/docs/stable/optim.html#per-parameter-options
    """
    rows = _checked(param_groups)
    frozen = [bool(row.get("frozen", False)) for row in rows]
    makers = [row.get("optimizer", make) for row in rows]
    options = [{k: v for k, v in row.items() if k not in ("params", "frozen", "optimizer")} for row in rows]
    made = [None if ice else maker(**own) for ice, maker, own in zip(frozen, makers, options, strict=True)]
    active = [one for one in made if one is not None]
    if len(rows) > 1 and any(one.kind == "LBFGS" for one in active):
        raise ValueError(f"LBFGS has no parameter groups: give it all parameters, got {len(rows)} groups")

    def parts(tree: Any, members: list[list[str]]) -> list[dict[str, Any]]:
        leaves = named_leaves(tree)
        return [{name: leaves[name] for name in own} for own in members]

    def init(params: optax.Params) -> GroupsState:
        split = parts(params, _members(rows, params))
        return GroupsState(tuple(one.init(part) for one, part in zip(made, split, strict=True) if one is not None))

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, GroupsState]:
        members = _members(rows, updates if params is None else params)
        grads = parts(updates, members)
        values = [None] * len(rows) if params is None else parts(params, members)
        steps: dict[str, Any] = {}
        new, old = [], iter(state.groups)
        for one, grad, value in zip(made, grads, values, strict=True):
            if one is None:
                steps |= jax.tree.map(jnp.zeros_like, grad)
                continue
            step, own = one.update(grad, next(old), value, **extra_args)
            steps |= step
            new.append(own)
        return from_named(updates, steps), GroupsState(tuple(new))

    kinds = {one.kind for one in active}
    result = optimizer(kinds.pop() if len(kinds) == 1 else "groups", {"param_groups": list(rows)}, init, update)
    result.groups = tuple(active)
    result.members = lambda params: [
        own for own, one in zip(_members(rows, params), made, strict=True) if one is not None
    ]
    return result


def _checked(param_groups: Any) -> list[Mapping[str, Any]]:
    """Return the groups if they are a list of dicts with "params".

    Raises:
        TypeError: they are not.
        ValueError: there is none, or one has no "params".
    """
    if not isinstance(param_groups, (list, tuple)) or not all(isinstance(row, Mapping) for row in param_groups):
        raise TypeError(f'param_groups must be a list of dicts, [{{"params": ..., ...}}, ...], got {param_groups!r}')
    if not param_groups:
        raise ValueError("param_groups must have at least one group, got []")
    for index, row in enumerate(param_groups):
        if "params" not in row:
            raise ValueError(f'param_groups[{index}] must have "params", the selector of its parameters, got {row!r}')
        _check_selector(index, row["params"])
    return list(param_groups)


def _check_selector(index: int, selector: Any) -> None:
    """Check what can be checked without the parameters.

    Raises:
        TypeError: arrays in the place of names.
        ValueError: a list that names the same twice.
    """
    several = selector if isinstance(selector, (list, tuple)) else [selector]
    for item in several:
        if is_array(item) or (isinstance(selector, (list, tuple)) and not _selects(item)):
            raise TypeError(
                f'param_groups[{index}]["params"] must select by name, pattern, regular expression, function or mask, '
                f"got {type(item).__name__}: arrays have no names here"
            )
    twice = {item for item in several if isinstance(item, str) and several.count(item) > 1}
    if twice:
        raise ValueError(f'param_groups[{index}]["params"] names {sorted(twice)} more than once')


def _selects(item: Any) -> bool:
    return isinstance(item, (str, re.Pattern)) or callable(item)


def _matches(selector: Any, name: str, leaf: Any) -> bool:
    """Return whether a selector (any but ``...``) takes a parameter."""
    if isinstance(selector, str):
        return name == selector or name.startswith(f"{selector}.") or fnmatch.fnmatchcase(name, selector)
    if isinstance(selector, re.Pattern):
        return selector.search(name) is not None
    if isinstance(selector, (list, tuple)):
        return any(_matches(item, name, leaf) for item in selector)
    if callable(selector):
        return bool(selector(name, leaf))
    mask = named_leaves(selector)
    return any(bool(value) for key, value in mask.items() if name == key or name.startswith(f"{key}.") or key == "")


def _members(rows: Sequence[Mapping[str, Any]], params: Any) -> list[list[str]]:
    """Return the names of each group's parameters.

    Raises:
        ValueError: a parameter in no group or in two, or a group without any.
    """
    leaves = named_leaves(params)
    chosen = [
        [] if row["params"] is ... else [name for name, leaf in leaves.items() if _matches(row["params"], name, leaf)]
        for row in rows
    ]
    taken = {name for own in chosen for name in own}
    for own, row in zip(chosen, rows, strict=True):
        if row["params"] is ...:
            own.extend(name for name in leaves if name not in taken)
    holders = {name: [i for i, own in enumerate(chosen) if name in own] for name in leaves}
    none = [name for name, where in holders.items() if not where]
    several = [f"{name} (groups {where})" for name, where in holders.items() if len(where) > 1]
    empty = [f"group {i} ({rows[i]['params']!r})" for i, own in enumerate(chosen) if not own]
    problems = [("in no group", none), ("in more than one group", several), ("without a parameter", empty)]
    if any(found for _, found in problems):
        text = "; ".join(f"{what}: {', '.join(found)}" for what, found in problems if found)
        raise ValueError(f"every parameter must be in exactly one group, and every group must have one: {text}")
    return chosen
