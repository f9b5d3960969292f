"""The scales of initial values: gains, fans, and the numbers made of them."""

from __future__ import annotations

import math
from typing import Literal

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


def kaiming_std(shape: tuple[int, ...], a: float, mode: FanMode, nonlinearity: str) -> float:
    """Return gain / √fan: the standard deviation that keeps a signal's size (He et al. 2015).

    Raises:
        ValueError: unknown `mode` or `nonlinearity`, or fewer than two dimensions.
    """
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fan_in_and_fan_out(shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def xavier_std(shape: tuple[int, ...], gain: float) -> float:
    """Return gain · √(2 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    Raises:
        ValueError: fewer than two dimensions.
    """
    return gain * math.sqrt(2.0 / sum(fan_in_and_fan_out(shape)))
