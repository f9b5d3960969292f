"""Entry: one trap, committed by a plain JAX model beside a PyTorch model that is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch


@dataclass(frozen=True)
class Compared:
    """Two models for `parity.compare`.

    Attributes:
        jax: the JAX model with the mistake.
        torch: PyTorch's.
        inputs: PyTorch's arguments.
        weights: what `compare` is told: "torch", or None where they were carried over by hand.
        options: further arguments of `compare`.
    """

    jax: Any
    torch: torch.nn.Module
    inputs: tuple[np.ndarray, ...]
    weights: str | None = "torch"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """Two training steps for `parity.train`, whose arguments these are."""

    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One trap of the zoo.

    Attributes:
        trap: its number.
        name: what is done.
        make: builds the models.
        kind: of the first tensor that must differ; "" where a finding and no tensor shows it.
        path: PyTorch's path of that tensor.
        cause: the rule that must be named; "" if none can be.
        lint: the rule that the linter must give; "" where settings and calls cannot show it.
        note: what is particular.
    """

    trap: int
    name: str
    make: Callable[[], Compared | Trained]
    kind: str
    path: str
    cause: str
    lint: str = ""
    note: str = ""


ENTRIES: list[Entry] = []


def trap(
    number: int, kind: str, path: str, cause: str, lint: str = "", note: str = ""
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Register a function that makes the models of a trap."""

    def register(make: Callable[[], Any]) -> Callable[[], Any]:
        ENTRIES.append(Entry(number, make.__name__, make, kind, path, cause, lint, note))
        return make

    return register


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give every parameter and statistic a random value, none of them 0 or 1: what is equal is so by no chance."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.is_floating_point():
                low = 0.5 if name.endswith("running_var") else 0.2
                size = rng.uniform(low, 0.9, tuple(value.shape))
                sign = rng.choice([-1.0, 1.0], tuple(value.shape)) if "running_var" not in name else 1.0
                value.copy_(torch.from_numpy(size * sign))
    return module


def normal(*shape: int, seed: int = 1, mean: float = 0.2) -> np.ndarray:
    """Return float32 numbers around a mean that is not 0."""
    return np.random.default_rng(seed).normal(mean, 1.0, shape).astype(np.float32)


def fill(variable: Any, tensor: torch.Tensor | np.ndarray, axes: tuple[int, ...] | None = None) -> None:
    """Put a PyTorch tensor into an nnx variable, its axes permuted."""
    array = np.asarray(tensor.detach() if isinstance(tensor, torch.Tensor) else tensor)
    variable[...] = jnp.asarray(array if axes is None else np.transpose(array, axes), variable[...].dtype)


def linear(ours: Any, theirs: torch.nn.Linear) -> None:
    """Carry a linear layer over by hand."""
    fill(ours.kernel, theirs.weight, (1, 0))
    if theirs.bias is not None:
        fill(ours.bias, theirs.bias)


def conv(ours: Any, theirs: Any) -> None:
    """Carry a convolution over by hand."""
    n = theirs.weight.ndim
    fill(ours.kernel, theirs.weight, (*range(2, n), 1, 0))
    if theirs.bias is not None:
        fill(ours.bias, theirs.bias)
