"""An optimiser with its schedule, as one optax transformation."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike

from .hyper import Momentum, get_lr, set_lr, set_momentum
from .lr_scheduler import LRScheduler, LRState, ReduceLROnPlateau
from .lr_scheduler.double import as_double, in_double


class ScheduledState(NamedTuple):
    """State of `scheduled`.

    Attributes:
        optimizer: the optimiser's; its ``lr`` is the one in force.
        scheduler: the scheduler's.
        updates: how many there were since the scheduler's last step.
        total: sum of their metrics, for ReduceLROnPlateau.
    """

    optimizer: Any
    scheduler: LRState
    updates: jax.Array
    total: Any


def _applied(opt_state: Any, schedule: LRState) -> Any:
    """Return the optimiser's state with the schedule's rates and momenta."""
    opt_state = set_lr(opt_state, list(schedule.lr))
    if schedule.momentum is None:
        return opt_state
    beta = schedule.groups["momentum"]
    rest = in_double(lambda number: 1.0 - number, beta)  # rounded once
    pairs = zip(beta.value, rest.value, strict=True)
    return set_momentum(opt_state, [Momentum(value, complement) for value, complement in pairs])


def scheduled(
    optimizer: optax.GradientTransformation, scheduler: LRScheduler, every: int = 1
) -> optax.GradientTransformationExtraArgs:
    """Return the optimiser with its rate (and momentum) moved by a scheduler, inside the compiled step.

    ``scheduled(SGD(lr=0.1), CosineAnnealingLR(epochs), every=steps_per_epoch)`` is PyTorch's ``optimizer.step()`` for
    each batch and ``scheduler.step()`` after each epoch; ``every=1`` steps it after each batch. The rate is an array in
    the state: nothing is compiled again. One that is set in between (`set_lr`) counts, as in PyTorch.

    Args:
        optimizer: one of jaxport.optim, alone or in a chain or wrapper.
        scheduler: one of jaxport.optim.lr_scheduler.
        every: updates for one step of the scheduler.

    Returns:
        A transformation. For ReduceLROnPlateau, ``update(..., value=metric)`` takes a metric at each update, and its
        mean over the `every` updates counts.

    Raises:
        ValueError: `every` is not a positive integer; the optimiser has no momentum that the scheduler could move; an
            update without the metric that the scheduler needs.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ValueError(f"scheduled: every must be an integer >= 1, got {every!r}")
    inner, watches = optax.with_extra_args_support(optimizer), isinstance(scheduler, ReduceLROnPlateau)

    def init(params: optax.Params) -> ScheduledState:
        opt_state = inner.init(params)
        schedule = scheduler.init(get_lr(opt_state))
        zero = in_double(lambda: as_double(0.0)) if watches else None
        return ScheduledState(_applied(opt_state, schedule), schedule, jnp.zeros((), jnp.int32), zero)

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        *,
        value: ArrayLike | None = None,
        **extra: Any,
    ) -> tuple[Any, ScheduledState]:
        extra = extra if value is None else {**extra, "value": value}
        steps, opt_state = inner.update(updates, state.optimizer, params, **extra)
        count, total = state.updates + 1, state.total
        if watches:
            if value is None:
                raise ValueError("scheduled: ReduceLROnPlateau needs update(…, value=metric), got value=None")
            metric = jnp.asarray(value)
            total = in_double(lambda sum: sum + as_double(metric), total)

        def move() -> ScheduledState:
            schedule = state.scheduler.replace_lr(get_lr(opt_state))
            mean = in_double(lambda sum: sum / every, total).value if watches else None
            schedule = scheduler.step(schedule, mean)
            zero = jax.tree.map(jnp.zeros_like, total)
            return ScheduledState(_applied(opt_state, schedule), schedule, jnp.zeros_like(count), zero)

        if every == 1:
            return steps, move()
        stay = ScheduledState(opt_state, state.scheduler, count, total)
        return steps, lax.cond(count == every, move, lambda: stay)

    return optax.GradientTransformationExtraArgs(init, update)
