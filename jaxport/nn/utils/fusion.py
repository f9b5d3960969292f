"""BatchNorm in evaluation folded into the layer before it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxport.nn.linear import Linear
from jaxport.nn.module import Module, Parameter
from jaxport.nn.norm_running import BatchNorm

M = TypeVar("M", bound=Module)
L = TypeVar("L", bound=Linear)


def fuse_conv_bn_weights(
    conv_w: jax.Array,
    conv_b: jax.Array | None,
    bn_rm: jax.Array,
    bn_rv: jax.Array,
    bn_eps: float,
    bn_w: jax.Array | None,
    bn_b: jax.Array | None,
    transpose: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Return weight W · s and bias (b - mean) · s + β, s = γ / √(var + eps), of the fused convolution.

    The channels are axis 0 of W, axis 1 if `transpose`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.fuse_conv_bn_weights.html
    """
    scale = lax.rsqrt(bn_rv + bn_eps) if bn_w is None else bn_w * lax.rsqrt(bn_rv + bn_eps)
    weight = conv_w * lax.broadcast_in_dim(scale, conv_w.shape, (int(transpose),))
    bias = ((jnp.zeros_like(bn_rm) if conv_b is None else conv_b) - bn_rm) * scale
    return weight, bias if bn_b is None else bias + bn_b


def fuse_linear_bn_weights(
    linear_w: jax.Array,
    linear_b: jax.Array | None,
    bn_rm: jax.Array,
    bn_rv: jax.Array,
    bn_eps: float,
    bn_w: jax.Array,
    bn_b: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return weight and bias of the fused linear layer; see `fuse_conv_bn_weights`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.fuse_linear_bn_weights.html
    """
    arrays = (jnp.broadcast_to(a, linear_w.shape[:1]) for a in (bn_rm, bn_rv, bn_w, bn_b))
    mean, var, weight, bias = arrays
    return fuse_conv_bn_weights(linear_w, linear_b, mean, var, bn_eps, weight, bias)


def _fused(owner: str, layer: Any, bn: BatchNorm, fuse: Callable[..., tuple[jax.Array, jax.Array]]) -> Any:
    if layer.training or bn.training:
        raise ValueError(f"{owner}: both modules must be in evaluation mode; call .eval() first")
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError(f"{owner}: bn must have running statistics, got {bn!r}")
    copy = nnx.clone(layer)
    own = (None if v is None else v[...] for v in (copy.weight, copy.bias))
    scale = (None if v is None else v[...] for v in (bn.weight, bn.bias))
    weight, bias = fuse(*own, bn.running_mean[...], bn.running_var[...], bn.eps, *scale)
    copy.weight, copy.bias = Parameter(weight), Parameter(bias)
    return copy


def fuse_conv_bn_eval(conv: M, bn: BatchNorm, transpose: bool = False) -> M:
    """Return a convolution that computes bn(conv(x)) in evaluation.

    Raises:
        ValueError: a module in training mode, or no running statistics.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.fuse_conv_bn_eval.html
    """
    return _fused("fuse_conv_bn_eval", conv, bn, partial(fuse_conv_bn_weights, transpose=transpose))


def fuse_linear_bn_eval(linear: L, bn: BatchNorm) -> L:
    """Return a linear layer that computes bn(linear(x)) in evaluation; `bn` has its features, or one.

    Raises:
        ValueError: a module in training mode, no running statistics or parameters, or features that do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.fuse_linear_bn_eval.html
    """
    if bn.num_features not in (1, linear.out_features):
        raise ValueError(
            f"fuse_linear_bn_eval: bn.num_features must be 1 or {linear.out_features}, got {bn.num_features}"
        )
    if bn.weight is None or bn.bias is None:
        raise ValueError("fuse_linear_bn_eval: bn must have weight and bias")
    return _fused("fuse_linear_bn_eval", linear, bn, fuse_linear_bn_weights)
