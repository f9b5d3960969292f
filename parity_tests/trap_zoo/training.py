"""Traps of training: 32, 33, and optimisers that are not PyTorch's."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
import torch
from flax import nnx
from torch import nn

from .entry import Trained, normal, randomised, trap


class TorchNet(nn.Module):
    """Linear, BatchNorm, linear."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 3)
        self.norm = nn.BatchNorm1d(6, track_running_stats=False) if norm else nn.Tanh()

    def forward(self, x: Any) -> Any:
        return self.fc2(self.norm(self.fc1(x)))


class Norm(nnx.Module):
    """BatchNorm that keeps no running statistics."""

    def __init__(self) -> None:
        self.weight, self.bias = nnx.Param(jnp.ones(6)), nnx.Param(jnp.zeros(6))

    def __call__(self, x: Any) -> Any:
        y = (x - x.mean(0, keepdims=True)) / jnp.sqrt(x.var(0, keepdims=True) + 1e-5)
        return y * self.weight[...][None] + self.bias[...][None]


class JaxNet(nnx.Module):
    """The same in NNX."""

    def __init__(self, norm: bool = False) -> None:
        rngs = nnx.Rngs(0)
        self.fc1, self.fc2 = nnx.Linear(4, 6, rngs=rngs), nnx.Linear(6, 3, rngs=rngs)
        self.norm = Norm() if norm else nnx.tanh

    def __call__(self, x: Any) -> Any:
        return self.fc2(self.norm(self.fc1(x)))


def torch_step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def jax_step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    loss, grads = nnx.value_and_grad(lambda model: ((model(x) - y) ** 2).mean())(model)
    optimizer.update(model, grads)
    return loss


@jax.jit
def lost(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    """Update copies: the module that is passed through jax.jit stays as it is."""
    return jax_step(model, optimizer, x, y)


def _trained(step: Any, ours: Any, theirs: Any, norm: bool = False, steps: int = 2) -> Trained:
    batches = [(normal(7, 4, seed=s), normal(7, 3, seed=s + 50)) for s in range(steps)]
    models = {"jax_model": JaxNet(norm), "torch_model": randomised(TorchNet(norm))}
    optimizers = {"jax_optimizer": ours, "torch_optimizer": theirs}
    return Trained({"jax_step": step, "torch_step": torch_step, "batches": batches} | models | optimizers)


@trap(32, "parameter", "fc1.weight", "cause/no-update")
def updates_are_lost_under_jit() -> Trained:
    return _trained(lost, optax.sgd(0.1), partial(torch.optim.SGD, lr=0.1))


@trap(33, "", "fc1.bias", "cause/zero-gradient", "lint/bias-before-norm", "equal, with the gradient named")
def bias_in_front_of_batch_norm() -> Trained:
    return _trained(jax_step, optax.adam(1e-2), partial(torch.optim.Adam, lr=1e-2), norm=True)
