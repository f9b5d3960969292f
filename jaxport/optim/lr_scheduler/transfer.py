"""A scheduler's state to PyTorch and back, in the middle of training, through the dictionaries that PyTorch saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxport.errors import WeightsError

from .base import LRScheduler, LRState
from .composed import ChainedScheduler, SequentialLR
from .cyclic import CyclicLR
from .double import Double, in_double
from .functions import LambdaLR, MultiplicativeLR

_FIELDS = ("initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum", "swa_lr")


def _numbers(leaf: Any) -> Any:
    """Return an array or a `Double` as Python numbers, integers where they are whole counts."""
    if isinstance(leaf, Double):
        exact = np.asarray(leaf.value, np.float64) + np.asarray(leaf.rest, np.float64)
        return exact.tolist()
    return np.asarray(leaf).tolist()


def _whole(number: Any) -> Any:
    return int(number) if float(number).is_integer() else number


def param_groups(state: LRState) -> list[dict[str, float]]:
    """Return what PyTorch keeps of a schedule in the optimiser: a dictionary for each group (lr, initial_lr, …).

    ``for group, ours in zip(optimizer.param_groups, param_groups(state)): group.update(ours)``; where PyTorch's
    optimiser has ``betas``, their first is what is called ``momentum`` here.
    """
    columns = {name: _numbers(value) for name, value in state.groups.items()}
    return [{name: column[index] for name, column in columns.items()} for index in range(len(columns["lr"]))]


def state_dict(scheduler: LRScheduler, state: LRState) -> dict[str, Any]:
    """Return what PyTorch's scheduler, made with the same arguments, takes in ``load_state_dict``.

    The rates in force are the optimiser's in PyTorch: see `param_groups`.

    Source: https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate
    """
    return _own_dict(scheduler, state.scheduler, _numbers(state.groups["lr"]))


def _own_dict(scheduler: LRScheduler, own: Mapping[str, Any], lr: list[float]) -> dict[str, Any]:
    found: dict[str, Any] = {"_last_lr": lr}
    for name, leaf in own.items():
        if name != "_schedulers":
            found[name] = _whole(_numbers(leaf)) if name in ("T_cur", "T_i") else _numbers(leaf)
    if isinstance(scheduler, (ChainedScheduler, SequentialLR)):
        pairs = zip(scheduler.schedulers, own["_schedulers"], strict=True)
        found["_schedulers"] = [_own_dict(part, child, lr) for part, child in pairs]
    # Functions are not stored; PyTorch wants the entries nevertheless.
    if isinstance(scheduler, (LambdaLR, MultiplicativeLR)):
        found["lr_lambdas"] = [None] * len(lr)
    if isinstance(scheduler, CyclicLR):
        found["_scale_fn_custom"] = None
    return found


def load_state_dict(
    scheduler: LRScheduler, state_dict: Mapping[str, Any], param_groups: Sequence[Mapping[str, Any]]
) -> LRState:
    """Return the state of a scheduler that goes on where PyTorch's stands.

    Args:
        scheduler: made with the same arguments as PyTorch's.
        state_dict: its ``state_dict()``.
        param_groups: its optimiser's ``param_groups``, or ``optimizer.state_dict()["param_groups"]``: rates and
            momenta.

    Raises:
        WeightsError: lists all entries that are missing.
    """
    groups = [_with_momentum(group) for group in param_groups]
    if not groups or any("lr" not in group for group in groups):
        raise _misfit(scheduler, ["param_groups/lr"])
    rates = [float(group["lr"]) for group in groups]
    # A scheduler without a base rate of its own (ReduceLROnPlateau) leaves no initial_lr in the optimiser.
    groups = [{"initial_lr": group["lr"], **group} for group in groups]
    known = {name: [group[name] for group in groups] for name in _FIELDS if all(name in group for group in groups)}
    template = scheduler.init(rates, **known)
    missing = [f"param_groups/{name}" for name in template.groups if any(name not in group for group in groups)]
    if missing := missing + _missing(template.scheduler, state_dict, ""):
        raise _misfit(scheduler, missing)

    def fill() -> LRState:
        read = {name: [group[name] for group in groups] for name in template.groups}
        exact = {name: jnp.asarray(np.asarray(column, np.float64)) for name, column in read.items()}
        return LRState(exact, _filled(template.scheduler, state_dict))

    return in_double(fill)


def _misfit(scheduler: LRScheduler, missing: list[str]) -> WeightsError:
    return WeightsError(f"the state does not fit {type(scheduler).__name__}: missing: {', '.join(missing)}")


def _with_momentum(group: Mapping[str, Any]) -> dict[str, Any]:
    return {**group, "momentum": group["betas"][0]} if "betas" in group else dict(group)


def _missing(template: Mapping[str, Any], found: Mapping[str, Any], path: str) -> list[str]:
    names = [path + name for name in template if name not in found]
    children = zip(template.get("_schedulers", ()), found.get("_schedulers", ()), strict=False)
    for index, (child, its) in enumerate(children):
        names += _missing(child, its, f"{path}_schedulers/{index}/")
    count, wanted = len(found.get("_schedulers", ())), len(template.get("_schedulers", ()))
    return names + [f"{path}_schedulers/{index}" for index in range(count, wanted)]


def _filled(template: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    def one(name: str, leaf: Any) -> Any:
        if name == "_schedulers":
            return [_filled(child, its) for child, its in zip(leaf, found[name], strict=True)]
        if isinstance(leaf, Double):
            return jnp.asarray(np.asarray(found[name], np.float64))
        return jnp.asarray(found[name], jnp.int32)

    return {name: one(name, leaf) for name, leaf in template.items()}
