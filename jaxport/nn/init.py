r"""Initial values: ``torch.nn.init`` for NNX variables, with the same distributions and fan rules.

Each function fills a variable in place and returns it, as PyTorch's do. Random ones take ``generator``, a JAX key.

Source: https://docs.pytorch.org/docs/stable/nn.init.html
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from .init_structured import dirac_ as dirac_
from .init_structured import eye_ as eye_
from .init_structured import orthogonal_ as orthogonal_
from .init_structured import sparse_ as sparse_
from .init_structured import trunc_normal_ as trunc_normal_

FanMode = Literal["fan_in", "fan_out"]
_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4.0,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    r"""Return the recommended gain of a nonlinearity.

    1 for linear maps, convolutions and sigmoid, 5/3 for tanh, √2 for ReLU, 3/4 for SELU and √(2 / (1 + param²)) for
    leaky ReLU, whose `param` is its negative slope (0.01 if None).

    Raises:
        ValueError: `nonlinearity` is none of these, or `param` is not a number.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"param must be the negative slope, a number, got {param!r}")
        return math.sqrt(2.0 / (1.0 + slope**2))
    if nonlinearity not in _GAINS:
        known = ", ".join([*_GAINS, "leaky_relu"])
        raise ValueError(f"nonlinearity must be one of {known}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def fan_in_and_fan_out(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight of `shape` (out, in, *kernel): features times the kernel's size.

    Raises:
        ValueError: fewer than two dimensions.
    """
    if len(shape) < 2:
        raise ValueError(f"fan in and fan out need a tensor of at least 2 dimensions, got shape {shape}")
    receptive_field = math.prod(shape[2:])
    return shape[1] * receptive_field, shape[0] * receptive_field


def uniform_(tensor: nnx.Variable, a: float = 0.0, b: float = 1.0, *, generator: jax.Array) -> nnx.Variable:
    """Fill with U(a, b)."""
    tensor.set_value(jax.random.uniform(generator, tensor.shape, tensor.dtype, a, b))
    return tensor


def normal_(tensor: nnx.Variable, mean: float = 0.0, std: float = 1.0, *, generator: jax.Array) -> nnx.Variable:
    """Fill with N(mean, std²)."""
    tensor.set_value(mean + std * jax.random.normal(generator, tensor.shape, tensor.dtype))
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


def xavier_uniform_(tensor: nnx.Variable, gain: float = 1.0, *, generator: jax.Array) -> nnx.Variable:
    """Fill with U(-a, a), a = gain · √(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6.0 / sum(fan_in_and_fan_out(tensor.shape)))
    return uniform_(tensor, -bound, bound, generator=generator)


def xavier_normal_(tensor: nnx.Variable, gain: float = 1.0, *, generator: jax.Array) -> nnx.Variable:
    """Fill with N(0, σ²), σ = gain · √(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    std = gain * math.sqrt(2.0 / sum(fan_in_and_fan_out(tensor.shape)))
    return normal_(tensor, 0.0, std, generator=generator)


def _kaiming_std(shape: tuple[int, ...], a: float, mode: FanMode, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fan_in_and_fan_out(shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: nnx.Variable,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    generator: jax.Array,
) -> nnx.Variable:
    """Fill with U(-b, b), b = gain · √(3 / fan) (He et al. 2015); an empty tensor is left as it is.

    Raises:
        ValueError: unknown `mode` or `nonlinearity`, or fewer than two dimensions.
    """
    if 0 in tensor.shape:
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor.shape, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator=generator)


def kaiming_normal_(
    tensor: nnx.Variable,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    generator: jax.Array,
) -> nnx.Variable:
    """Fill with N(0, gain² / fan) (He et al. 2015); an empty tensor is left as it is.

    Raises:
        ValueError: unknown `mode` or `nonlinearity`, or fewer than two dimensions.
    """
    if 0 in tensor.shape:
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor.shape, a, mode, nonlinearity), generator=generator)


def reset_weight_and_bias(weight: nnx.Variable, bias: nnx.Variable | None, rngs: nnx.Rngs) -> None:
    """Fill a linear or convolution layer as PyTorch does: kaiming_uniform(a=√5), that is U(±1/√fan_in), for both."""
    kaiming_uniform_(weight, a=math.sqrt(5.0), generator=rngs.params())
    if bias is not None:
        fan_in, _ = fan_in_and_fan_out(weight.shape)
        bound = 1.0 / math.sqrt(fan_in) if fan_in > 0 else 0.0
        uniform_(bias, -bound, bound, generator=rngs.params())
