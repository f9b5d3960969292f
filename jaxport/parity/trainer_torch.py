"""PyTorch's training step as its user wrote it, from a state that can be read and set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from jaxport.errors import UsageError

from .observe_torch import TorchModel, to_numpy
from .record import Arrays, Snapshot
from .step_masks import Masks


class TorchTrainer(TorchModel):
    """A copy of PyTorch's model with its optimiser and its step.

    Args:
        module: the model.
        dtype: its precision.
        optimizer: returns the optimiser of the parameters it is given.
        step: ``step(model, optimizer, *batch)`` takes one step and returns the loss before it.
        masks: of the dropouts.
    """

    def __init__(
        self, module: torch.nn.Module, dtype: torch.dtype, optimizer: Callable[..., Any], step: Any, masks: Masks
    ) -> None:
        super().__init__(module, dtype)
        self.optimizer = optimizer(self.module.parameters())
        self.step_function, self.masks = step, masks
        self.keys = {parameter: name for name, parameter in self.module.named_parameters()}
        self.steps = 0

    @property
    def rate(self) -> float:
        """The largest learning rate."""
        return max(float(group.get("lr", 0.0)) for group in self.optimizer.param_groups)

    def step(self, batch: Sequence[np.ndarray], first: bool = False) -> np.ndarray:
        """Take one step in training mode; the first model to do so draws the dropouts' masks."""
        self.module.train()
        with self.masks.drawing() if first else self.masks.replaying():
            loss = self.step_function(self.module, self.optimizer, *self.tensors(batch))
        self.steps += 1
        return as_loss(loss, "torch_step")

    def gradients(self) -> dict[str, np.ndarray | None]:
        """Return what the last step left as gradients."""
        return {key: None if p.grad is None else to_numpy(p.grad) for p, key in self.keys.items() if p.requires_grad}

    def snapshot(self) -> Snapshot:
        """Return the training state."""
        kept: dict[str, Arrays] = {}
        for parameter, state in self.optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, torch.Tensor):
                    kept.setdefault(name, {})[self.keys[parameter]] = to_numpy(value)
        return Snapshot(self.steps, self.state(), kept)

    def restore(self, state: Snapshot) -> None:
        """Go back to a training state."""
        self.load(state.params)
        self.steps = state.steps
        self.optimizer.state.clear()
        for parameter, key in self.keys.items():
            for name, arrays in state.optimizer.items():
                if key in arrays:
                    self.optimizer.state[parameter][name] = torch.from_numpy(np.array(arrays[key]))


def as_loss(loss: Any, name: str) -> np.ndarray:
    """Return a loss as an array of no axes; `name` is the step's, for the error."""
    value = to_numpy(loss) if isinstance(loss, torch.Tensor) else np.asarray(loss)
    if value.size != 1 or value.dtype.kind != "f":
        raise UsageError(f"{name}: it must return the loss, a number; got {value.dtype} of shape {value.shape}")
    return value.reshape(())
