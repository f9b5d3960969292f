"""A scheduler as an optax schedule: a function from the step to the rate."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .base import LRScheduler, LRState
from .double import Double, as_double, in_double
from .plateau import ReduceLROnPlateau


def as_schedule(scheduler: LRScheduler, lr: float, total: int | None = None) -> Callable[[ArrayLike], jax.Array]:
    """Return a scheduler as a function from the number of steps to the rate, which any optax optimiser takes.

    ``optax.lamb(as_schedule(CosineAnnealingLR(100), lr=0.1))``

    Args:
        scheduler: any but ReduceLROnPlateau.
        lr: rate that the optimiser would be made with.
        total: None computes PyTorch's closed form; a number takes so many steps at once and looks the rates up, which
            every scheduler can do. Later steps have the last rate.

    Returns:
        step → rate, a scalar in the precision in force.

    Raises:
        TypeError: a ReduceLROnPlateau; MultiplicativeLR and ChainedScheduler without `total`, as they have no closed
            form.

    Differs from PyTorch: where the closed form is not bit for bit the recursive one, `total` gives the latter.
    """
    if isinstance(scheduler, ReduceLROnPlateau):
        raise TypeError("as_schedule: scheduler must not be a ReduceLROnPlateau, which depends on a metric")
    state = scheduler.init(lr)
    if total is None:

        def closed(count: ArrayLike) -> jax.Array:
            epoch = jnp.asarray(count)
            return in_double(lambda s: scheduler._at(s.groups, s.scheduler, as_double(epoch))[0], state).value

        jax.eval_shape(closed, 0)  # raises here, not at the first step
        return closed

    def body(state: LRState, _: None) -> tuple[LRState, Double]:
        state = scheduler.step(state)
        return state, state.groups["lr"]

    _, later = jax.jit(lambda s: jax.lax.scan(body, s, length=total))(state)
    table = np.concatenate([np.asarray(state.lr), np.asarray(later.value)[:, 0]])
    return lambda count: jnp.asarray(table)[jnp.minimum(jnp.asarray(count), total)]
