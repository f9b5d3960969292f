"""Mistakes in normalisations and in what they keep."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from .patching import UNCHANGED, Mistake, Patches, with_settings


def _batch_norm(p: Patches, wrong: Any, *, pure: bool = True) -> None:
    """Replace the forward pass of BatchNorm1d, 2d and 3d; one that changes buffers counts by itself."""
    p.function(_BatchNorm, "forward", wrong, pure=pure)


def _counted_settings(p: Patches, right: Any, module: Any, x: Any, **settings: Any) -> Any:
    p.count()
    return with_settings(module, lambda: right(module, x), **settings)


def _eps(p: Patches) -> None:
    def wrong(right: Any, module: Any, x: torch.Tensor) -> Any:
        return _counted_settings(p, right, module, x, eps=1e-3 if module.eps != 1e-3 else 1e-5)

    _batch_norm(p, wrong, pure=False)


def _learns(module: Any) -> bool:
    return module.training and module.track_running_stats


def _momentum(p: Patches) -> None:
    def wrong(right: Any, module: Any, x: torch.Tensor) -> Any:
        if not _learns(module) or module.momentum in (None, 0.5):
            return UNCHANGED
        return _counted_settings(p, right, module, x, momentum=1.0 - module.momentum)

    _batch_norm(p, wrong, pure=False)


def _cumulative(p: Patches) -> None:
    def wrong(right: Any, module: Any, x: torch.Tensor) -> Any:
        if not _learns(module) or module.momentum is not None:
            return UNCHANGED
        return _counted_settings(p, right, module, x, momentum=0.1)

    _batch_norm(p, wrong, pure=False)


def _frozen(p: Patches) -> None:
    def wrong(right: Any, module: Any, x: torch.Tensor) -> Any:
        if not _learns(module):
            return UNCHANGED
        before = {name: value.clone() for name, value in module.named_buffers()}
        y = right(module, x)
        for name, value in module.named_buffers():
            value.data.copy_(before[name])  # autograd must not see it
        p.count()
        return y

    _batch_norm(p, wrong, pure=False)


def _biased_running_variance(p: Patches) -> None:
    def wrong(right: Any, module: Any, x: torch.Tensor) -> Any:
        if not _learns(module):
            return UNCHANGED
        before, n = module.running_var.clone(), x.numel() // x.shape[1]
        y = right(module, x)
        m = module.momentum if module.momentum is not None else 1.0 / float(module.num_batches_tracked)
        new = (module.running_var - (1 - m) * before) * ((n - 1) / n)
        module.running_var.data.copy_((1 - m) * before + new)
        p.count()
        return y

    _batch_norm(p, wrong, pure=False)


def _unbiased_normalising(p: Patches) -> None:
    def wrong(right: Any, module: Any, x: torch.Tensor) -> Any:
        if not (module.training or not module.track_running_stats):
            return UNCHANGED
        n = x.numel() // x.shape[1]
        shape = (1, -1, *(1,) * (x.ndim - 2))
        var = x.transpose(0, 1).flatten(1).var(1, correction=0)
        ratio = ((var + module.eps) / (var * (n / (n - 1)) + module.eps)).sqrt().reshape(shape)
        bias = 0.0 if module.bias is None else module.bias.reshape(shape)
        p.count()
        return (right(module, x) - bias) * ratio + bias

    _batch_norm(p, wrong, pure=False)


def _batch_in_eval(p: Patches) -> None:
    def wrong(right: Any, module: Any, x: torch.Tensor) -> Any:
        if module.training or not module.track_running_stats:
            return UNCHANGED
        p.count()
        return F.batch_norm(x, None, None, module.weight, module.bias, True, 0.0, module.eps)

    _batch_norm(p, wrong, pure=False)


def _running_in_training(p: Patches) -> None:
    def wrong(right: Any, module: Any, x: torch.Tensor) -> Any:
        if not _learns(module):
            return UNCHANGED
        return _counted_settings(p, right, module, x, training=False)

    _batch_norm(p, wrong, pure=False)


def _other_eps(eps: float) -> float:
    return 1e-6 if eps != 1e-6 else 1e-5


def _layer_eps(p: Patches) -> None:
    def wrong(right: Any, input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5):
        return right(input, normalized_shape, weight, bias, _other_eps(eps))

    p.function(F, "layer_norm", wrong)


def _layer_ddof(p: Patches) -> None:
    def wrong(right: Any, input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5):
        dims = tuple(range(-len(normalized_shape), 0))
        y = (input - input.mean(dims, keepdim=True)) / (input.var(dims, correction=1, keepdim=True) + eps).sqrt()
        y = y if weight is None else y * weight
        return y if bias is None else y + bias

    p.function(F, "layer_norm", wrong)


def _layer_scale(p: Patches) -> None:
    def wrong(right: Any, input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5):
        return UNCHANGED if weight is None else right(input, normalized_shape, weight + 1.0, bias, eps)

    p.function(F, "layer_norm", wrong)


def _group_eps(p: Patches) -> None:
    def wrong(right: Any, input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5):
        return right(input, num_groups, weight, bias, _other_eps(eps))

    p.function(F, "group_norm", wrong)


def _group_interleaved(p: Patches) -> None:
    def wrong(right: Any, input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5):
        n = input.shape[1]
        order = torch.arange(n).reshape(-1, num_groups).T.reshape(-1)
        back = torch.argsort(order)
        y = right(input[:, order], num_groups, None, None, eps)[:, back]
        shape = (1, n, *(1,) * (input.ndim - 2))
        y = y if weight is None else y * weight.reshape(shape)
        return y if bias is None else y + bias.reshape(shape)

    p.function(F, "group_norm", wrong)


MISTAKES = (
    Mistake("batchnorm-eps", 5, "BatchNorm with eps 1e-3", _eps),
    Mistake("batchnorm-momentum", 2, "BatchNorm's momentum is the weight of the old value", _momentum),
    Mistake("batchnorm-cumulative", 3, "BatchNorm's momentum=None is 0.1", _cumulative),
    Mistake("batchnorm-running-variance", 1, "BatchNorm keeps the biased variance", _biased_running_variance),
    Mistake("batchnorm-normalising-variance", 1, "BatchNorm divides by the unbiased variance", _unbiased_normalising),
    Mistake("batchnorm-buffers-lost", 32, "BatchNorm's running statistics are not updated", _frozen),
    Mistake("batchnorm-batch-in-eval", None, "BatchNorm takes the batch's statistics in evaluation", _batch_in_eval),
    Mistake("batchnorm-running-in-training", None, "BatchNorm takes the kept ones in training", _running_in_training),
    Mistake("layernorm-eps", 5, "LayerNorm with eps 1e-6", _layer_eps),
    Mistake("layernorm-ddof", 20, "LayerNorm divides by the unbiased variance", _layer_ddof),
    Mistake("layernorm-scale-plus-one", None, "LayerNorm's scale is 1 + weight", _layer_scale),
    Mistake("groupnorm-eps", 5, "GroupNorm with eps 1e-6", _group_eps),
    Mistake("groupnorm-interleaved", None, "GroupNorm's groups are every g-th channel", _group_interleaved),
)
