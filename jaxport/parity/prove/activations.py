"""Mistakes in activations and dropout."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from .patching import UNCHANGED, Mistake, Patches


def _gelu(p: Patches) -> None:
    other = {"none": "tanh", "tanh": "none"}
    p.function(F, "gelu", lambda right, input, approximate="none": right(input, approximate=other[approximate]))


class _HalfAtZero(torch.autograd.Function):
    """ReLU whose gradient at 0 is one half, as that of jnp.maximum(x, 0)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grads[0] * torch.heaviside(x, torch.full((), 0.5, dtype=x.dtype))


def _relu_at_zero(p: Patches) -> None:
    def wrong(right: Any, input: Any, inplace: bool = False) -> Any:
        if not (input.requires_grad and torch.is_grad_enabled() and bool((input == 0).any())):
            return UNCHANGED
        p.count()
        return _HalfAtZero.apply(input)

    p.everywhere("relu", wrong, pure=False)


def _leaky(p: Patches) -> None:
    def wrong(right: Any, input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
        return right(input, 0.3 if negative_slope != 0.3 else 0.01)

    p.function(F, "leaky_relu", wrong)


def _softmax_axis(p: Patches) -> None:
    def wrong(right: Any, input: Any, dim: Any = None, *rest: Any, **named: Any) -> Any:
        return right(input, 0, *rest, **named) if input.ndim > 1 else UNCHANGED

    p.everywhere("softmax", wrong)
    p.everywhere("log_softmax", wrong)


def _dropouts(p: Patches, wrong: Any) -> None:
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d"):
        p.function(F, name, wrong, pure=False)
    p.function(torch, "dropout", lambda right, input, p, train: wrong(right, input, p, train), pure=False)


def _unscaled(p: Patches) -> None:
    def wrong(right: Any, input: Any, rate: float = 0.5, training: bool = True, inplace: bool = False, **named: Any):
        rate = named.get("p", rate)
        if not training or not 0.0 < rate < 1.0:
            return UNCHANGED
        p.count()
        return right(input, rate, training) * (1.0 - rate)

    _dropouts(p, wrong)


def _kept_rate(p: Patches) -> None:
    def wrong(right: Any, input: Any, rate: float = 0.5, training: bool = True, inplace: bool = False, **named: Any):
        rate = named.get("p", rate)
        if not training or rate == 0.5:
            return UNCHANGED
        p.count()
        return right(input, 1.0 - rate, training)

    _dropouts(p, wrong)


def _in_eval(p: Patches) -> None:
    def wrong(right: Any, input: Any, rate: float = 0.5, training: bool = True, inplace: bool = False, **named: Any):
        rate = named.get("p", rate)
        if training or rate == 0.0:
            return UNCHANGED
        p.count()
        return right(input, rate, True)

    _dropouts(p, wrong)


MISTAKES = (
    Mistake("gelu-other", 6, "GELU by tanh where PyTorch has erf, and the other way round", _gelu),
    Mistake("relu-gradient-at-zero", 16, "ReLU's gradient at 0 is one half", _relu_at_zero),
    Mistake("leaky-relu-slope", None, "LeakyReLU's slope is 0.3", _leaky),
    Mistake("softmax-axis", None, "softmax over the batch", _softmax_axis),
    Mistake("dropout-unscaled", 28, "dropout is not divided by 1 - p", _unscaled),
    Mistake("dropout-rate-kept", 28, "dropout's p is the share that is kept", _kept_rate),
    Mistake("dropout-in-eval", 28, "dropout drops in evaluation", _in_eval),
)
