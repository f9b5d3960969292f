"""Schedules from the user's functions of the epoch: LambdaLR and MultiplicativeLR."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .base import Groups, LRScheduler, Now, Own
from .double import as_double

Factor = Callable[[Any], ArrayLike]

_NOT_COMPILED = (
    jax.errors.TracerBoolConversionError,
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


@dataclass(frozen=True)
class _FunctionLR(LRScheduler):
    """What LambdaLR and MultiplicativeLR share."""

    lr_lambda: Factor | Sequence[Factor]
    last_epoch: int = -1
    total: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.lr_lambda, list):
            object.__setattr__(self, "lr_lambda", tuple(self.lr_lambda))
        for function in self._functions:
            if not callable(function):
                owner = type(self).__name__
                raise TypeError(
                    f"{owner}: lr_lambda must be a function of the epoch or a list of them, got {function!r}"
                )

    @property
    def _functions(self) -> tuple[Factor, ...]:
        return self.lr_lambda if isinstance(self.lr_lambda, tuple) else (self.lr_lambda,)  # type: ignore[return-value]

    @cached_property
    def _table(self) -> np.ndarray:
        """The factors of epochs 0 … total, (total + 1, functions)."""
        epochs = range((self.total or 0) + 1)
        return np.array([[float(function(epoch)) for function in self._functions] for epoch in epochs])  # type: ignore[arg-type]

    def _create(self, groups: Groups) -> tuple[Groups, Own]:
        count = groups["lr"].shape[0]
        if isinstance(self.lr_lambda, tuple) and len(self.lr_lambda) != count:
            raise ValueError(
                f"{type(self).__name__}: lr_lambda must have one function for each of the {count} groups, "
                f"got {len(self.lr_lambda)}"
            )
        return super()._create(groups)

    def _factors(self, epoch: jax.Array) -> jax.Array:
        """Return the functions' values (groups,) or (1,)."""
        if self.total is not None:
            return jnp.take(self._table, epoch.astype(jnp.int32), axis=0, mode="fill", fill_value=np.nan)
        try:
            return jnp.stack([as_double(function(epoch)) for function in self._functions])
        except _NOT_COMPILED as error:
            raise TypeError(
                f"{type(self).__name__}: lr_lambda cannot be compiled; write it with jax.numpy (jnp.where for if), or "
                "give total=number of steps, for a table of its values that is computed before"
            ) from error


@dataclass(frozen=True)
class LambdaLR(_FunctionLR):
    """The starting rate times a function of the epoch: lrₜ = base_lr · f(t).

    Args:
        lr_lambda: f, or a list with one for each group. In compiled code it is called with t as a traced float64
            number, and has to be written for it (``lambda t: 0.95**t``).
        last_epoch: where to go on; -1 begins.
        total: for any other function: its values at 0 … total are computed before, called with Python integers as
            PyTorch does. Later steps give NaN.

    Raises:
        TypeError: not a function, or one that cannot be compiled.
        ValueError: a list of another length than there are groups.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LambdaLR.html
    """

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        return now.base_lrs * self._factors(now.epoch)

    def _at(self, groups: Groups, own: Own, epoch: jax.Array) -> jax.Array:
        return self.get_lr(Now(epoch, groups["lr"], own["base_lrs"], False, groups, own))


@dataclass(frozen=True)
class MultiplicativeLR(_FunctionLR):
    """Multiply the rate by a function of the epoch: lrₜ = lrₜ₋₁ · f(t), beginning with t = 1.

    Args:
        lr_lambda: f, as in `LambdaLR`.
        last_epoch: where to go on; -1 begins.
        total: as in `LambdaLR`.

    Raises:
        TypeError: not a function, or one that cannot be compiled.
        ValueError: a list of another length than there are groups.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.MultiplicativeLR.html
    """

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        return now.lr if now.initial else now.lr * self._factors(now.epoch)
