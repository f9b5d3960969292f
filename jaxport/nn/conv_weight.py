"""A convolution's weight gradient as one wide picture that oneDNN convolves with the gradient of the output.

∂w[u, v, c, o] = Σ_{n,p,q} x[n, p + u, q + v, c] · g[n, p, q, o] is a convolution of x with g as its kernel, in which
examples are what channels are elsewhere. Its output has but kH × kW places, of which oneDNN computes a row at a time,
and a row of three is too short for the registers of a core. Here columns and channels of x are one axis, W·C, whose
kernel takes every C-th element: the rows of the output are kW·C long.

Arrays are channels last: x (N, H, W, C), w (kH, kW, C, O), g and y (N, P, Q, O).
"""

from __future__ import annotations

import functools
import itertools
import math

import jax
import jax.numpy as jnp

from . import conv_onednn
from .conv_bilinear import Geometry

# Each row of the output goes over all of x and g, so as many examples go into a call as stay in the caches.
_BYTES = 3 << 20
# Examples are what is summed over for each place of g: fewer than a register holds are slow.
_LEAST = 16
# Calls of one gradient: of ten thousand images it would otherwise be a program of hundreds.
_MOST = 32


def is_faster(x: jax.Array, g: jax.Array, geometry: Geometry) -> bool:
    """Return whether the gradient is computed so: by oneDNN, without steps between windows or their elements."""
    dense = geometry.stride == (1, 1) == geometry.dilation
    return dense and conv_onednn.available(x, g)


def weight_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Return ∂w (kH, kW, C, O)."""
    examples = x.shape[0]
    most = max(_LEAST, _BYTES // (4 * math.prod(x.shape[1:]) + 4 * math.prod(g.shape[1:])))
    count = min(-(-examples // most), max(1, examples // _LEAST), _MOST)
    ends = [examples * i // count for i in range(count + 1)]
    parts = [_of_some(x[i:j], g[i:j], geometry) for i, j in itertools.pairwise(ends)]
    return functools.reduce(jnp.add, parts)


def _of_some(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    examples, height, width, channels = x.shape
    wide = x.reshape(examples, -1).T.reshape(1, height, width * channels, examples)
    rows, (left, right) = geometry.pads
    pads = rows, (left * channels, right * channels)
    result = conv_onednn.convolve(wide, g, (1, 1), pads, (1, channels), kernel="IHWO")
    return result.reshape(*geometry.kernel, channels, g.shape[-1])
