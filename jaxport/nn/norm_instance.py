"""Normalisation of each channel of each example: instance_norm."""

from __future__ import annotations

import math

import jax
from jax import lax

from .norm_batch import Stats, blend, by_running_stats, check_running_stats, scaled
from .norm_core import centred, shaped_like, statistics_dtype
from .rows import rows_of


def _over_examples(values: jax.Array, rows: jax.Array | None) -> jax.Array:
    """Return the mean over the valid rows of (N, C, 1, …), as (C,)."""
    values = values.reshape(values.shape[:2])
    return values.mean(0) if rows is None else values.mean(0, where=lax.broadcast_in_dim(rows, values.shape, (0,)))


def instance_norm_with_stats(
    input: jax.Array,
    running_mean: jax.Array | None = None,
    running_var: jax.Array | None = None,
    weight: jax.Array | None = None,
    bias: jax.Array | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Stats:
    """Apply `instance_norm` and return (output, new running mean, new running variance).

    The new ones are (1 - momentum) · running + momentum · the mean over the (valid) examples of their own mean and
    unbiased variance; the old ones when `use_input_stats` is False. No gradient flows into them.

    Raises:
        ValueError: as in `instance_norm`.
        TypeError: as in `instance_norm`.
    """
    if input.ndim < 2:
        raise ValueError(f"instance_norm: input must be (N, C, *), got shape {input.shape}")
    count, channels = math.prod(input.shape[2:]), input.shape[1:2]
    if use_input_stats and count == 1:
        raise ValueError(f"instance_norm: input must have more than one spatial element, got shape {input.shape}")
    check_running_stats("instance_norm", running_mean, running_var, not use_input_stats, momentum, channels)
    shaped_like("instance_norm", "weight", weight, channels)
    shaped_like("instance_norm", "bias", bias, channels)
    statistics_dtype("instance_norm", input, running_mean=running_mean, running_var=running_var)
    x = input.astype(statistics_dtype("instance_norm", input, weight=weight, bias=bias))
    if not use_input_stats and running_mean is not None and running_var is not None:
        y = by_running_stats(x, running_mean, running_var, weight, bias, eps)
        return y.astype(input.dtype), running_mean, running_var
    difference, mean, variance = centred(x, tuple(range(2, x.ndim)))
    y = scaled(difference, variance, eps, weight, bias).astype(input.dtype)
    if input.size == 0 or running_mean is None:
        return y, running_mean, running_var
    rows = rows_of("instance_norm", input)
    new_mean, new_var = _over_examples(mean, rows), _over_examples(variance, rows) * (count / (count - 1))
    return y, blend(running_mean, new_mean, momentum), blend(running_var, new_var, momentum)


def instance_norm(
    input: jax.Array,
    running_mean: jax.Array | None = None,
    running_var: jax.Array | None = None,
    weight: jax.Array | None = None,
    bias: jax.Array | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> jax.Array:
    """Normalise each channel of each example: y = (x - mean) / √(var + eps) · weight + bias.

    With `use_input_stats`, mean and biased variance are those of the channel in its example; otherwise they are the
    running ones. Half precision is computed in float32.

    Args:
        input: x, shape (N, C, *).
        running_mean: shape (C,).
        running_var: shape (C,).
        weight: shape (C,); None multiplies by nothing.
        bias: shape (C,); None adds nothing.
        use_input_stats: whether the input's own statistics are used.
        momentum: weight of the new value in the running statistics.
        eps: added to the variance.

    Returns:
        y, in the input's shape and dtype.

    Raises:
        ValueError: shapes that do not fit, one element per channel, running statistics that are missing.
        TypeError: an input that is not floating, or other arrays of another dtype (float32 ones may stand beside a
            half-precision input).

    Differs from PyTorch: arrays are immutable, so running_mean and running_var are not updated;
    `instance_norm_with_stats` returns the new ones. They stay as they are for an empty batch (PyTorch: NaN).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.instance_norm.html
    """
    return instance_norm_with_stats(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)[0]
