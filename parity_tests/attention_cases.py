"""Cases of attention layers: inputs and every parameter as arguments, masks as PyTorch draws them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest
from cases import Arrays, Case
from flax import nnx

from jaxport import nn

torch = pytest.importorskip("torch")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

# What calls the module: it gets the module and the inputs by name.
Forward = Callable[[Any, dict[str, Any]], Any]
Shapes = dict[str, tuple[int, ...]]


class DrawnMasks(TorchDispatchMode):
    """Collect the masks that PyTorch draws inside, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[np.ndarray] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.bernoulli_.float:
            self.masks.append((output != 0).numpy())
        return output


def hidden(rng: np.random.Generator, shape: tuple[int, ...], rate: float = 0.4) -> np.ndarray:
    """Draw a boolean mask, True hides, that leaves the first key of every row visible."""
    mask = rng.random(shape) < rate
    mask[..., 0] = False
    return mask


def drawn(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw an input; the names of boolean masks start with "hide"."""
    return hidden(rng, shape) if name.startswith("hide") else 0.3 + rng.standard_normal(shape)


def module_case(id: str, make: Callable[..., Any], forward: Forward, shapes: Shapes, train: bool = True) -> Case:
    """Compare ``forward(module, inputs)``: ``make(library, **rngs)`` makes the module on both sides.

    Gradients are those of every floating input and of all parameters. While training, PyTorch draws the masks of
    dropout from a seed and JAX replays them.
    """
    floats = [name for name in shapes if not name.startswith("hide")]
    masks = [name for name in shapes if name.startswith("hide")]

    @cache
    def sides() -> tuple[Any, Any, Any, dict[str, tuple[int, ...]]]:
        # Made when first needed: the tables would take long to be read otherwise.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch: no nested tensors here
            theirs = make(torch.nn).train(train)
        sizes = {name: tuple(parameter.shape) for name, parameter in theirs.named_parameters()}
        return theirs, *nnx.split(make(nn, rngs=0).train(train)), sizes

    def parts(arrays: tuple[Any, ...]) -> tuple[dict[str, Any], dict[str, Any], Any, tuple[Any, ...]]:
        """Return inputs, parameters, seed and replayed masks."""
        names = list(sides()[3])
        count = len(floats) + len(names)
        end = count + 1 + len(masks)
        inputs = dict(zip(floats, arrays, strict=False)) | dict(zip(masks, arrays[count + 1 : end], strict=True))
        return inputs, dict(zip(names, arrays[len(floats) : count], strict=True)), arrays[count], arrays[end:]

    def torch_fn(*arrays: Any) -> Any:
        inputs, parameters, seed, _ = parts(arrays)
        torch.manual_seed(int(seed))
        call = _Call(sides()[0], forward)
        parameters = {f"module.{name}": value for name, value in parameters.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch: masks of two kinds
            return _outputs(torch.func.functional_call(call, parameters, (), inputs))

    def jax_fn(*arrays: Any) -> Any:
        inputs, parameters, _, replayed = parts(arrays)
        module = nnx.merge(*sides()[1:3], copy=True)
        for name, parameter in module.named_parameters():
            parameter.set_value(parameters[name])
        with nn.replay_masks(replayed):
            return _outputs(forward(module, inputs))

    def draw(rng: np.random.Generator) -> Arrays:
        inputs = [drawn(name, shapes[name], rng) for name in floats]
        parameters = [0.1 + 0.5 * rng.standard_normal(size) for size in sides()[3].values()]
        seed = np.asarray(rng.integers(1, 1 << 30))
        arrays = (*inputs, *parameters, seed, *(drawn(name, shapes[name], rng) for name in masks))
        with DrawnMasks() as replayed:
            torch_fn(*(torch.from_numpy(array) for array in arrays))
        return (*arrays, *replayed.masks)

    return Case(id, jax_fn, torch_fn, draw)


def _outputs(outputs: Any) -> tuple[Any, ...]:
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return tuple(output for output in outputs if output is not None)


class _Call(torch.nn.Module):
    """Make a call of any kind out of a module, for functional_call."""

    def __init__(self, module: Any, call: Forward) -> None:
        super().__init__()
        self.module, self.call = module, call

    def forward(self, **arrays: Any) -> Any:
        return self.call(self.module, arrays)


def library(module: Any) -> Any:
    """Return the functions that go with a module: ``torch.nn.functional`` or ``jaxport.nn.functional``."""
    return torch.nn.functional if isinstance(module, torch.nn.Module) else nn.functional


def lift(mask: Any, like: Any) -> Any:
    """Return a boolean mask as the additive one: -inf where True."""
    if isinstance(mask, jax.Array):
        return jax.numpy.where(mask, -jax.numpy.inf, 0.0).astype(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype).masked_fill(mask, -torch.inf)
