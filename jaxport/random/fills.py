"""Initial values in NumPy arrays: ``torch.nn.init`` with PyTorch's own numbers.

Each function fills an array in place and returns it. For variables of ``jaxport.nn`` see ``jaxport.nn.init``, whose
functions take a `Generator` too.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from jaxport.errors import UsageError

from .fans import FanMode, kaiming_std, xavier_std
from .generator import Generator


def uniform_(array: np.ndarray, a: float = 0.0, b: float = 1.0, *, generator: Generator) -> np.ndarray:
    """Fill with U[a, b)."""
    array[...] = generator.uniform(a, b, array.shape, array.dtype)
    return array


def normal_(array: np.ndarray, mean: float = 0.0, std: float = 1.0, *, generator: Generator) -> np.ndarray:
    """Fill with N(mean, std²)."""
    array[...] = generator.normal(mean, std, array.shape, array.dtype)
    return array


def bernoulli_(array: np.ndarray, p: float = 0.5, *, generator: Generator) -> np.ndarray:
    """Fill with ones with probability `p` and zeros else."""
    array[...] = generator.bernoulli(p, array.shape, array.dtype)
    return array


def xavier_uniform_(array: np.ndarray, gain: float = 1.0, *, generator: Generator) -> np.ndarray:
    """Fill with U[-a, a), a = gain · √(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    Raises:
        ValueError: fewer than two dimensions.
    """
    bound = math.sqrt(3.0) * xavier_std(array.shape, gain)
    return uniform_(array, -bound, bound, generator=generator)


def xavier_normal_(array: np.ndarray, gain: float = 1.0, *, generator: Generator) -> np.ndarray:
    """Fill with N(0, σ²), σ = gain · √(2 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    Raises:
        ValueError: fewer than two dimensions.
    """
    return normal_(array, 0.0, xavier_std(array.shape, gain), generator=generator)


def kaiming_uniform_(
    array: np.ndarray,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    generator: Generator,
) -> np.ndarray:
    """Fill with U[-b, b), b = gain · √(3 / fan) (He et al. 2015); an empty array is left as it is.

    Raises:
        ValueError: unknown `mode` or `nonlinearity`, or fewer than two dimensions.
    """
    if 0 in array.shape:
        return array
    bound = math.sqrt(3.0) * kaiming_std(array.shape, a, mode, nonlinearity)
    return uniform_(array, -bound, bound, generator=generator)


def kaiming_normal_(
    array: np.ndarray,
    a: float = 0.0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    generator: Generator,
) -> np.ndarray:
    """Fill with N(0, gain² / fan) (He et al. 2015); an empty array is left as it is.

    Raises:
        ValueError: unknown `mode` or `nonlinearity`, or fewer than two dimensions.
    """
    if 0 in array.shape:
        return array
    return normal_(array, 0.0, kaiming_std(array.shape, a, mode, nonlinearity), generator=generator)


def trunc_normal_(
    array: np.ndarray, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, *, generator: Generator
) -> np.ndarray:
    """Fill with N(mean, std²) truncated to [a, b]; the bounds are values, not numbers of standard deviations.

    Where more than 0.3 of the normal lies within, normals are drawn until all do, the whole array each time; else
    uniform proposals are accepted by their density. Warns if `mean` lies more than two `std` outside [a, b].

    Raises:
        UsageError: `std` is not positive, or `a` is not below `b`.

    Source: https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.trunc_normal_
    """
    if not std > 0.0 or not a < b:
        raise UsageError(f"std is {std}, a {a} and b {b}; std must be positive and a below b")
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            f"trunc_normal_: mean {mean} is more than 2 std from [{a}, {b}]: few draws of a normal lie there",
            stacklevel=2,
        )
    within = _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std)
    fill = _redraw_outside if within > 0.3 else _accept_by_density
    array[...] = fill(array.shape, array.dtype, mean, std, a, b, generator)
    return array


def _normal_cdf(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _redraw_outside(
    shape: tuple[int, ...], dtype: np.dtype, mean: float, std: float, a: float, b: float, generator: Generator
) -> np.ndarray:
    low, high = np.array([a, b]).astype(dtype)
    values = generator.normal(mean, std, shape, dtype)
    while (outside := (values < low) | (values > high)).any():
        values = np.where(outside, generator.normal(mean, std, shape, dtype), values)
    return values


def _accept_by_density(
    shape: tuple[int, ...], dtype: np.dtype, mean: float, std: float, a: float, b: float, generator: Generator
) -> np.ndarray:
    """Keep proposals x from U[a, b) where ln u ≤ ln p(x) - ln p(mode), u from U[0, 1)."""
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    values, pending = np.zeros(shape, dtype), np.ones(shape, bool)
    while True:
        proposal = generator.uniform(a, b, shape, dtype)
        values = np.where(pending, proposal, values)
        density = -0.5 * ((proposal - mean) / std) ** 2 - peak
        with np.errstate(divide="ignore"):  # ln 0 = -inf is accepted everywhere
            pending &= np.log(generator.uniform(0.0, 1.0, shape, dtype)) > density
        if not pending.any():
            return values
