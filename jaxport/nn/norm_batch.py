"""Normalisation of each channel over the batch: batch_norm, and what it shares with instance_norm."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .checks import is_concrete
from .norm_core import shaped_like, statistics_dtype
from .rows import rows_of

AxisName = str | tuple[str, ...]
Stats = tuple[jax.Array, jax.Array | None, jax.Array | None]


class _Moments(NamedTuple):
    """x - mean, and per channel, with the other axes kept as 1, the mean, the biased variance and how many values."""

    difference: jax.Array
    mean: jax.Array
    variance: jax.Array
    count: Any


def _moments(x: jax.Array, rows: jax.Array | None, axis_name: AxisName | None) -> _Moments:
    """Return the moments of each channel in two passes, over the valid rows and over the devices of `axis_name`."""
    axes = (0, *range(2, x.ndim))

    def total(values: jax.Array) -> jax.Array:
        if rows is not None:
            values = jnp.where(lax.broadcast_in_dim(rows, x.shape, (0,)), values, jnp.zeros_like(values))
        sums = values.sum(axes, keepdims=True)
        return sums if axis_name is None else lax.psum(sums, axis_name)

    count = x.shape[0] if rows is None else rows.sum(dtype=x.dtype)
    count = count * math.prod(x.shape[2:])
    count = count if axis_name is None else lax.psum(count, axis_name)
    if isinstance(count, int):
        count = max(count, 1)  # An empty batch has zero gradients, not NaN.
    mean = total(x) / count
    difference = x - mean
    return _Moments(difference, mean, total(jnp.square(difference)) / count, count)


def _per_channel(array: jax.Array, x: jax.Array) -> jax.Array:
    """Return (C,) as (1, C, 1, …) in the rank and dtype of x."""
    return array.astype(x.dtype).reshape(1, -1, *(1,) * (x.ndim - 2))


def scaled(
    difference: jax.Array, variance: jax.Array, eps: float, weight: jax.Array | None, bias: jax.Array | None
) -> jax.Array:
    """Return difference / √(variance + eps) · weight + bias; weight and bias are (C,)."""
    scale = lax.rsqrt(variance + eps)
    scale = scale if weight is None else scale * _per_channel(weight, difference)
    y = difference * scale
    return y if bias is None else _add_per_channel(y, bias.astype(y.dtype))


@jax.custom_jvp
def _add_per_channel(x: jax.Array, bias: jax.Array) -> jax.Array:
    return x + _per_channel(bias, x)


@_add_per_channel.defjvp
def _add_per_channel_jvp(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> Any:
    (x, bias), (dx, dbias) = primals, tangents
    # In two steps, so that the transpose sums the examples first and the positions then: in one, XLA's CPU backend
    # adds one number after the other, and a float32 gradient rounds ten times as much as PyTorch's.
    image = jnp.broadcast_to(_per_channel(dbias, x), (1, *x.shape[1:]))
    return _add_per_channel(x, bias), dx + jnp.broadcast_to(lax.optimization_barrier(image), x.shape)


def blend(running: jax.Array | None, value: jax.Array, momentum: Any) -> jax.Array | None:
    """Return (1 - momentum) · running + momentum · value: momentum is the weight of the new value, as in PyTorch."""
    if running is None:
        return None
    value, momentum = value.reshape(-1), jnp.asarray(momentum, value.dtype)
    blended = running.astype(value.dtype) * (1.0 - momentum) + value * momentum
    return lax.stop_gradient(blended).astype(running.dtype)


def by_running_stats(
    x: jax.Array, mean: jax.Array, var: jax.Array, weight: jax.Array | None, bias: jax.Array | None, eps: float
) -> jax.Array:
    """Return (x - mean) / √(var + eps) · weight + bias, all but x being (C,)."""
    return scaled(x - _per_channel(mean, x), _per_channel(var, x), eps, weight, bias)


def check_running_stats(
    owner: str, mean: jax.Array | None, var: jax.Array | None, needed: bool, momentum: Any, channels: tuple[int, ...]
) -> None:
    """Refuse running statistics that are missing though `needed`, or do not fit, and a momentum of None."""
    if needed and (mean is None or var is None):
        raise ValueError(f"{owner}: running_mean and running_var must be arrays unless the input's own are used")
    if (mean is None) != (var is None):
        raise ValueError(f"{owner}: running_mean and running_var must be both arrays or both None")
    if momentum is None:
        raise TypeError(f"{owner}: momentum must be a number, got None")
    shaped_like(owner, "running_mean", mean, channels)
    shaped_like(owner, "running_var", var, channels)


def _check_batch(input: jax.Array, training: bool, eps: float, axis_name: AxisName | None) -> jax.Array | None:
    """Check what needs the input's size, and return the mask of valid rows."""
    if input.ndim < 2 and input.shape != (0,):
        raise ValueError(f"batch_norm: input must be (N, C, *), got shape {input.shape}")
    if eps < 0.0 or (training and eps == 0.0):
        raise ValueError(f"batch_norm: eps must be positive, or 0 when not training, got {eps!r}")
    if not training:
        return None
    rows = rows_of("batch_norm", input)
    count = input.shape[0] if rows is None or not is_concrete(rows) else int(np.asarray(rows).sum())
    count *= math.prod(input.shape[2:])
    if count == 1 and (axis_name is None or lax.psum(1, axis_name) == 1):
        raise ValueError(f"batch_norm: training needs more than one value per channel, got input {input.shape}")
    return rows


def batch_norm_with_stats(
    input: jax.Array,
    running_mean: jax.Array | None,
    running_var: jax.Array | None,
    weight: jax.Array | None = None,
    bias: jax.Array | None = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
    *,
    axis_name: AxisName | None = None,
) -> Stats:
    """Apply `batch_norm` and return (output, new running mean, new running variance).

    The new ones are (1 - momentum) · running + momentum · batch, where the batch's variance is the unbiased one; they
    are the old ones when not training or when the batch is empty, and None where None was given. No gradient flows
    into them. With `axis_name`, an axis of ``jax.vmap``, ``jax.shard_map`` or ``jax.pmap``, the batch is what lies on
    all of its devices. Rows that `jaxport.nn.valid_rows` masks do not count; where they leave a single value per
    channel, the new variance is NaN (ValueError if that can be seen without tracing).

    Raises:
        ValueError: as in `batch_norm`.
        TypeError: as in `batch_norm`.
    """
    rows = _check_batch(input, training, eps, axis_name)
    channels = input.shape[1:2] or (0,)
    check_running_stats("batch_norm", running_mean, running_var, not training, momentum, channels)
    shaped_like("batch_norm", "weight", weight, channels)
    shaped_like("batch_norm", "bias", bias, channels)
    arrays = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    x = input.astype(statistics_dtype("batch_norm", input, **arrays))
    if input.ndim == 1:
        return input, running_mean, running_var  # Empty: PyTorch takes it as an input without channels.
    if not training and running_mean is not None and running_var is not None:
        y = by_running_stats(x, running_mean, running_var, weight, bias, eps)
        return y.astype(input.dtype), running_mean, running_var
    moments = _moments(x, rows, axis_name)
    y = scaled(moments.difference, moments.variance, eps, weight, bias).astype(input.dtype)
    if input.size == 0 and axis_name is None:
        return y, running_mean, running_var
    # Normalised with the biased variance, stored is the unbiased one.
    unbiased = moments.variance * moments.count / (moments.count - 1)
    return y, blend(running_mean, moments.mean, momentum), blend(running_var, unbiased, momentum)


def batch_norm(
    input: jax.Array,
    running_mean: jax.Array | None,
    running_var: jax.Array | None,
    weight: jax.Array | None = None,
    bias: jax.Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> jax.Array:
    """Normalise each channel over the batch: y = (x - mean) / √(var + eps) · weight + bias.

    While training, mean and biased variance are those of the batch (of its `valid_rows`), in two passes; otherwise
    they are the running ones. Half precision is computed in float32.

    Args:
        input: x, shape (N, C, *).
        running_mean: shape (C,).
        running_var: shape (C,).
        weight: shape (C,); None multiplies by nothing.
        bias: shape (C,); None adds nothing.
        training: whether the batch's own statistics are used.
        momentum: weight of the new value in the running statistics.
        eps: added to the variance.

    Returns:
        y, in the input's shape and dtype.

    Raises:
        ValueError: shapes that do not fit, one value per channel while training, running statistics that are missing,
            an `eps` that is not positive.
        TypeError: an input that is not floating, or other arrays of another dtype (float32 ones may stand beside a
            half-precision input).

    Differs from PyTorch: arrays are immutable, so running_mean and running_var are not updated; `batch_norm_with_stats`
    returns the new ones.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.batch_norm.html
    """
    return batch_norm_with_stats(input, running_mean, running_var, weight, bias, training, momentum, eps)[0]
