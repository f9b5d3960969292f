"""Initial values with a structure: identity, Dirac, orthogonal, sparse, and the truncated normal distribution."""

from __future__ import annotations

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jaxport import random as host

from .init_draw import RandomSource, draw_normal


def _normal_cdf(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _truncated_tail(key: jax.Array, shape: tuple[int, ...], low: float, high: float) -> jax.Array:
    """Draw N(0, 1) within an improbable interval: uniform proposals, accepted by their density over its peak."""
    peak = max(low, min(0.0, high))

    def propose(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        key, value_key, accept_key = jax.random.split(key, 3)
        proposal = jax.random.uniform(value_key, shape, jnp.float32, low, high)
        accepted = jnp.log(jax.random.uniform(accept_key, shape)) <= 0.5 * (peak**2 - jnp.square(proposal))
        return key, proposal, accepted

    def step(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        key, values, done = state
        key, proposal, accepted = propose(key)
        return key, jnp.where(done, values, proposal), done | accepted

    return lax.while_loop(lambda state: ~state[2].all(), step, propose(key))[1]


def trunc_normal_(
    tensor: nnx.Variable,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    *,
    generator: RandomSource,
) -> nnx.Variable:
    """Fill with N(mean, std²) truncated to [a, b]; the bounds are values, not numbers of standard deviations.

    Warns if `mean` lies more than two standard deviations outside [a, b], as PyTorch does.

    Raises:
        ValueError: `std` is not positive, or `a` is not below `b`.

    Source: https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.trunc_normal_
    """
    if not std > 0.0:
        raise ValueError(f"trunc_normal_: std must be positive, got {std!r}")
    if not a < b:
        raise ValueError(f"trunc_normal_: a must be below b, got a={a!r}, b={b!r}")
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            f"trunc_normal_: mean {mean} is more than 2 std from [{a}, {b}]: few draws of a normal lie there",
            stacklevel=2,
        )
    low, high = (a - mean) / std, (b - mean) / std
    if isinstance(generator, host.Generator):
        empty = np.empty(tensor.shape, tensor.dtype)
        tensor.set_value(jnp.asarray(host.trunc_normal_(empty, mean, std, a, b, generator=generator)))
        return tensor
    if _normal_cdf(high) - _normal_cdf(low) > 0.3:
        standard = jax.random.truncated_normal(generator, low, high, tensor.shape, jnp.float32)
    else:
        standard = _truncated_tail(generator, tensor.shape, low, high)
    values = jnp.clip(mean + std * standard.astype(tensor.dtype), a, b)
    tensor.set_value(values.astype(tensor.dtype))
    return tensor


def eye_(tensor: nnx.Variable) -> nnx.Variable:
    """Fill a matrix with the identity.

    Raises:
        ValueError: not two dimensions.

    Source: https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.eye_
    """
    if len(tensor.shape) != 2:
        raise ValueError(f"eye_: tensor must have 2 dimensions, got shape {tensor.shape}")
    tensor.set_value(jnp.eye(*tensor.shape, dtype=tensor.dtype))
    return tensor


def dirac_(tensor: nnx.Variable, groups: int = 1) -> nnx.Variable:
    """Fill a convolution's weight (out, in / groups, *kernel) so that it passes as many channels through as it can.

    Raises:
        ValueError: not 3 to 5 dimensions, or `groups` does not divide the output channels.

    Source: https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.dirac_
    """
    shape = tensor.shape
    if len(shape) not in (3, 4, 5):
        raise ValueError(f"dirac_: tensor must have 3, 4 or 5 dimensions, got shape {shape}")
    if shape[0] % groups:
        raise ValueError(f"dirac_: groups must divide the {shape[0]} output channels, got {groups}")
    per_group = shape[0] // groups
    matrix = jnp.tile(jnp.eye(per_group, shape[1], dtype=tensor.dtype), (groups, 1))
    centre = tuple(size // 2 for size in shape[2:])
    tensor.set_value(jnp.zeros(shape, tensor.dtype).at[(slice(None), slice(None), *centre)].set(matrix))
    return tensor


def orthogonal_(tensor: nnx.Variable, gain: float = 1.0, *, generator: RandomSource) -> nnx.Variable:
    """Fill with a uniformly random (semi-)orthogonal matrix times `gain`; trailing dimensions are flattened.

    Q of the QR decomposition of a normal matrix, its columns' signs those of R's diagonal (Saxe et al. 2013).

    Raises:
        ValueError: fewer than two dimensions.

    Source: https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.orthogonal_
    """
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(f"orthogonal_: tensor must have at least 2 dimensions, got shape {shape}")
    if 0 in shape:
        return tensor
    rows, columns = shape[0], math.prod(shape[1:])
    exact = jnp.float64 if tensor.dtype == jnp.float64 else jnp.float32
    matrix = draw_normal(generator, (rows, columns), exact)
    q, r = jnp.linalg.qr(matrix.T if rows < columns else matrix)
    q = q * jnp.sign(jnp.diagonal(r))[None, :]
    q = q.T if rows < columns else q
    tensor.set_value((gain * q.reshape(shape)).astype(tensor.dtype))
    return tensor


def sparse_(tensor: nnx.Variable, sparsity: float, std: float = 0.01, *, generator: RandomSource) -> nnx.Variable:
    """Fill a matrix with N(0, std²), then zero ⌈sparsity · rows⌉ random elements of each column (Martens 2010).

    Raises:
        ValueError: not two dimensions, or `sparsity` outside [0, 1].

    Source: https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.sparse_
    """
    if len(tensor.shape) != 2:
        raise ValueError(f"sparse_: tensor must have 2 dimensions, got shape {tensor.shape}")
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparse_: sparsity must be a fraction between 0 and 1, got {sparsity!r}")
    zeros = math.ceil(sparsity * tensor.shape[0])
    if isinstance(generator, host.Generator):
        tensor.set_value(jnp.asarray(_sparse_on_host(tensor.shape, tensor.dtype, zeros, std, generator)))
        return tensor
    value_key, row_key = jax.random.split(generator)
    values = std * jax.random.normal(value_key, tensor.shape, tensor.dtype)
    ranks = jnp.argsort(jnp.argsort(jax.random.uniform(row_key, tensor.shape), axis=0), axis=0)
    tensor.set_value(jnp.where(ranks < zeros, jnp.zeros_like(values), values))
    return tensor


def _sparse_on_host(
    shape: tuple[int, ...], dtype: np.dtype, zeros: int, std: float, source: host.Generator
) -> np.ndarray:
    values = source.normal(0.0, std, shape, dtype)
    for column in range(shape[1]):
        values[source.randperm(shape[0])[:zeros], column] = 0.0
    return values
