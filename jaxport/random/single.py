"""Logarithm, sine and cosine in single precision, rounded as PyTorch's AVX2 code rounds them.

The polynomials are those of Cephes (S. Moshier, logf and sinf/cosf, https://www.netlib.org/cephes/), in the order of
the vector code that PyTorch uses for normal numbers, with a multiplication and the addition after it fused. NumPy has
no fused operation: the product of two float32 is exact in float64, so it is made there and rounded once.
"""

from __future__ import annotations

import numpy as np

_LOG = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
_SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_PI4 = (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)  # π/4 in three parts


def _single(x: np.ndarray) -> np.ndarray:
    """Round to float32, and return it as float64."""
    return x.astype(np.float32).astype(np.float64)


def _constant(x: float) -> float:
    return float(np.float32(x))


def _horner(x: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    """Evaluate the polynomial, highest coefficient first, rounding after each step y·x + c."""
    y = np.full_like(x, _constant(coefficients[0]))
    for coefficient in coefficients[1:]:
        y = _single(y * x + _constant(coefficient))
    return y


def log(x: np.ndarray) -> np.ndarray:
    """Return ln x for positive normal float32 values, given and returned as float64.

    x = m · 2ᵉ with m in [√½, √2): ln x = e ln 2 + (m - 1) - (m - 1)²/2 + (m - 1)³ P(m - 1).
    """
    mantissa, exponent = np.frexp(x)
    small = mantissa < _constant(np.sqrt(0.5))
    e = exponent - small.astype(np.float64)
    m = np.where(small, 2.0 * mantissa, mantissa) - 1.0
    z = _single(m * m)
    y = _single(_horner(m, _LOG) * m)
    y = _single(y * z + _single(e * _constant(_LN2_LOW)))
    y = _single(y - 0.5 * z)
    return _single(_single(m + y) + e * _LN2_HIGH)


def sin_cos(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (sin x, cos x) for float32 values in [0, 8192], given and returned as float64.

    j = the even number nearest 4x/π, r = x - j π/4: the polynomials of sin r and cos r, exchanged and negated by j.
    """
    octant = _single(x * _constant(4.0 / np.pi)).astype(np.int64)
    octant = (octant + 1) & ~1
    r = x
    for part in _PI4:
        r = _single(r - octant * _constant(part))
    z = _single(r * r)
    cosine = _single(_single(_horner(z, _COSINE) * z) * z - 0.5 * z)
    cosine = _single(cosine + 1.0)
    sine = _single(_single(_horner(z, _SINE) * z) * r + r)
    swap = (octant & 2) != 0
    sin, cos = np.where(swap, cosine, sine), np.where(swap, sine, cosine)
    return np.where(octant & 4, -sin, sin), np.where((octant + 2) & 4, -cos, cos)
