"""The PyTorch half of a benchmark: a port's reference model, trained on tensors that are in memory already."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from jaxport import reference
from jaxport.port import Port

from .inputs import Inputs

# Optimisers whose fresh state is all zeros: a compiled step keeps its tensors, which are zeroed instead of made anew.
ZERO_STATE = ("SGD", "Adam", "AdamW", "RMSprop", "Adamax")


class Variant(NamedTuple):
    """One way of running PyTorch.

    Attributes:
        threads: for torch.set_num_threads.
        optimizer: "plain", "foreach", "fused" (options of torch.optim) or "compiled" (torch.compile of its step).
        channels_last: whether model and images are in torch.channels_last.
        compiled: whether torch.compile has the forward pass with the loss, and so the backward pass.
    """

    threads: int
    optimizer: str = "plain"
    channels_last: bool = False
    compiled: bool = False

    def __str__(self) -> str:
        parts = ["torch.compile" if self.compiled else "eager", *(["channels_last"] if self.channels_last else [])]
        parts.append(f"{self.optimizer} optimiser")
        return ", ".join(parts)


class _Replay(torch.nn.Module):
    """Stands where a dropout layer stood: a product with the step's mask / (1 - p)."""

    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()), persistent=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input * self.scale


def device() -> torch.device:
    """Return where PyTorch runs: the GPU, where it can use one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def reference_model(port: Port) -> torch.nn.Module:
    """Return the port's PyTorch model with new weights."""
    return reference.build(port.name)


def is_convolutional(model: torch.nn.Module) -> bool:
    """Return whether the model has a convolution."""
    return any(isinstance(part, torch.nn.modules.conv._ConvNd) for part in model.modules())


class TorchSide:
    """A port's training in one variant; building it takes the first step.

    Loss and optimiser are the classes of the names that the port's partials have.

    Args:
        port: which port.
        inputs: weights, batches and masks.
        variant: how to run.
        dtype: torch.float32, or torch.float64 for the truth.
    """

    def __init__(self, port: Port, inputs: Inputs, variant: Variant, dtype: torch.dtype = torch.float32) -> None:
        _prefer_exact_products()
        self.variant, self.steps, self.device, self.dtype = variant, inputs.steps, device(), dtype
        torch.set_num_threads(variant.threads)
        self.weights = {key: self._tensor(value) for key, value in inputs.weights.items()}
        self.model = reference_model(port).to(self.device, dtype).train()
        self.layers, self.scales = self._replace_dropout(inputs.masks)
        if variant.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.batches = [(self._images(x), self._tensor(y)) for x, y in zip(inputs.x, inputs.y, strict=True)]
        name = port.loss.func.__name__
        file = reference.find(port.name)
        # A loss that PyTorch does not have stands beside the model.
        loss = getattr(file, name, None) or getattr(torch.nn, name)
        criterion = loss(*port.loss.args, **port.loss.keywords)
        self.make_optimizer = _optimizer_maker(port, self.model, variant.optimizer)
        self._forward = _compiled(lambda x, y: criterion(self.model(x), y), variant.compiled)
        self._renew_optimizer()
        self.first_step_s = self.one_pass(1)[0]

    def one_pass(self, limit: int | None = None) -> tuple[float, list[float]]:
        """Train from the initial weights; return the seconds of the steps alone, and the losses."""
        torch.set_num_threads(self.variant.threads)
        self._reset()
        self._synchronize()
        losses, batches, scales = [], self.batches, self.scales
        forward, take_step, zero_grad = self._forward, self._take_step, self.optimizer.zero_grad
        start = time.perf_counter()
        for i in range(self.steps if limit is None else min(limit, self.steps)):
            for layer, scale in zip(self.layers, scales, strict=True):
                layer.scale = scale[i]
            x, y = batches[i % len(batches)]
            zero_grad(set_to_none=True)
            loss = forward(x, y)
            loss.backward()
            take_step()
            losses.append(loss.detach())
        self._synchronize()
        seconds = time.perf_counter() - start
        return seconds, torch.stack(losses).double().tolist()

    def _reset(self) -> None:
        self.model.load_state_dict(self.weights)
        if self.variant.optimizer != "compiled":
            return self._renew_optimizer()
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    value.zero_()

    def _renew_optimizer(self) -> None:
        self.optimizer = self.make_optimizer()
        self._take_step = _compiled(self.optimizer.step, self.variant.optimizer == "compiled")

    def _replace_dropout(self, masks: dict[str, np.ndarray]) -> tuple[list[_Replay], list[list[torch.Tensor]]]:
        """Put a product in every masked dropout layer's place; return these and their factors, step by step."""
        layers, scales = [], []
        for path, mask in masks.items():
            keep = 1.0 - float(self.model.get_submodule(path).p)  # type: ignore[arg-type]
            layer = _Replay().to(self.device)
            self.model.set_submodule(path, layer)
            layers.append(layer)
            scales.append(list(self._tensor(mask / keep)))
        return layers, scales

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """Floating numbers in our dtype; class numbers become int64, as PyTorch wants them."""
        dtype = self.dtype if array.dtype.kind == "f" else torch.int64
        return torch.from_numpy(array).to(self.device, dtype)

    def _images(self, array: np.ndarray) -> torch.Tensor:
        tensor = self._tensor(array)
        if self.variant.channels_last and tensor.ndim == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _prefer_exact_products() -> None:
    """Ask for float32 products and convolutions without TF32, as jaxport computes them."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def _compiled(function: Callable[..., Any], wanted: bool) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False) if wanted else function


def _optimizer_maker(port: Port, model: torch.nn.Module, kind: str) -> Callable[[], torch.optim.Optimizer]:
    name, parameters = port.optimizer.func.__name__, list(model.parameters())
    if kind == "compiled" and (name not in ZERO_STATE or port.optimizer.keywords.get("dampening")):
        raise ValueError(f"the state of {name} cannot be reset in place")
    options = dict(port.optimizer.keywords) | ({kind: True} if kind in ("foreach", "fused") else {})
    file = reference.find(port.name)
    make = getattr(file, name, None) or getattr(torch.optim, name)
    return lambda: make(parameters, *port.optimizer.args, **options)
