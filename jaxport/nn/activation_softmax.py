"""Softmax and its relations: softmax, softmin, log_softmax, gumbel_softmax and their modules."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from .axes import axis
from .module import Module


def _implicit_axis(owner: str, dim: int | None, ndim: int, stacklevel: int) -> int:
    if dim is not None:
        return axis(owner, "dim", dim, ndim)
    chosen = 0 if ndim in (0, 1, 3) else 1
    message = f"{owner}: dim=None takes axis {chosen} of {ndim}; PyTorch deprecates the implicit choice, so name it"
    warnings.warn(message, UserWarning, stacklevel=stacklevel + 1)
    return chosen


def _computed(owner: str, input: jax.Array, dtype: DTypeLike | None) -> tuple[jax.Array, jnp.dtype]:
    """Return the input in the dtype to compute in, float32 for half precision, and the dtype of the result."""
    if dtype is not None:
        input = input.astype(dtype)
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise TypeError(f"{owner}: input must be floating, got {input.dtype}; give dtype=")
    half = input.dtype in (jnp.float16, jnp.bfloat16)
    return (input.astype(jnp.float32) if half else input), input.dtype


def softmax(
    input: jax.Array, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None
) -> jax.Array:
    """Return exp(x) / Σ exp(x) along axis `dim`.

    Args:
        input: any shape.
        dim: the axis; None takes 0 for 0, 1 or 3 axes and 1 otherwise, with a warning, as PyTorch does.
        dtype: what the input is cast to first.

    Raises:
        IndexError: there is no such axis.
        TypeError: neither the input nor `dtype` is floating.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softmax.html
    """
    chosen = _implicit_axis("softmax", dim, input.ndim, _stacklevel)
    values, result = _computed("softmax", input, dtype)
    if values.ndim == 0:
        return softmax(values[None], 0)[0].astype(result)
    return values.astype(result) if values.size == 0 else jax.nn.softmax(values, axis=chosen).astype(result)


def softmin(
    input: jax.Array, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None
) -> jax.Array:
    """Return exp(-x) / Σ exp(-x) along axis `dim`; arguments and errors are those of `softmax`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softmin.html
    """
    return softmax(-input, _implicit_axis("softmin", dim, input.ndim, _stacklevel), dtype=dtype)


def log_softmax(
    input: jax.Array, dim: int | None = None, _stacklevel: int = 3, dtype: DTypeLike | None = None
) -> jax.Array:
    """Return x - log Σ exp(x) along axis `dim`; arguments and errors are those of `softmax`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.log_softmax.html
    """
    chosen = _implicit_axis("log_softmax", dim, input.ndim, _stacklevel)
    values, result = _computed("log_softmax", input, dtype)
    if values.ndim == 0:
        return log_softmax(values[None], 0)[0].astype(result)
    return values.astype(result) if values.size == 0 else jax.nn.log_softmax(values, axis=chosen).astype(result)


def gumbel_softmax(
    logits: jax.Array, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1, *, key: jax.Array
) -> jax.Array:
    """Draw from the Gumbel-softmax distribution: softmax((x + g) / τ) along `dim`, g standard Gumbel.

    Args:
        logits: unnormalised log probabilities.
        tau: temperature τ.
        hard: whether to return one-hot vectors, whose gradient is that of the soft ones.
        eps: deprecated in PyTorch and without effect.
        dim: the axis of the classes.
        key: JAX PRNG key of the noise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gumbel_softmax.html
    """
    if eps != 1e-10:
        warnings.warn("gumbel_softmax: eps is deprecated and has no effect", stacklevel=2)
    noise = jax.random.gumbel(key, logits.shape, logits.dtype)
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    chosen = axis("gumbel_softmax", "dim", dim, logits.ndim)
    best = jnp.argmax(soft, axis=chosen, keepdims=True)
    hot = (lax.broadcasted_iota(best.dtype, soft.shape, chosen) == best).astype(soft.dtype)
    return hot - lax.stop_gradient(soft) + soft


class _AlongAxis(Module):
    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def extra_repr(self) -> str:
        """Return the axis, as PyTorch prints it."""
        return f"dim={self.dim}"


class Softmin(_AlongAxis):
    """Apply exp(-x) / Σ exp(-x) along axis `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmin.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return weights that sum to 1 along the axis, in the input's shape."""
        return softmin(input, self.dim, _stacklevel=5)


class Softmax(_AlongAxis):
    """Apply exp(x) / Σ exp(x) along axis `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return weights that sum to 1 along the axis, in the input's shape."""
        return softmax(input, self.dim, _stacklevel=5)


class Softmax2d(Module):
    """Apply softmax over the channels of (N, C, H, W) or (C, H, W).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax2d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return weights that sum to 1 over the channels at every place.

        Raises:
            ValueError: the input has neither 3 nor 4 axes.
        """
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: input must be (N, C, H, W) or (C, H, W), got shape {input.shape}")
        return softmax(input, -3)


class LogSoftmax(_AlongAxis):
    """Apply x - log Σ exp(x) along axis `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return logarithms of weights that sum to 1 along the axis, in the input's shape."""
        return log_softmax(input, self.dim, _stacklevel=5)
