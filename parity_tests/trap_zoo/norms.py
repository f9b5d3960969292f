"""Traps of normalisation: 1 to 5."""

from __future__ import annotations

from typing import Any

from flax import linen, nnx
from torch import nn

from .entry import Compared, normal, randomised, trap

TRAIN = {"modes": ("train",), "gradients": False}


class TorchNet(nn.Module):
    """Linear, norm, linear."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.fc1, self.norm, self.fc2 = nn.Linear(5, 7), norm, nn.Linear(7, 3)

    def forward(self, x: Any) -> Any:
        return self.fc2(self.norm(self.fc1(x)))


class JaxNet(nnx.Module):
    """The same in NNX."""

    def __init__(self, norm: Any) -> None:
        rngs = nnx.Rngs(0)
        self.fc1, self.norm, self.fc2 = nnx.Linear(5, 7, rngs=rngs), norm, nnx.Linear(7, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.fc2(self.norm(self.fc1(x)))


def _batch_norm(momentum: float, theirs: nn.Module) -> Compared:
    norm = nnx.BatchNorm(7, momentum=momentum, use_fast_variance=False, rngs=nnx.Rngs(1))
    return Compared(JaxNet(norm), randomised(TorchNet(theirs)), (normal(9, 5),), options=TRAIN)


@trap(1, "buffer", "norm.running_var", "cause/unbiased-variance", "lint/running-variance")
def batch_norm_stores_the_biased_variance() -> Compared:
    return _batch_norm(0.9, nn.BatchNorm1d(7))


@trap(2, "buffer", "norm.running_mean", "cause/momentum", "lint/momentum")
def batch_norm_with_default_momentum() -> Compared:
    return _batch_norm(0.99, nn.BatchNorm1d(7))


@trap(2, "buffer", "norm.running_mean", "cause/momentum", "lint/momentum")
def batch_norm_with_copied_momentum() -> Compared:
    return _batch_norm(0.1, nn.BatchNorm1d(7))


@trap(3, "buffer", "norm.running_mean", "cause/cumulative-average", "lint/momentum-none")
def batch_norm_without_momentum() -> Compared:
    return _batch_norm(0.9, nn.BatchNorm1d(7, momentum=None))


@trap(4, "output", "norm", "cause/fast-variance", "lint/fast-variance")
def layer_norm_of_a_large_mean() -> Compared:
    import torch

    theirs = randomised(TorchNet(nn.LayerNorm(7)))
    with torch.no_grad():
        theirs.fc1.bias += 3000.0
    return Compared(JaxNet(nnx.LayerNorm(7, epsilon=1e-5, rngs=nnx.Rngs(1))), theirs, (normal(4, 5),))


class LinenNet(linen.Module):
    """Linear, norm with Flax's eps, linear."""

    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.LayerNorm(use_fast_variance=False, name="norm")(linen.Dense(7, name="fc1")(x))
        return linen.Dense(3, name="fc2")(x)


@trap(5, "output", "norm", "cause/eps", "lint/eps")
def layer_norm_with_the_default_eps() -> Compared:
    norm = nnx.LayerNorm(7, use_fast_variance=False, rngs=nnx.Rngs(1))
    return Compared(JaxNet(norm), randomised(TorchNet(nn.LayerNorm(7))), (normal(4, 5),))


@trap(5, "output", "norm", "cause/eps", "lint/eps")
def linen_layer_norm_with_the_default_eps() -> Compared:
    import jax

    from jaxport.parity.foreign import Linen

    x = normal(4, 5)
    model = Linen(LinenNet(), LinenNet().init(jax.random.key(0), x))
    return Compared(model, randomised(TorchNet(nn.LayerNorm(7))), (x,))
