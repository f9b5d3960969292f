"""Normal numbers from uniform ones by Box and Muller, sixteen at a time or two, as PyTorch's CPU kernels make them."""

from __future__ import annotations

import math

import numpy as np

from . import single
from .engine import Engine

_CHUNK = 4096  # blocks of 16 at a time: the intermediate arrays stay in the cache


def uniform32(engine: Engine, n: int) -> np.ndarray:
    """Return float32 (n,) from U[0, 1): the low 24 bits of a word, over 2²⁴."""
    return ((engine.draw32(n) & np.uint64(2**24 - 1)).astype(np.float32)) * np.float32(2.0**-24)


def uniform64(engine: Engine, n: int) -> np.ndarray:
    """Return float64 (n,) from U[0, 1): the low 53 bits of two words, over 2⁵³."""
    return (engine.draw64(n) & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53


def fused32(a: np.ndarray, b: float, c: float) -> np.ndarray:
    """Return a·b + c of float32 values, the product exact and the sum rounded to float32."""
    return (a.astype(np.float64) * float(np.float32(b)) + float(np.float32(c))).astype(np.float32)


def fused(a: np.ndarray, b: float, c: float) -> np.ndarray:
    """Return a·b + c in float64, nearly always rounded once: the product's and the sum's errors are added."""
    if b == 1.0 or c == 0.0:
        return a * b + c
    product, split = a * b, 134217729.0
    a_high = a * split - (a * split - a)
    b_high = b * split - (b * split - b)
    a_low, b_low = a - a_high, b - b_high
    product_error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    total = product + c
    virtual = total - product
    sum_error = (product - (total - virtual)) + (c - virtual)
    return total + (sum_error + product_error)


def _blocks32(uniforms: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Map float32 uniforms (B, 16) to normals (B, 16): columns 0 to 7 are u₁, 8 to 15 are u₂.

    √(-2 ln(1 - u₁)) · (cos 2π u₂, sin 2π u₂) · std + mean.
    """
    out = np.empty_like(uniforms)
    for start in range(0, len(uniforms), _CHUNK):
        u = uniforms[start : start + _CHUNK].astype(np.float64)
        log = single.log(1.0 - u[:, :8]).astype(np.float32)
        radius = np.sqrt(np.float32(-2.0) * log).astype(np.float64)
        theta = (u[:, 8:] * float(np.float32(2.0 * np.pi))).astype(np.float32).astype(np.float64)
        sin, cos = single.sin_cos(theta)
        for half, wave in ((slice(0, 8), cos), (slice(8, 16), sin)):
            out[start : start + _CHUNK, half] = fused32((radius * wave).astype(np.float32), std, mean)
    return out


def _blocks64(uniforms: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Map float64 uniforms (B, 16) to normals (B, 16), by the formula of `_blocks32`."""
    out = np.empty_like(uniforms)
    for start in range(0, len(uniforms), _CHUNK):
        u = uniforms[start : start + _CHUNK]
        radius, theta = np.sqrt(-2.0 * np.log(1.0 - u[:, :8])), 2.0 * np.pi * u[:, 8:]
        out[start : start + _CHUNK, :8] = fused(radius * np.cos(theta), std, mean)
        out[start : start + _CHUNK, 8:] = fused(radius * np.sin(theta), std, mean)
    return out


def _many(engine: Engine, n: int, mean: float, std: float, double: bool) -> np.ndarray:
    """Return n ≥ 16 normals: blocks of 16, and where n is no multiple of 16 the last 16 made anew."""
    uniform, blocks = (uniform64, _blocks64) if double else (uniform32, _blocks32)
    # The first draw covers the tail, and its last n % 16 numbers are used up without effect, as in PyTorch.
    values = uniform(engine, n)
    whole = n - n % 16
    values[:whole] = blocks(values[:whole].reshape(-1, 16), mean, std).reshape(-1)
    if n % 16:
        values[-16:] = blocks(uniform(engine, 16)[None], mean, std)[0]
    return values


def _many_rounded(engine: Engine, n: int, mean: float, std: float) -> np.ndarray:
    """Return n ≥ 16 normals for half precision: as float32, except that no numbers are drawn for the tail twice."""
    values = np.empty(n, np.float32)
    whole = n - n % 16
    values[:whole] = _blocks32(uniform32(engine, whole).reshape(-1, 16), mean, std).reshape(-1)
    if n % 16:
        values[-16:] = _blocks32(uniform32(engine, 16)[None], mean, std)[0]
    return values


def _few(engine: Engine, n: int, mean: float, std: float) -> np.ndarray:
    """Return n < 16 normals in float64, two from each pair of uniforms, the second kept in the engine for the next."""
    values = []
    for _ in range(n):
        value, engine.cached_normal = engine.cached_normal, None
        if value is None:
            u1, u2 = uniform64(engine, 2).tolist()
            radius, theta = math.sqrt(-2.0 * math.log1p(-u2)), 2.0 * math.pi * u1
            value, engine.cached_normal = radius * math.cos(theta), radius * math.sin(theta)
        values.append(value)
    return fused(np.array(values, np.float64), std, mean)


def normals(engine: Engine, n: int, mean: float, std: float, dtype: np.dtype) -> np.ndarray:
    """Return (n,) of `dtype` from N(mean, std²), as ``Tensor.normal_`` fills contiguous memory."""
    if n < 16:
        return _few(engine, n, mean, std).astype(dtype)
    if dtype.itemsize >= 4:
        return _many(engine, n, mean, std, dtype == np.float64)
    return _many_rounded(engine, n, mean, std).astype(dtype)
