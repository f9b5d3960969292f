r"""Initial values: ``torch.nn.init`` for NNX variables, with the same distributions and fan rules.

Each function fills a variable in place and returns it, as PyTorch's do. Random ones take ``generator``: a JAX key, or
a ``jaxport.random.Generator``, from which they take the numbers that PyTorch's functions take from its generator.

Source: https://docs.pytorch.org/docs/stable/nn.init.html
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import nnx

from jaxport.random.fans import FanMode as FanMode
from jaxport.random.fans import calculate_gain as calculate_gain
from jaxport.random.fans import fan_in_and_fan_out as fan_in_and_fan_out
from jaxport.random.fans import kaiming_std, xavier_std

from .init_draw import RandomSource, draw_normal, draw_uniform
from .init_structured import dirac_ as dirac_
from .init_structured import eye_ as eye_
from .init_structured import orthogonal_ as orthogonal_
from .init_structured import sparse_ as sparse_
from .init_structured import trunc_normal_ as trunc_normal_


def uniform_(tensor: nnx.Variable, a: float = 0.0, b: float = 1.0, *, generator: RandomSource) -> nnx.Variable:
    """Fill with U(a, b)."""
    tensor.set_value(draw_uniform(generator, tensor.shape, tensor.dtype, a, b))
    return tensor


def normal_(tensor: nnx.Variable, mean: float = 0.0, std: float = 1.0, *, generator: RandomSource) -> nnx.Variable:
    """Fill with N(mean, std²)."""
    tensor.set_value(draw_normal(generator, tensor.shape, tensor.dtype, mean, std))
    return tensor


def constant_(tensor: nnx.Variable, val: float) -> nnx.Variable:
    """Fill with `val`."""
    tensor.set_value(jnp.full(tensor.shape, val, tensor.dtype))
    return tensor


def zeros_(tensor: nnx.Variable) -> nnx.Variable:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: nnx.Variable) -> nnx.Variable:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: nnx.Variable, gain: float = 1.0, *, generator: RandomSource) -> nnx.Variable:
    """Fill with U(-a, a), a = gain · √(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = math.sqrt(3.0) * xavier_std(tensor.shape, gain)
    return uniform_(tensor, -bound, bound, generator=generator)


def xavier_normal_(tensor: nnx.Variable, gain: float = 1.0, *, generator: RandomSource) -> nnx.Variable:
    """Fill with N(0, σ²), σ = gain · √(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, xavier_std(tensor.shape, gain), generator=generator)


def kaiming_uniform_(
    tensor: nnx.Variable,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    generator: RandomSource,
) -> nnx.Variable:
    """Fill with U(-b, b), b = gain · √(3 / fan) (He et al. 2015); an empty tensor is left as it is.

    Raises:
        ValueError: unknown `mode` or `nonlinearity`, or fewer than two dimensions.
    """
    if 0 in tensor.shape:
        return tensor
    bound = math.sqrt(3.0) * kaiming_std(tensor.shape, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator=generator)


def kaiming_normal_(
    tensor: nnx.Variable,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    generator: RandomSource,
) -> nnx.Variable:
    """Fill with N(0, gain² / fan) (He et al. 2015); an empty tensor is left as it is.

    Raises:
        ValueError: unknown `mode` or `nonlinearity`, or fewer than two dimensions.
    """
    if 0 in tensor.shape:
        return tensor
    return normal_(tensor, 0.0, kaiming_std(tensor.shape, a, mode, nonlinearity), generator=generator)


def reset_weight_and_bias(weight: nnx.Variable, bias: nnx.Variable | None, rngs: nnx.Rngs) -> None:
    """Fill a linear or convolution layer as PyTorch does: kaiming_uniform(a=√5), that is U(±1/√fan_in), for both."""
    kaiming_uniform_(weight, a=math.sqrt(5.0), generator=rngs.params())
    if bias is not None:
        fan_in, _ = fan_in_and_fan_out(weight.shape)
        bound = 1.0 / math.sqrt(fan_in) if fan_in > 0 else 0.0
        uniform_(bias, -bound, bound, generator=rngs.params())
