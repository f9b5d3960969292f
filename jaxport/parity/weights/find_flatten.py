"""Where a PyTorch model flattens pictures in front of a layer, or makes pictures of a layer's output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .unit import Shape

_RESHAPES = {"view", "reshape", "flatten", "unflatten", "unsafe_view"}
_CHANNELS = ("conv", "pool", "interpolate", "upsample", "pixel_shuffle", "grid_sample")
_AXES = {
    "permute",
    "transpose",
    "movedim",
    "moveaxis",
    "swapaxes",
    "swapdims",
    "t",
    "mT",
    "T",
    "linear",
    "matmul",
    "bmm",
}


def find_flatten(model: torch.nn.Module, inputs: Sequence[Any]) -> dict[str, Shape]:
    """Return the layers that see a flattened (C, H, W): path → (C, H, W), or of another number of spatial axes.

    A channels-last JAX model that flattens at the same place has the features in another order, and `plan` must be told
    (its `flatten`). Looked for are Linear and normalisation layers whose input came, in the same order, from
    flattening a tensor that has channels (the output of a convolution, of pooling; an input of four or more axes).

    Args:
        model: any model; it is run once in evaluation mode, without gradients.
        inputs: what it is called with.
    """
    return _watch(model, inputs).flatten


def find_unflatten(model: torch.nn.Module, inputs: Sequence[Any]) -> dict[str, Shape]:
    """Return the layers whose output is made a picture (N, C, H, W): path → (C, H, W), for `plan`'s `unflatten`.

    Args:
        model: any model; it is run once in evaluation mode, without gradients.
        inputs: what it is called with.
    """
    return _watch(model, inputs).unflatten


def _watch(model: torch.nn.Module, inputs: Sequence[Any]) -> _Watch:
    watch = _Watch()
    with _evaluating(model), ExitStack() as stack, torch.no_grad():
        for path, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(_entering(watch, path)).remove)
            stack.callback(module.register_forward_hook(_leaving(watch), always_call=True).remove)
        for value in inputs:
            if isinstance(value, torch.Tensor) and value.ndim >= 4:
                watch.channels[id(value)] = value
        with watch:
            model(*inputs)
    return watch


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _entering(watch: _Watch, path: str) -> Callable[..., None]:
    return lambda *_: watch.stack.append(path)


def _leaving(watch: _Watch) -> Callable[..., None]:
    def leave(*_: Any) -> None:
        watch.stack.pop()

    return leave


class _Watch(TorchFunctionMode):
    """Follows tensors with channels, flattened ones, and outputs of Linear; it keeps them, so that ids stay theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.channels: dict[int, torch.Tensor] = {}
        self.flat: dict[int, tuple[torch.Tensor, Shape]] = {}
        self.made: dict[int, tuple[torch.Tensor, tuple[str, ...]]] = {}
        self.flatten: dict[str, Shape] = {}
        self.unflatten: dict[str, Shape] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        source = args[0] if args else None
        if isinstance(out, torch.Tensor) and isinstance(source, torch.Tensor):
            self._follow(getattr(func, "__name__", "").strip("_"), source, out)
        return out

    def _follow(self, name: str, source: torch.Tensor, out: torch.Tensor) -> None:
        path = self.stack[-1] if self.stack else ""
        if name in _RESHAPES:
            self._reshaped(source, out)
        elif name == "linear":
            self._seen(source, path)
            self.made[id(out)] = out, (path,)
        elif any(word in name for word in _CHANNELS):
            self.channels[id(out)] = out
        elif name not in _AXES and out.shape == source.shape:
            self._same_order(name, source, out, path)

    def _same_order(self, name: str, source: torch.Tensor, out: torch.Tensor, path: str) -> None:
        """Carry on what is known of a tensor to a function of its elements, or to its normalisation."""
        if id(source) in self.channels:
            self.channels[id(out)] = out
        if id(source) in self.flat:
            self._seen(source, path if "norm" in name else None)
            self.flat[id(out)] = out, self.flat[id(source)][1]
        if id(source) in self.made:
            self.made[id(out)] = out, (*self.made[id(source)][1], *((path,) if "norm" in name else ()))

    def _reshaped(self, source: torch.Tensor, out: torch.Tensor) -> None:
        if out.ndim == 2 and source.ndim >= 3 and id(source) in self.channels and out.shape[0] == source.shape[0]:
            self.flat[id(out)] = out, tuple(source.shape[1:])
        elif source.ndim == 2 and out.ndim >= 3 and out.shape[0] == source.shape[0]:
            for path in self.made[id(source)][1] if id(source) in self.made else ():
                self._note(self.unflatten, path, tuple(out.shape[1:]))
            self.channels[id(out)] = out
        elif out.shape == source.shape:
            self._same_order("", source, out, "")

    def _seen(self, source: torch.Tensor, path: str | None) -> None:
        if path is not None and id(source) in self.flat:
            self._note(self.flatten, path, self.flat[id(source)][1])

    @staticmethod
    def _note(found: dict[str, Shape], path: str, shape: Shape) -> None:
        if shape[0] > 1 and prod(shape[1:]) > 1:
            found[path] = shape
