"""Trajectory: how far two trainings drift apart that start from the same weights and are never set back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import jax
import numpy as np
import torch

from jaxport.interop import state_dict
from jaxport.port import Port

from . import tolerances
from .check import compare64
from .examples import made_up
from .jax_side import JaxSide
from .record import Arrays, Example, nudge
from .torch_side import TorchSide, one_thread


@dataclass(frozen=True)
class Trajectory:
    """A free run in float64, both sides on the same batches and dropout masks.

    Attributes:
        port: its name.
        loss: step → difference of the losses, over their magnitude.
        parameters: step → largest difference in a parameter or buffer, over its largest magnitude.
        own_loss: step → the same of PyTorch beside itself, the largest of OWN_RUNS runs from weights whose last bits
            are changed at random: how fast this training makes rounding grow.
        own_parameters: the same of `parameters`.
        zero_gradients: parameters whose true gradient is zero, left out of `parameters`.
        apart: largest difference in one of those after the last step, in units of the learning rate.
    """

    port: str
    loss: list[float]
    parameters: list[float]
    own_loss: list[float]
    own_parameters: list[float]
    zero_gradients: tuple[str, ...]
    apart: float

    @property
    def ok(self) -> bool:
        """Whether all steps keep the tolerances of free runs, or what PyTorch itself shows, by rule 2."""
        return (
            _within(self.loss, self.own_loss, tolerances.FREE_RUN_LOSS_RTOL)
            and _within(self.parameters, self.own_parameters, tolerances.FREE_RUN_PARAMETER_RTOL)
            and self.apart <= len(self.loss) * tolerances.ZERO_GRADIENT_STEP
        )


def _within(ours: list[float], own: list[float], rtol: float) -> bool:
    """Return whether no step differs by more than `rtol` and FLOAT32_FACTOR times PyTorch's own growth so far.

    NaN on either side is an infinite difference, and never within.
    """
    grown = np.maximum.accumulate(own)
    return bool(np.isfinite(ours).all() and (np.array(ours) <= rtol + tolerances.FLOAT32_FACTOR * grown).all())


def run_free(port: Port, steps: int = 100, seed: int = 0) -> Trajectory:
    """Train a port on both sides for `steps` steps of made-up batches in float64, and compare after each.

    Args:
        port: which port.
        steps: how many.
        seed: of weights, batches and masks.
    """
    with one_thread():
        with jax.enable_x64(False):
            weights = state_dict(port.build(seed))
        wide = {key: value.astype(np.float64) if value.dtype == np.float32 else value for key, value in weights.items()}
        with jax.enable_x64(True):
            ours = JaxSide(port, wide)
        theirs = [TorchSide(port, torch.float64) for _ in range(1 + tolerances.OWN_RUNS)]
        for i, side in enumerate(theirs):
            draw = np.random.default_rng(i)
            side.load({key: nudge(value, draw) for key, value in wide.items()} if i else wide)
        return _run(port, ours, theirs, np.random.default_rng(seed), steps)


def _run(port: Port, ours: JaxSide, theirs: list[TorchSide], rng: np.random.Generator, steps: int) -> Trajectory:
    draw, rows = made_up(port), []
    zero: set[str] = set()
    last, after = {}, {}
    for _ in range(steps):
        x, y = (a.astype(np.float64) if a.dtype.kind == "f" else a for a in draw(rng))
        example = Example(x, y, np.zeros(len(x)), theirs[0].draw_masks(x, rng))
        true, *others = (side.step(example) for side in theirs)
        zero |= theirs[0].zero_gradients(true)
        with jax.enable_x64(True):
            mine = ours.step(example)
            after = ours.snapshot().params
        last, *nudged = (side.snapshot().params for side in theirs)
        own = [_drift(port.name, params, last, zero) for params in nudged]
        apart = [_drift(port.name, {"": loss}, {"": true}) for loss in (mine, *others)]
        rows.append((apart[0], _drift(port.name, after, last, zero), max(apart[1:]), max(own)))
    rate = float(port.optimizer.keywords.get("lr", 1.0))
    apart = max((float(np.abs(after[key] - last[key]).max()) / rate for key in zero), default=0.0)
    losses, drifts, own_losses, own_drifts = map(list, zip(*rows, strict=True))
    return Trajectory(port.name, losses, drifts, own_losses, own_drifts, tuple(sorted(zero)), apart)


def _drift(port: str, ours: Arrays, theirs: Arrays, zero: Collection[str] = ()) -> float:
    """Return the largest relative difference of any tensor with a gradient."""
    return max(compare64(port, key, ours[key], theirs[key]).max_rel for key in theirs if key not in zero)
