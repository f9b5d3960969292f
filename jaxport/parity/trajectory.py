"""Trajectory: how far two trainings drift apart that start from the same weights and are never set back."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
import torch

from jaxport.interop import state_dict
from jaxport.port import Port

from . import tolerances
from .check import compare64
from .examples import BATCH, made_up
from .jax_side import JaxSide
from .record import Arrays, Example
from .torch_side import TorchSide, one_thread


@dataclass(frozen=True)
class Trajectory:
    """A free run in float64, both sides on the same batches and dropout masks.

    Attributes:
        port: its name.
        loss: step → difference of the losses, over their magnitude.
        parameters: step → largest difference in a parameter or buffer, over its largest magnitude.
        zero_gradients: parameters whose true gradient is zero, left out of `parameters`.
        apart: largest difference in one of those after the last step, in units of the learning rate.
    """

    port: str
    loss: list[float]
    parameters: list[float]
    zero_gradients: tuple[str, ...]
    apart: float

    @property
    def ok(self) -> bool:
        """Whether losses, parameters and those without a gradient keep the tolerances of free runs."""
        steps = len(self.loss)
        return (
            max(self.loss) <= tolerances.FREE_RUN_LOSS_RTOL
            and max(self.parameters) <= tolerances.FREE_RUN_PARAMETER_RTOL
            and self.apart <= steps * tolerances.ZERO_GRADIENT_STEP
        )


def run_free(port: Port, steps: int = 100, seed: int = 0) -> Trajectory:
    """Train a port on both sides for `steps` steps of made-up batches in float64, and compare after each.

    Args:
        port: which port.
        steps: how many.
        seed: of weights, batches and masks.
    """
    with one_thread(), jax.enable_x64(False):
        weights = state_dict(port.build(seed))
    wide = {key: value.astype(np.float64) if value.dtype == np.float32 else value for key, value in weights.items()}
    with one_thread():
        theirs = TorchSide(port, torch.float64)
        theirs.load(wide)
        with jax.enable_x64(True):
            ours = JaxSide(port, wide)
        return _run(port, ours, theirs, np.random.default_rng(seed), steps)


def _run(port: Port, ours: JaxSide, theirs: TorchSide, rng: np.random.Generator, steps: int) -> Trajectory:
    draw, losses, drifts = made_up(port), [], []
    zero: set[str] = set()
    for _ in range(steps):
        x, y = (a.astype(np.float64) if a.dtype.kind == "f" else a for a in draw(rng))
        example = Example(x, y, np.zeros(BATCH), theirs.draw_masks(x, rng))
        true = theirs.step(example)
        zero |= theirs.zero_gradients(true)
        with jax.enable_x64(True):
            mine = ours.step(example)
            after = ours.snapshot().params
        losses.append(compare64(port.name, "loss", mine, true).max_rel)
        drifts.append(_drift(port.name, after, theirs.snapshot().params, zero))
    rate = float(port.optimizer.keywords.get("lr", 1.0))
    last = theirs.snapshot().params
    apart = max((float(np.abs(after[key] - last[key]).max()) / rate for key in zero), default=0.0)
    return Trajectory(port.name, losses, drifts, tuple(sorted(zero)), apart)


def _drift(port: str, ours: Arrays, theirs: Arrays, zero: set[str]) -> float:
    """Return the largest relative difference of any tensor with a gradient."""
    return max(compare64(port, key, ours[key], theirs[key]).max_rel for key in theirs if key not in zero)
