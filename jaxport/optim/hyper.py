"""Numbers that change while training, read and set in an optimiser's state: learning rates and momenta.

All functions are pure and work under `jax.jit`. They find the states of jaxport's optimisers wherever they stand: in
an ``optax.chain``, in a wrapper, in parameter groups (in the order of the groups).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

Number: TypeAlias = float | jax.Array


@jax.tree_util.register_static
@dataclass(frozen=True)
class Constant:
    """A momentum that does not change: part of the state's structure, not an array; computed with in double precision.

    Args:
        value: β.
    """

    value: float

    @property
    def complement(self) -> float:
        """1 - β."""
        return 1.0 - self.value


class Momentum(NamedTuple):
    """A momentum β that changes: β and 1 - β, each rounded once.

    Two arrays, because in float32 1 - β taken from a rounded β is off by 1e-6, where PyTorch, which computes it on the
    host in double precision, is exact.
    """

    value: jax.Array
    complement: jax.Array


def as_momentum(value: Number | Constant | Momentum) -> Momentum:
    """Return β as arrays.

    A Python number or a `Constant` gives 1 - β in double precision, rounded once. An array gives 1 - array: in float32
    compute 1 - β yourself where β comes from a formula, and pass ``Momentum(beta, complement)``.
    """
    dtype = jnp.result_type(float)
    if isinstance(value, Momentum):
        return Momentum(jnp.asarray(value.value, dtype), jnp.asarray(value.complement, dtype))
    if isinstance(value, jax.Array):
        return Momentum(value.astype(dtype), 1.0 - value.astype(dtype))
    number = value.value if isinstance(value, Constant) else float(value)
    return Momentum(jnp.asarray(number, dtype), jnp.asarray(1.0 - number, dtype))


def is_optimizer_state(node: Any) -> bool:
    """Return whether `node` is the state of one of jaxport's optimisers: a named tuple with a learning rate `lr`."""
    return isinstance(node, tuple) and "lr" in getattr(node, "_fields", ())


def optimizer_states(opt_state: Any) -> list[Any]:
    """Return the optimisers' states in `opt_state`, one for each parameter group.

    Raises:
        ValueError: there is none.
    """
    states = [node for node in jax.tree.leaves(opt_state, is_leaf=is_optimizer_state) if is_optimizer_state(node)]
    if not states:
        kind = type(opt_state).__name__
        raise ValueError(f"opt_state must hold the state of an optimiser of jaxport.optim, got {kind} without one")
    return states


def map_states(function: Callable[..., Any], opt_state: Any, *values: Sequence[Any]) -> Any:
    """Return `opt_state` with each optimiser's state replaced by function(state, *one of each of `values`)."""
    optimizer_states(opt_state)  # raises if there is none
    rows = zip(*values, strict=True) if values else None

    def one(node: Any) -> Any:
        if not is_optimizer_state(node):
            return node
        return function(node, *(next(rows) if rows is not None else ()))

    return jax.tree.map(one, opt_state, is_leaf=is_optimizer_state)


def _one_per_group(name: str, values: Any, count: int) -> Sequence[Any]:
    """Return `values` as one for each group.

    Raises:
        ValueError: their number is wrong.
    """
    if isinstance(values, Momentum) or not isinstance(values, (list, tuple)):
        return [values] * count
    if len(values) != count:
        raise ValueError(f"{name} must be one number or one for each of {count} parameter groups, got {len(values)}")
    return values


def get_lr(opt_state: Any) -> tuple[jax.Array, ...]:
    """Return the learning rates, one for each parameter group.

    Raises:
        ValueError: `opt_state` holds no optimiser of jaxport.optim.
    """
    return tuple(state.lr for state in optimizer_states(opt_state))


def set_lr(opt_state: Any, lrs: Number | Sequence[Number]) -> Any:
    """Return the state with other learning rates; the compiled step goes on as it is.

    Args:
        opt_state: the optimiser's state, as it is or inside a chain, a wrapper or groups.
        lrs: one number for all parameter groups, or a list or tuple with one for each.

    Raises:
        ValueError: there is no optimiser of jaxport.optim, or the number of rates is not the number of groups.
    """
    rates = _one_per_group("lrs", lrs, len(optimizer_states(opt_state)))

    def change(state: Any, rate: Number) -> Any:
        return state._replace(lr=jnp.broadcast_to(jnp.asarray(rate).astype(state.lr.dtype), state.lr.shape))

    return map_states(change, opt_state, rates)


def _momentum(state: Any) -> Constant | Momentum:
    """Return a state's momentum.

    Raises:
        ValueError: it has none.
    """
    name = type(state).__name__.removesuffix("State")
    if "momentum" not in state._fields:
        raise ValueError(f"{name} has neither momentum nor betas; use SGD, RMSprop, Muon or one of the Adam family")
    if state.momentum is None:
        raise ValueError(f"{name} was made with momentum=0 and keeps no buffer; make it with momentum > 0")
    return state.momentum


def get_momentum(opt_state: Any) -> tuple[jax.Array, ...]:
    """Return the momenta, one for each parameter group: `momentum`, or ``betas[0]`` in the Adam family.

    Raises:
        ValueError: there is no optimiser of jaxport.optim, or one without momentum.
    """
    return tuple(as_momentum(_momentum(state)).value for state in optimizer_states(opt_state))


def set_momentum(opt_state: Any, value: Number | Momentum | Sequence[Number | Momentum]) -> Any:
    """Return the state with other momenta: `momentum`, or ``betas[0]`` in the Adam family.

    The first call turns the constant into arrays, which changes the state's structure: a step compiled before is
    compiled once more, and a `lax.scan` needs the call before the loop. `track_momentum` does just that.

    Args:
        opt_state: the optimiser's state, as it is or inside a chain, a wrapper or groups.
        value: one for all parameter groups, or a list or tuple with one for each: numbers, arrays or `Momentum`
            (β and 1 - β, which float32 needs to be as exact as PyTorch).

    Raises:
        ValueError: there is no optimiser of jaxport.optim, or one without momentum, or the count is wrong.
    """
    values = _one_per_group("value", value, len(optimizer_states(opt_state)))

    def change(state: Any, beta: Number | Momentum) -> Any:
        _momentum(state)
        return state._replace(momentum=as_momentum(beta))

    return map_states(change, opt_state, values)


def track_momentum(opt_state: Any) -> Any:
    """Return the state with each momentum as arrays of the same value, so that `set_momentum` keeps its structure.

    Raises:
        ValueError: there is no optimiser of jaxport.optim, or one without momentum.
    """
    return map_states(lambda state: state._replace(momentum=as_momentum(_momentum(state))), opt_state)
