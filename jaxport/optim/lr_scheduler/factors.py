"""Schedules that multiply the rate: StepLR, MultiStepLR, ConstantLR, LinearLR, ExponentialLR, PolynomialLR.

Each step multiplies the rate that is there, as PyTorch does, so that schedules can be chained and a rate that was
changed in between stays changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from .base import LRScheduler, Now
from .double import divide


@dataclass(frozen=True)
class StepLR(LRScheduler):
    """Multiply the rate by `gamma` every `step_size` epochs.

    lrₜ = lrₜ₋₁ · γ if t is a multiple of step_size, else lrₜ₋₁.

    Args:
        step_size: epochs between two drops.
        gamma: the factor.
        last_epoch: where to go on; -1 begins.

    Raises:
        ValueError: `step_size` is not a positive number.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.StepLR.html
    """

    step_size: int
    gamma: float = 0.1
    last_epoch: int = -1

    def __post_init__(self) -> None:
        if not self.step_size > 0:
            raise ValueError(f"StepLR: step_size must be > 0, got {self.step_size!r}")

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        drop = (now.epoch != 0) & (jnp.mod(now.epoch, self.step_size) == 0)
        return jnp.where(drop, now.lr * self.gamma, now.lr)

    def get_closed_form_lr(self, epoch: jax.Array, base_lrs: jax.Array) -> jax.Array:
        """Return base_lr · γ^⌊t / step_size⌋."""
        return base_lrs * self.gamma ** jnp.floor(divide(epoch, self.step_size))


@dataclass(frozen=True)
class MultiStepLR(LRScheduler):
    """Multiply the rate by `gamma` at each milestone.

    lrₜ = lrₜ₋₁ · γᵏ, where k is how often t stands in milestones.

    Args:
        milestones: epochs, in any order; one that stands twice counts twice.
        gamma: the factor.
        last_epoch: where to go on; -1 begins.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.MultiStepLR.html
    """

    milestones: Iterable[int]
    gamma: float = 0.1
    last_epoch: int = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(sorted(self.milestones)))

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        lr = now.lr
        for milestone, times in Counter(self.milestones).items():
            lr = jnp.where(now.epoch == milestone, lr * self.gamma**times, lr)
        return lr

    def get_closed_form_lr(self, epoch: jax.Array, base_lrs: jax.Array) -> jax.Array:
        """Return base_lr · γ^(number of milestones passed)."""
        passed = sum((epoch >= milestone).astype(epoch.dtype) for milestone in self.milestones)
        return base_lrs * self.gamma ** jnp.asarray(passed, epoch.dtype)


@dataclass(frozen=True)
class ConstantLR(LRScheduler):
    """Multiply the rate by `factor` at the start, and undo it at epoch `total_iters`.

    lrₜ = base_lr · factor for t < total_iters, then base_lr.

    Args:
        factor: between 0 and 1.
        total_iters: epochs until the full rate.
        last_epoch: where to go on; -1 begins.

    Raises:
        ValueError: `factor` outside [0, 1].

    Differs from PyTorch: with factor 0, PyTorch fails at epoch `total_iters`; here the rate is NaN from there on.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ConstantLR.html
    """

    factor: float = 1.0 / 3
    total_iters: int = 5
    last_epoch: int = -1

    def __post_init__(self) -> None:
        if not 0 <= self.factor <= 1:
            raise ValueError(f"ConstantLR: factor must lie in [0, 1], got {self.factor!r}")

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        back = now.lr * (1.0 / self.factor if self.factor else jnp.inf)
        later = jnp.where(now.epoch == self.total_iters, back, now.lr)
        return jnp.where(now.epoch == 0, now.lr * self.factor, later)

    def get_closed_form_lr(self, epoch: jax.Array, base_lrs: jax.Array) -> jax.Array:
        """Return base_lr · factor, or base_lr from `total_iters` on."""
        return base_lrs * (self.factor + (epoch >= self.total_iters).astype(epoch.dtype) * (1 - self.factor))


@dataclass(frozen=True)
class LinearLR(LRScheduler):
    """Change the rate's factor linearly from `start_factor` to `end_factor` over `total_iters` epochs.

    lrₜ = base_lr · (s + (e - s) · min(t, T) / T), computed as a factor on lrₜ₋₁.

    Args:
        start_factor: s, in (0, 1].
        end_factor: e, in [0, 1].
        total_iters: T.
        last_epoch: where to go on; -1 begins.

    Raises:
        ValueError: a factor outside its range.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LinearLR.html
    """

    start_factor: float = 1.0 / 3
    end_factor: float = 1.0
    total_iters: int = 5
    last_epoch: int = -1

    def __post_init__(self) -> None:
        if not 0 < self.start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must lie in (0, 1], got {self.start_factor!r}")
        if not 0 <= self.end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor must lie in [0, 1], got {self.end_factor!r}")

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        slope = self.end_factor - self.start_factor
        factor = 1.0 + slope / (self.total_iters * self.start_factor + (now.epoch - 1) * slope)
        moving = (now.epoch <= self.total_iters) & (not now.initial)
        later = jnp.where(moving, now.lr * factor, now.lr)
        return jnp.where(now.epoch == 0, now.lr * self.start_factor, later)

    def get_closed_form_lr(self, epoch: jax.Array, base_lrs: jax.Array) -> jax.Array:
        """Return base_lr · (s + (e - s) · min(t, T) / T)."""
        slope = self.end_factor - self.start_factor
        return base_lrs * (self.start_factor + divide(slope * jnp.minimum(self.total_iters, epoch), self.total_iters))


@dataclass(frozen=True)
class ExponentialLR(LRScheduler):
    """Multiply the rate by `gamma` every epoch: lrₜ = lrₜ₋₁ · γ.

    Args:
        gamma: the factor.
        last_epoch: where to go on; -1 begins.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ExponentialLR.html
    """

    gamma: float
    last_epoch: int = -1

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        return now.lr if now.initial else now.lr * self.gamma

    def get_closed_form_lr(self, epoch: jax.Array, base_lrs: jax.Array) -> jax.Array:
        """Return base_lr · γᵗ."""
        return base_lrs * self.gamma**epoch


@dataclass(frozen=True)
class PolynomialLR(LRScheduler):
    """Let the rate fall to 0 over `total_iters` epochs, as a power of what is left.

    lrₜ = base_lr · (1 - min(t, T) / T)^power, computed as a factor on lrₜ₋₁.

    Args:
        total_iters: T.
        power: of the polynomial.
        last_epoch: where to go on; -1 begins.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.PolynomialLR.html
    """

    total_iters: int = 5
    power: float = 1.0
    last_epoch: int = -1

    def get_lr(self, now: Now) -> jax.Array:
        """Return the rates at ``now.epoch``."""
        left, before = (1.0 - divide(epoch, self.total_iters) for epoch in (now.epoch, now.epoch - 1))
        moving = (now.epoch <= self.total_iters) & (not now.initial)
        return jnp.where(moving, now.lr * (left / before) ** self.power, now.lr)

    def get_closed_form_lr(self, epoch: jax.Array, base_lrs: jax.Array) -> jax.Array:
        """Return base_lr · (1 - min(t, T) / T)^power."""
        return base_lrs * (1.0 - divide(jnp.minimum(self.total_iters, epoch), self.total_iters)) ** self.power
