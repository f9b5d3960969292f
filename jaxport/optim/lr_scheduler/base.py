"""What the schedulers share: their state, `init` and `step`, and the order in which PyTorch updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .double import as_double, in_double

Groups = dict[str, Any]
Own = dict[str, Any]


class LRState(NamedTuple):
    """What a scheduler carries, in PyTorch's names.

    Attributes:
        groups: fields of PyTorch's param_groups that schedulers use (``lr``, ``initial_lr``, ``momentum``, …), each a
            `Double` with one number for each group.
        scheduler: the scheduler's own attributes (``last_epoch``, ``_step_count``, ``base_lrs``, …).
    """

    groups: dict[str, Any]
    scheduler: dict[str, Any]

    @property
    def lr(self) -> jax.Array:
        """The learning rates (groups,)."""
        return self.groups["lr"].value

    @property
    def momentum(self) -> jax.Array | None:
        """The momenta, or Adam's β₁ (groups,); None if the scheduler leaves them alone."""
        return self.groups["momentum"].value if "momentum" in self.groups else None

    @property
    def last_epoch(self) -> jax.Array:
        """How many steps were taken (int32); in a ChainedScheduler, by its first scheduler."""
        own = self.scheduler
        return own["last_epoch"] if "last_epoch" in own else LRState({}, own["_schedulers"][0]).last_epoch

    def replace_lr(self, lr: ArrayLike | Sequence[ArrayLike]) -> LRState:
        """Return the state with other learning rates, as writing ``param_group["lr"]`` does between two steps."""
        old = self.groups["lr"]

        def merged(value: jax.Array, exact: jax.Array) -> jax.Array:
            new = per_group("replace_lr", "lr", lr, exact.shape[0])
            # A rate that was only rounded to its dtype keeps its further digits.
            return jnp.where(new == as_double(value), exact, new)

        return self._replace(groups={**self.groups, "lr": in_double(merged, old.value, old)})


def per_group(owner: str, name: str, numbers: Any, count: int) -> jax.Array:
    """Return one float64 number for each of `count` groups, given one for all or one for each.

    Raises:
        ValueError: another number of them.
    """
    if isinstance(numbers, (list, tuple)):
        numbers = jnp.stack([as_double(number) for number in numbers]) if numbers else jnp.zeros((0,))
    numbers = as_double(numbers)
    if numbers.shape not in ((), (count,)):
        raise ValueError(
            f"{owner}: {name} must be one value, or one for each of the {count} groups, got shape {numbers.shape}"
        )
    return jnp.broadcast_to(numbers, (count,))


class Now(NamedTuple):
    """What a rule for the learning rate sees, in float64.

    Attributes:
        epoch: ``last_epoch``, already counted up.
        lr: the groups' learning rates before (G,).
        base_lrs: the rates that the schedule starts from (G,).
        initial: whether this is the first step, which PyTorch takes when a scheduler is made.
        groups: all fields of the groups.
        own: the scheduler's attributes.
    """

    epoch: jax.Array
    lr: jax.Array
    base_lrs: jax.Array
    initial: bool
    groups: Groups
    own: Own


class LRScheduler:
    """Base class: a schedule in PyTorch's names as an immutable object with pure functions.

    ``state = scheduler.init(lr)`` takes the step that PyTorch takes in the constructor, and
    ``state = scheduler.step(state)`` one more; ``state.lr`` is an array with one rate for each group. Both run
    inside ``jax.jit`` and ``lax.scan``.

    A schedule of your own defines `get_lr`, and `get_closed_form_lr` if there is one.

    Source: https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate
    """

    last_epoch: int = -1

    def get_lr(self, now: Now) -> jax.Array:
        """Return the groups' rates (G,) at ``now.epoch``."""
        raise NotImplementedError(f'{type(self).__name__} has no "get_lr": define get_lr(self, now)')

    def get_closed_form_lr(self, epoch: jax.Array, base_lrs: jax.Array) -> jax.Array | None:
        """Return the rates (G,) as a function of the epoch alone, or None where PyTorch has no such form."""
        del epoch, base_lrs
        return None

    def init(self, lr: ArrayLike | Sequence[ArrayLike], **groups: Any) -> LRState:
        """Return the state after PyTorch's constructor.

        Args:
            lr: the optimiser's learning rates: one number, or one for each group.
            groups: further fields of the groups. ``initial_lr`` is needed with a `last_epoch` other than -1, where a
                schedule goes on; OneCycleLR then also needs ``max_lr`` and ``min_lr``.

        Raises:
            KeyError: `last_epoch` is not -1 and a field is missing.
            ValueError: a sequence whose length is not the number of groups.
        """
        return in_double(self._init, lr, groups)

    def _init(self, lr: Any, fields: dict[str, Any]) -> LRState:
        count = len(lr) if isinstance(lr, (list, tuple)) else jnp.size(lr)
        groups = {key: per_group(type(self).__name__, key, value, count) for key, value in {"lr": lr, **fields}.items()}
        return LRState(*self._create(groups))

    def step(self, state: LRState, metric: ArrayLike | None = None) -> LRState:
        """Return the state one step later.

        Args:
            state: from `init` or the step before.
            metric: what ReduceLROnPlateau watches; the others do not look at it.
        """
        del metric
        state = in_double(lambda s: LRState(*self._step(s.groups, s.scheduler)), state)
        self._check(state.scheduler)
        return state

    def _check(self, own: Own) -> None:
        """Raise where PyTorch's step raises; compiled code cannot, and the rates are NaN."""

    # What follows has PyTorch's methods in PyTorch's order, on float64 arrays: a SequentialLR calls them one by one.

    def _create(self, groups: Groups) -> tuple[Groups, Own]:
        """Return groups and attributes after the constructor."""
        if self.last_epoch == -1:
            groups = {"initial_lr": groups["lr"], **groups}
        elif "initial_lr" not in groups:
            raise KeyError(
                f"{type(self).__name__}: last_epoch={self.last_epoch} goes on with a schedule and needs the rates that "
                "it started from: init(lr, initial_lr=…)"
            )
        own = {"last_epoch": jnp.asarray(self.last_epoch, jnp.int32), "base_lrs": groups["initial_lr"]}
        return self._initial_step(groups, own)

    def _initial_step(self, groups: Groups, own: Own) -> tuple[Groups, Own]:
        return self._step(groups, {**own, "_step_count": jnp.zeros((), jnp.int32)}, initial=True)

    def _step(self, groups: Groups, own: Own, initial: bool = False) -> tuple[Groups, Own]:
        own = {**own, "_step_count": own["_step_count"] + 1, "last_epoch": own["last_epoch"] + 1}
        return self._move(self._now(groups, own, initial)), own

    def _restart(self, groups: Groups, own: Own) -> tuple[Groups, Own]:
        """Begin at epoch 0, by the closed form where there is one: what SequentialLR does at a milestone."""
        own = {**own, "last_epoch": jnp.zeros((), jnp.int32)}
        now = self._now(groups, own, False)
        closed = self.get_closed_form_lr(now.epoch, now.base_lrs)
        return (self._move(now) if closed is None else {**groups, "lr": closed}), own

    def _undo(self, own: Own) -> Own:
        return {**own, "last_epoch": own["last_epoch"] - 1}

    def _at(self, groups: Groups, own: Own, epoch: jax.Array) -> jax.Array:
        """Return the rates as a function of the epoch alone."""
        closed = self.get_closed_form_lr(epoch, own["base_lrs"])
        if closed is None:
            raise TypeError(f"{type(self).__name__} is no function of the step alone; give as_schedule(…, total=steps)")
        return closed

    def _now(self, groups: Groups, own: Own, initial: bool) -> Now:
        return Now(as_double(own["last_epoch"]), groups["lr"], own["base_lrs"], initial, groups, own)

    def _move(self, now: Now) -> Groups:
        """Return the groups with new rates (and momenta, where a scheduler moves them)."""
        return {**now.groups, "lr": self.get_lr(now)}


def annealed(start: Any, end: Any, fraction: jax.Array, strategy: str) -> jax.Array:
    """Return the number between `start` (at 0) and `end` (at 1), on half a cosine or a line."""
    if strategy == "linear":
        return (end - start) * fraction + start
    return end + (start - end) / 2.0 * (jnp.cos(np.pi * fraction) + 1.0)
