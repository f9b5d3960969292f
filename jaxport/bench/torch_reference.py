"""PyTorch's own values of a task, in float64 (the truth) and in the precision that is measured (the yardstick)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .cores import available_cores
from .epoch_torch import TorchEpoch
from .infer_torch import TorchInfer
from .inputs import Inputs
from .recipe import Recipe
from .rows import Reference
from .torch_model import DTYPES, Variant
from .torch_side import TorchSide

# One run is a single draw of the rounding errors, and of few numbers it may happen to be next to zero: where there are
# few, the yardstick is the largest error of so many further runs, each number's last bit changed at random.
DRAWS = 3
# Models of fewer weights gain nothing from more threads, which on a busy machine mostly wait for each other.
SMALL = 100_000


def reference_values(recipe: Recipe, inputs: Inputs) -> Reference:
    """Return PyTorch's values, of the run that a framework's `one_pass` returns the values of."""
    run = {"step": _step_losses, "epoch": _epoch_losses}.get(inputs.task, _outputs)
    truth = run(recipe, inputs, torch.float64, None)
    generators = [None, *map(np.random.default_rng, range(DRAWS))]
    eager = np.stack([run(recipe, inputs, DTYPES[inputs.dtype], rng) for rng in generators])
    worst = np.abs(eager - truth).argmax(0)
    return Reference(truth, np.take_along_axis(eager, worst[None], 0)[0], inputs.dtype, inputs.task)


def _step_losses(recipe: Recipe, inputs: Inputs, dtype: torch.dtype, rng: np.random.Generator | None) -> Any:
    changed = inputs if rng is None else replace(inputs, weights=_nudged(inputs.weights, rng))
    return np.asarray(TorchSide(recipe, changed, Variant(_threads(inputs, dtype, rng)), dtype).values())


def _epoch_losses(recipe: Recipe, inputs: Inputs, dtype: torch.dtype, rng: np.random.Generator | None) -> Any:
    """Return the gate's losses; with a generator of other weights and of batches in another order within."""
    assert inputs.order is not None
    changed = inputs if rng is None else replace(inputs, weights=_nudged(inputs.weights, rng))
    side = TorchEpoch(recipe, changed, Variant(_threads(inputs, dtype, rng)), dtype, warm=False)
    return np.asarray(side.gate(None if rng is None else _reordered(inputs.order, inputs.batch, rng)))


def _outputs(recipe: Recipe, inputs: Inputs, dtype: torch.dtype, rng: np.random.Generator | None) -> Any:
    if rng is not None:
        x = _nudged({"x": inputs.x}, rng)["x"]
        inputs = replace(inputs, weights=_nudged(inputs.weights, rng), x=x)
    return TorchInfer(recipe, inputs, Variant(_threads(inputs, dtype, rng), ""), dtype).values()


def _threads(inputs: Inputs, dtype: torch.dtype, rng: np.random.Generator | None) -> int:
    """Return how many threads a run has: small models one, but for the run of the given weights.

    Threads divide sums, and round by it: the losses of `mnist_convnet` are 5e-5 off on two threads and 2e-7 on one.
    """
    small = sum(weight.size for weight in inputs.weights.values()) < SMALL
    if small and (dtype == torch.float64 or rng is not None):
        return 1
    return torch.get_num_threads() if torch.cuda.is_available() else available_cores()


def _nudged(arrays: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return float32 arrays with each number's last bit up, down or as it was."""

    def nudge(array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            return array
        return np.nextafter(array, array + rng.choice([-1, 0, 1], array.shape).astype(array.dtype))

    return {name: nudge(array) for name, array in arrays.items()}


def _reordered(order: np.ndarray, batch: int, rng: np.random.Generator) -> np.ndarray:
    """Return the same batches, each in another order."""
    parts = [order[:, first : first + batch] for first in range(0, order.shape[1], batch)]
    return np.concatenate([rng.permuted(part, axis=1) for part in parts], axis=1)
