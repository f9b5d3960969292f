"""Bilinear forms: bilinear, Bilinear."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from . import init
from .checks import same_dtype
from .module import Module, Parameter, fresh_rngs
from .precision import product_precision


def bilinear(input1: jax.Array, input2: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Apply y_k = x₁ᵀ A_k x₂ + b_k.

    Args:
        input1: x₁, (*, in1).
        input2: x₂, (*, in2), with the same leading axes.
        weight: A, (out, in1, in2).
        bias: b, (out,).

    Returns:
        y, (*, out).

    Raises:
        TypeError: the dtypes differ.
        ValueError: shapes that do not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.bilinear.html
    """
    same_dtype("bilinear", input1=input1, input2=input2, weight=weight, bias=bias)
    if input1.ndim == 0 or input1.shape[:-1] != input2.shape[:-1] or input1.ndim != input2.ndim:
        raise ValueError(f"bilinear: inputs must share all axes but the last, got {input1.shape} and {input2.shape}")
    if weight.ndim != 3 or weight.shape[1:] != (input1.shape[-1], input2.shape[-1]):
        wanted = f"(out, {input1.shape[-1]}, {input2.shape[-1]})"
        raise ValueError(f"bilinear: weight must have shape {wanted}, got {weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bilinear: bias must have shape {weight.shape[:1]}, got {bias.shape}")
    precision = product_precision()
    half = jnp.einsum("...i,kij->...kj", input1, weight, precision=precision)
    output = jnp.einsum("...kj,...j->...k", half, input2, precision=precision)
    return output if bias is None else output + jnp.broadcast_to(bias, output.shape)


class Bilinear(Module):
    """Apply y_k = x₁ᵀ A_k x₂ + b_k with trained `weight` (out, in1, in2) and `bias` (out,).

    Both start from U(±1/√in1_features), as in PyTorch.

    Args:
        in1_features: size of the first input's last axis.
        in2_features: size of the second input's last axis.
        out_features: size of the output's last axis.
        bias: whether b is added.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: `in1_features` is not positive.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Bilinear.html
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        if in1_features <= 0:
            raise ValueError(f"Bilinear: in1_features must be a positive integer, got {in1_features!r}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        dtype = jnp.float32 if dtype is None else dtype
        self.weight = Parameter(jnp.zeros((out_features, in1_features, in2_features), dtype))
        self.bias = Parameter(jnp.zeros((out_features,), dtype)) if bias else None
        self.reset_parameters(fresh_rngs(rngs, "Bilinear"))

    def reset_parameters(self, rngs: nnx.Rngs) -> None:
        """Draw new initial values."""
        bound = 1.0 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound, generator=rngs.params())
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator=rngs.params())

    def forward(self, input1: jax.Array, input2: jax.Array) -> jax.Array:
        """Map (*, in1_features) and (*, in2_features) to (*, out_features)."""
        return bilinear(input1, input2, self.weight[...], None if self.bias is None else self.bias[...])

    def extra_repr(self) -> str:
        """Return the sizes, as PyTorch prints them."""
        sizes = f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"
