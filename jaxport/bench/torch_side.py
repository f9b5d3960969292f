"""PyTorch's training step: a port's reference model, trained on batches that are in memory already."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from .inputs import Inputs
from .recipe import Recipe
from .torch_model import TorchModel
from .torch_model import Variant as Variant

if TYPE_CHECKING:
    from jaxport.port import Port


class _Replay(torch.nn.Module):
    """Stands where a dropout layer stood: a product with the step's mask / (1 - p)."""

    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()), persistent=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input * self.scale


class TorchSide(TorchModel):
    """A port's training in one variant; building it takes the first step.

    Args:
        port: which port, or its recipe.
        inputs: weights, batches and masks.
        variant: how to run.
        dtype: torch.float32, torch.bfloat16, or torch.float64 for the truth; None takes the inputs' own.
    """

    def __init__(self, port: Port | Recipe, inputs: Inputs, variant: Variant, dtype: torch.dtype | None = None) -> None:
        super().__init__(port, inputs, variant, dtype)
        self.steps = self.most = inputs.steps
        self.model.train()
        self.layers, self.scales = self._replace_dropout(inputs.masks)
        self.batches = [
            (self.laid_out(self.tensor(x)), self.tensor(y)) for x, y in zip(inputs.x, inputs.y, strict=True)
        ]
        criterion = self.make_criterion()
        self._forward = self.compiled(lambda x, y: criterion(self.predict(x), y))
        self.prepare_optimizer()
        self.first_step_s, self.first_steps = self.one_pass(1)[0], 1

    def one_pass(self, limit: int | None = None) -> tuple[float, list[float]]:
        """Train from the initial weights; return the seconds of the steps alone, and the losses."""
        torch.set_num_threads(self.variant.threads)
        self.reset()
        self.synchronize()
        losses, batches, scales = [], self.batches, self.scales
        forward, take_step, zero_grad = self._forward, self.take_step, self.optimizer.zero_grad
        start = time.perf_counter()
        for i in range(self.steps if limit is None else min(limit, self.steps)):
            for layer, scale in zip(self.layers, scales, strict=True):
                layer.scale = scale[i]
            x, y = batches[i % len(batches)]
            zero_grad(set_to_none=True)
            loss = forward(x, y)
            loss.backward()
            take_step()
            losses.append(self.kept(loss))
        self.synchronize()
        seconds = time.perf_counter() - start
        return seconds, torch.stack(losses).double().tolist()

    def values(self) -> list[float]:
        """Return what the gate compares: the losses."""
        return self.one_pass()[1]

    def _replace_dropout(self, masks: dict[str, np.ndarray]) -> tuple[list[_Replay], list[list[torch.Tensor]]]:
        """Put a product in every masked dropout layer's place; return these and their factors, step by step."""
        layers, scales = [], []
        for path, mask in masks.items():
            keep = 1.0 - float(self.model.get_submodule(path).p)  # type: ignore[arg-type]
            layer = _Replay().to(self.device)
            self.model.set_submodule(path, layer)
            layers.append(layer)
            scales.append(list(self.tensor(mask / keep)))
        return layers, scales
