"""PyTorch's inference: the forward pass in evaluation mode on one batch that is on the device."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from .inputs import Inputs
from .recipe import Recipe
from .torch_model import TorchModel, Variant

if TYPE_CHECKING:
    from jaxport.port import Port


class TorchInfer(TorchModel):
    """A port's prediction in one variant, under ``torch.inference_mode``; building it makes the first call.

    In bfloat16 parameters are converted once, before anything is timed, but those of layers that normalise.

    Args:
        port: which port, or its recipe.
        inputs: weights and a batch.
        variant: how to run.
        dtype: torch.float32, torch.bfloat16, or torch.float64 for the truth; None takes the inputs' own.
    """

    def __init__(self, port: Port | Recipe, inputs: Inputs, variant: Variant, dtype: torch.dtype | None = None) -> None:
        super().__init__(port, inputs, variant, dtype)
        self.steps = self.most = inputs.steps
        self.model.eval().requires_grad_(False)
        self.x = self.laid_out(self.tensor(inputs.x[0]))
        if self.half:
            _convert(self.model)
            self.x = self.x.to(torch.bfloat16) if self.x.is_floating_point() else self.x
        self._forward = self.compiled(self._apply)
        self.first_step_s, self.first_steps = self.one_pass(1)[0], 1

    def one_pass(self, limit: int | None = None) -> tuple[float, np.ndarray]:
        """Make the calls one after the other, each awaited; return their seconds and the last one's output, flat."""
        torch.set_num_threads(self.variant.threads)
        forward, x, count = self._forward, self.x, self.steps if limit is None else min(limit, self.steps)
        output, on_gpu = x, self.device.type == "cuda"
        with torch.inference_mode():
            self.synchronize()
            start = time.perf_counter()
            for _ in range(count):
                output = forward(x)
                if on_gpu:
                    torch.cuda.synchronize()
            seconds = time.perf_counter() - start
        return seconds, output.double().cpu().numpy().ravel()

    def values(self) -> np.ndarray:
        """Return what the gate compares: the output."""
        return self.one_pass(1)[1]

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        output = self.model(x)
        return output.float() if self.half else output


def _convert(model: torch.nn.Module) -> None:
    """Convert floating parameters to bfloat16, but those of layers that normalise, which compute in float32."""
    for part in model.modules():
        if not isinstance(part, (torch.nn.modules.batchnorm._NormBase, torch.nn.LayerNorm, torch.nn.GroupNorm)):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.to(torch.bfloat16)
        if isinstance(part, torch.nn.RNNBase):
            part.flatten_parameters()
