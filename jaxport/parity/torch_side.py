"""The PyTorch half of a port's proof: its reference model, observed and trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import numpy as np
import torch

from jaxport import reference
from jaxport.port import Port

from . import tolerances
from .record import Arrays, Example, Observation, Snapshot, named_outputs

_DROPOUTS = (torch.nn.Dropout, torch.nn.Dropout1d, torch.nn.Dropout2d, torch.nn.Dropout3d)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute in one thread: small batches gain nothing from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a copy of a tensor's values."""
    return tensor.detach().cpu().numpy().copy()


def to_torch(array: np.ndarray) -> torch.Tensor:
    """Return a tensor of its own memory; class numbers become int64, as PyTorch wants them."""
    array = array.astype(np.int64) if array.dtype.kind in "iu" else array
    return torch.from_numpy(np.array(array))


def mask_shape(module: torch.nn.Module, input: torch.Tensor) -> tuple[int, ...]:
    """Return the shape in which a dropout layer draws: whole channels for all but Dropout."""
    if isinstance(module, torch.nn.Dropout):
        return tuple(input.shape)
    return (*input.shape[:2], *(1,) * (input.ndim - 2))


@contextmanager
def _dropout_as(module: torch.nn.Module, mask_for: Callable[[torch.nn.Module, torch.Tensor], Any]) -> Iterator[None]:
    """Replace every dropout layer's draw: its output is input · mask / (1 - p), while training."""

    def replacement(layer: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(input: torch.Tensor) -> torch.Tensor:
            if not layer.training or layer.p == 0.0:
                return input
            return input * (to_torch(mask_for(layer, input)).to(input.dtype) / (1.0 - layer.p))

        return forward

    layers = [layer for layer in module.modules() if isinstance(layer, _DROPOUTS)]
    for layer in layers:
        layer.forward = replacement(layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


class TorchSide:
    """A port's reference model with the recipe's loss and optimiser, found by the names of jaxport's own.

    Args:
        port: which port; its reference is ``jaxport.reference.<name>``.
        dtype: torch.float64 or torch.float32.
    """

    def __init__(self, port: Port, dtype: torch.dtype) -> None:
        file = reference.find(port.name)
        self.module: torch.nn.Module = reference.build(port.name).to(dtype)
        name, kind = port.loss.func.__name__, port.optimizer.func.__name__
        # A loss or an optimiser that PyTorch does not have stands beside the model.
        loss = getattr(file, name, None) or getattr(torch.nn, name)
        self.loss = loss(*port.loss.args, **port.loss.keywords)
        optimizer = getattr(file, kind, None) or getattr(torch.optim, kind)
        self.optimizer = optimizer(self.module.parameters(), *port.optimizer.args, **port.optimizer.keywords)
        self.keys = {parameter: name for name, parameter in self.module.named_parameters()}
        self.steps = 0

    def load(self, weights: Arrays) -> None:
        """Fill the model."""
        self.module.load_state_dict({key: to_torch(value) for key, value in weights.items()})

    def draw_masks(self, x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return keep masks for one training pass over `x`, in the order of the dropout calls."""
        drawn: list[np.ndarray] = []

        def draw(layer: Any, input: torch.Tensor) -> np.ndarray:
            drawn.append(rng.random(mask_shape(layer, input)) >= layer.p)
            return drawn[-1]

        self.module.train()
        with torch.no_grad(), _buffers_kept(self.module), _dropout_as(self.module, draw):
            inputs = to_torch(x)
            self.module(inputs.to(next(iter(self.keys)).dtype) if inputs.is_floating_point() else inputs)
        return tuple(drawn)

    @contextmanager
    def _replaying(self, masks: tuple[np.ndarray, ...]) -> Iterator[None]:
        rest = iter(masks)
        with _dropout_as(self.module, lambda layer, input: next(rest)):
            yield

    def observe(self, example: Example, training: bool) -> Observation:
        """Run one pass forward and two backward: from the loss, and from the random cotangent."""
        seen = Observation()
        self.module.train(training)
        x = to_torch(example.x)
        x.requires_grad_(x.is_floating_point())  # numbers of words have no gradient
        with ExitStack() as stack:
            stack.enter_context(self._replaying(example.masks if training else ()))
            for path, part in self.module.named_modules():
                hook = part.register_forward_hook(_store_output(seen.forward, path))
                stack.callback(hook.remove)
            output = self.module(x)
        loss = self.loss(output, to_torch(example.y))
        seen.loss["loss"] = to_numpy(loss)
        seen.grad = self._gradients(loss, x, torch.ones_like(loss))
        seen.cotangent = self._gradients(output, x, to_torch(example.cotangent))
        seen.buffers = {name: to_numpy(buffer) for name, buffer in self.module.named_buffers()}
        return seen

    def _gradients(self, output: torch.Tensor, x: torch.Tensor, cotangent: torch.Tensor) -> Arrays:
        leaves = {"input": x} if x.requires_grad else {}
        leaves |= {name: parameter for parameter, name in self.keys.items()}
        grads = torch.autograd.grad(output, list(leaves.values()), cotangent, retain_graph=True)
        return {name: to_numpy(grad) for name, grad in zip(leaves, grads, strict=True)}

    def step(self, example: Example) -> np.ndarray:
        """Take one optimiser step and return the loss before it."""
        self.module.train()
        self.optimizer.zero_grad()
        with self._replaying(example.masks):
            loss = self.loss(self.module(to_torch(example.x)), to_torch(example.y))
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return to_numpy(loss)

    def zero_gradients(self, loss: np.ndarray) -> frozenset[str]:
        """Return the parameters whose gradient in the last step was zero but for rounding, beside that `loss`."""
        limit = tolerances.ZERO_GRADIENT * float(np.abs(loss))
        sizes = {key: parameter.grad.abs().max() for parameter, key in self.keys.items() if parameter.grad is not None}
        return frozenset(key for key, size in sizes.items() if 0.0 < size <= limit)

    def snapshot(self) -> Snapshot:
        """Return the training state."""
        params = {key: to_numpy(value) for key, value in self.module.state_dict().items()}
        tensors: dict[str, Arrays] = {}
        for parameter, state in self.optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, torch.Tensor):
                    tensors.setdefault(name, {})[self.keys[parameter]] = to_numpy(value)
        return Snapshot(self.steps, params, tensors)

    def restore(self, state: Snapshot) -> None:
        """Go back to a training state."""
        self.load(state.params)
        self.steps = state.steps
        self.optimizer.state.clear()
        for parameter, key in self.keys.items():
            for name, arrays in state.optimizer.items():
                self.optimizer.state[parameter][name] = to_torch(arrays[key])

    def reload(self, state: Snapshot) -> Self:
        """Go to a training state and return self."""
        self.restore(state)
        return self

    def kink_margin(self, example: Example, training: bool) -> float:
        """Return how far, of scale, the nearest maximum or ReLU is from a tie; exact ties do not count.

        In an exact tie (a dropped channel, say) both frameworks take the first, whatever the rounding.
        """
        margins: list[float] = []
        self.module.train(training)
        with ExitStack() as stack:
            stack.enter_context(self._replaying(example.masks if training else ()))
            for part in self.module.modules():
                stack.callback(part.register_forward_pre_hook(lambda p, a: margins.extend(_margins(p, a[0]))).remove)
            with torch.no_grad(), _buffers_kept(self.module):
                self.module(to_torch(example.x))
        return min(margins, default=float("inf"))


@contextmanager
def _buffers_kept(module: torch.nn.Module) -> Iterator[None]:
    """Undo what a trial pass in training mode does to running statistics."""
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in module.named_buffers():
            buffer.copy_(before[name])


def _store_output(store: Arrays, path: str) -> Callable[..., None]:
    def hook(module: torch.nn.Module, args: Any, output: Any) -> None:
        store.update({name: to_numpy(part) for name, part in named_outputs(path, output).items()})

    return hook


def _margins(module: Any, input: torch.Tensor) -> list[float]:
    """Return the smallest nonzero distance to a kink in one layer's input, over the input's largest magnitude."""
    if isinstance(module, torch.nn.ReLU):
        gaps = input.abs()
    elif isinstance(module, torch.nn.MaxPool2d):
        shape = (module.kernel_size, module.dilation, module.padding, module.stride)
        columns = torch.nn.functional.unfold(input, *shape).unflatten(1, (input.shape[1], -1))
        gaps = _top_gap(columns.transpose(2, 3))
    elif isinstance(module, torch.nn.MaxPool1d):
        size, stride = (int(v[0]) if isinstance(v, tuple) else int(v) for v in (module.kernel_size, module.stride))
        gaps = _top_gap(input.unfold(2, size, stride))
    elif isinstance(module, torch.nn.AdaptiveMaxPool2d):
        gaps = _top_gap(input.flatten(2))
    else:
        return []
    # Equal windows (of padding, say) may differ in the last bit of a sum: that is no nearer to a kink than equality.
    gaps = gaps[gaps > tolerances.SAME_SUMS_RTOL * input.abs().max()]
    return [float(gaps.min() / input.abs().max())] if gaps.numel() else []


def _top_gap(values: torch.Tensor) -> torch.Tensor:
    top = values.topk(2, dim=-1).values
    return top[..., 0] - top[..., 1]
