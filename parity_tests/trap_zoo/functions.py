"""Traps of functions and of the program around the model: 6, 15, 16, 20 and 28 to 31."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch import nn

from .entry import Compared, normal, randomised, trap


class TorchNet(nn.Module):
    """Linear, a function, linear."""

    def __init__(self, function: Callable[[Any], Any], features: int = 6) -> None:
        super().__init__()
        self.fc1, self.fc2, self.function = nn.Linear(4, 6), nn.Linear(features, 3), function

    def forward(self, x: Any) -> Any:
        return self.fc2(self.function(self.fc1(x)))


class JaxNet(nnx.Module):
    """The same in NNX."""

    def __init__(self, function: Callable[[Any], Any], features: int = 6, **first: Any) -> None:
        rngs = nnx.Rngs(0)
        self.fc1, self.fc2 = nnx.Linear(4, 6, **first, rngs=rngs), nnx.Linear(features, 3, rngs=rngs)
        self.function = function

    def __call__(self, x: Any) -> Any:
        return self.fc2(self.function(self.fc1(x)))


def _pair(ours: Callable[[Any], Any], theirs: Callable[[Any], Any], *shape: int, **options: Any) -> Compared:
    return Compared(JaxNet(ours), randomised(TorchNet(theirs)), (normal(*shape),), options=options)


@trap(6, "input", "fc2", "cause/gelu-tanh", "lint/gelu")
def gelu_by_tanh() -> Compared:
    return _pair(jax.nn.gelu, nn.functional.gelu, 5, 4, gradients=False)


@trap(15, "activation_gradient", "fc1", "cause/tied-maximum", "lint/tied-maximum", "two time steps are the same")
def maximum_over_equal_values() -> Compared:
    x = normal(2, 5, 4)
    x[:, 3] = x[:, 1]
    theirs = TorchNet(lambda h: h.max(1).values)
    return Compared(JaxNet(lambda h: h.max(1)), randomised(theirs), (x,))


class TorchKink(nn.Module):
    """A function of the input, and a linear layer."""

    def __init__(self, function: Callable[[Any], Any], features: int = 4) -> None:
        super().__init__()
        self.fc, self.function = nn.Linear(features, 3), function

    def forward(self, x: Any) -> Any:
        return self.fc(self.function(x))


class JaxKink(nnx.Module):
    """The same in NNX."""

    def __init__(self, function: Callable[[Any], Any], features: int = 4) -> None:
        self.fc, self.function = nnx.Linear(features, 3, rngs=nnx.Rngs(0)), function

    def __call__(self, x: Any) -> Any:
        return self.fc(self.function(x))


def _kink(x: np.ndarray, ours: Any, theirs: Any, features: int = 4) -> Compared:
    return Compared(JaxKink(ours, features), randomised(TorchKink(theirs, features)), (x,))


def _with_zeros() -> np.ndarray:
    x = normal(5, 4)
    x[1, 2] = x[3, 0] = x[4, 1] = 0.0
    return x


@trap(16, "input_gradient", "input 0", "cause/kink", "lint/kink")
def relu_as_a_maximum() -> Compared:
    return _kink(_with_zeros(), lambda x: jnp.maximum(x, 0.0), torch.relu)


@trap(16, "input_gradient", "input 0", "cause/norm-at-zero", "lint/kink")
def norm_of_a_zero_vector() -> Compared:
    x = normal(5, 2, 4)
    x[1, 1] = 0.0
    return _kink(x, lambda x: jnp.sqrt((x * x).sum(2)), lambda x: torch.linalg.vector_norm(x, dim=2), 2)


@trap(20, "input", "fc2", "cause/ddof", "lint/ddof")
def deviation_over_time() -> Compared:
    return _pair(lambda h: h.std(1), lambda h: h.std(1), 3, 5, 4, gradients=False)


@trap(20, "input", "fc2", "cause/median", "lint/median")
def median_over_time() -> Compared:
    return _pair(lambda h: jnp.median(h, 1), lambda h: h.median(1).values, 3, 8, 4, gradients=False)


@trap(28, "input", "fc2", "cause/dropout", "lint/dropout", "JAX's dropout is on in evaluation")
def dropout_is_left_on() -> Compared:
    def ours(h: Any) -> Any:
        keep = jax.random.bernoulli(jax.random.key(3), 0.7, h.shape)
        return jnp.where(keep, h / 0.7, 0.0)

    theirs = randomised(TorchNet(nn.Dropout(0.3)))
    return Compared(JaxNet(ours), theirs, (normal(9, 4),), options={"modes": ("eval",), "gradients": False})


@trap(29, "output", "fc1", "cause/initialisation", "lint/initialisation", "weights were not carried over")
def weights_as_initialised() -> Compared:
    torch.manual_seed(0)
    return Compared(JaxNet(nnx.relu), TorchNet(torch.relu), (normal(5, 4),), None, {"gradients": False})


@trap(30, "output", "fc1", "cause/low-precision", "lint/dtype", "on a CPU: dtype=bfloat16 in place of TF32 products")
def layer_in_bfloat16() -> Compared:
    ours = JaxNet(lambda h: nnx.relu(h).astype(jnp.float32), dtype=jnp.bfloat16)
    return Compared(ours, randomised(TorchNet(torch.relu)), (normal(5, 4),), options={"gradients": False})


@trap(31, "input", "fc", "cause/summation", "", "no bug: judged by float32's rounding")
def running_total_in_float32() -> Compared:
    def ours(x: Any) -> Any:
        zero = jnp.zeros(x.shape[1:], x.dtype)
        return jax.lax.scan(lambda total, row: (total + row, None), zero, x)[0]

    x = normal(8192, 2, 4, mean=1.0)
    options = {"gradients": False, "jax_inputs": [x]}
    return Compared(JaxKink(ours), randomised(TorchKink(lambda x: x.sum(0))), (x,), options=options)
