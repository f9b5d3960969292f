"""Max unpooling: maxima put back where they were."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .checks import index_in_range, int_tuple, is_concrete
from .module import Module
from .pooling_windows import Size, check_input, sizes


def _scatter(rows: jax.Array, indices: jax.Array, size: int) -> jax.Array:
    """Put the elements of each row at its indices in a row of zeros; a row with an index out of range becomes NaN."""
    number = jnp.arange(rows.shape[0], dtype=indices.dtype)[:, None]
    good = (indices >= 0) & (indices < size)
    # A negative index would count from the end; `size` is dropped.
    target = jnp.where(good, indices, size)
    empty = jnp.zeros((rows.shape[0], size), rows.dtype)
    full = empty.at[number, target].set(rows, mode="drop")
    bad = jnp.broadcast_to(~good.all(1, keepdims=True), full.shape)
    return jnp.where(bad, jnp.asarray(jnp.nan, full.dtype), full)


@jax.custom_jvp
def _put(rows: jax.Array, indices: jax.Array, empty: jax.Array) -> jax.Array:
    return _scatter(rows, indices, empty.shape[1])


@_put.defjvp
def _put_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
    """Add the tangents: the transpose reads the cotangent at every index, of equal indices too, as PyTorch's does."""
    rows, indices, empty = primals
    number = jnp.arange(rows.shape[0], dtype=indices.dtype)[:, None]
    return _put(rows, indices, empty), jnp.zeros_like(empty).at[number, indices].add(tangents[0], mode="drop")


def _output_size(
    owner: str, input: jax.Array, kernel: tuple[int, ...], stride: Any, padding: Size, output_size: Any
) -> tuple[int, ...]:
    dims = len(kernel)
    strides = kernel if stride is None else sizes(owner, "stride", stride, dims, 1)
    paddings = sizes(owner, "padding", padding, dims, 0)
    rows = zip(input.shape[-dims:], kernel, strides, paddings, strict=True)
    default = [(n - 1) * s + k - 2 * p for n, k, s, p in rows]
    if output_size is None:
        size = tuple(default)
    else:
        wanted = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,)
        size = int_tuple(owner, "output_size", wanted[2:] if len(wanted) == dims + 2 else wanted, dims, 0)
    if any(abs(o - n) >= s for o, n, s in zip(size, default, strides, strict=True)) or min(size) < 0:
        raise ValueError(f"{owner}: output_size must differ from {tuple(default)} by less than {strides}, got {size}")
    return size


def _max_unpool(
    owner: str, dims: int, input: jax.Array, indices: jax.Array, kernel: Any, stride: Any, padding: Any, size: Any
) -> jax.Array:
    check_input(owner, input, dims, may_be_empty=1)
    if indices.shape != input.shape:
        raise ValueError(f"{owner}: indices must have the shape of input, {input.shape}, got {indices.shape}")
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(f"{owner}: indices must be integers, got {indices.dtype}")
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise TypeError(f"{owner}: input must be floating, got {input.dtype}")
    output = _output_size(owner, input, sizes(owner, "kernel_size", kernel, dims, 1), stride, padding, size)
    # As NumPy's: inside a trace JAX would trace the minimum of a known array too.
    known: Any = np.asarray(indices) if is_concrete(indices) else indices
    index_in_range(owner, "indices", known, 0, math.prod(output))
    lead = input.shape[:-dims]
    empty = jnp.zeros((math.prod(lead), math.prod(output)), input.dtype)
    rows = (len(empty), math.prod(input.shape[-dims:]))
    full = _put(input.reshape(rows), indices.reshape(rows), empty)
    return full.reshape(*lead, *output)


def max_unpool2d(
    input: jax.Array,
    indices: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Any = None,
) -> jax.Array:
    """Put maxima back where `max_pool2d` took them from; everything else is 0.

    y[n, c, indices[n, c, p, q]] = x[n, c, p, q], the index counting through H·W. Of elements with one index the last
    stays, and every one receives the gradient.

    Args:
        input: (N, C, P, Q) or (C, P, Q).
        indices: in the same shape, as `max_pool2d` returns them.
        kernel_size: that of the pooling.
        stride: that of the pooling; None means `kernel_size`.
        padding: that of the pooling.
        output_size: (H, W), or a whole shape that ends so, since several sizes are pooled to the same; None means
            H = (P - 1)·stride - 2·padding + kernel_size, from which another must differ by less than `stride`.

    Returns:
        (N, C, H, W). An index outside of it makes an image (n, c) NaN under tracing, where it cannot be refused.

    Raises:
        ValueError: a shape or size that does not fit.
        TypeError: indices that are no integers, or an input that is not floating.
        IndexError: an index outside of the output.

    Differs from PyTorch: indices may have any integer dtype.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool2d.html
    """
    return _max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool1d(
    input: jax.Array,
    indices: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Any = None,
) -> jax.Array:
    """Put the maxima of `max_pool1d`, (N, C, P) or (C, P), back; see `max_unpool2d`.

    Raises:
        ValueError: a shape or size that does not fit.
        TypeError: indices that are no integers, or an input that is not floating.
        IndexError: an index outside of the output.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool1d.html
    """
    return _max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: jax.Array,
    indices: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Any = None,
) -> jax.Array:
    """Put the maxima of `max_pool3d`, (N, C, O, P, Q) or (C, O, P, Q), back; see `max_unpool2d`.

    Raises:
        ValueError: a shape or size that does not fit.
        TypeError: indices that are no integers, or an input that is not floating.
        IndexError: an index outside of the output.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool3d.html
    """
    return _max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


class _MaxUnpool(Module):
    _dims = 2

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        owner, dims = type(self).__name__, self._dims
        self.kernel_size = sizes(owner, "kernel_size", kernel_size, dims, 1)
        self.stride = self.kernel_size if stride is None else sizes(owner, "stride", stride, dims, 1)
        self.padding = sizes(owner, "padding", padding, dims, 0)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Put the maxima of `MaxPool1d` back where they were; see `max_unpool1d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool1d.html
    """

    _dims = 1

    def forward(self, input: jax.Array, indices: jax.Array, output_size: Any = None) -> jax.Array:
        """Map (N, C, P) and the indices to (N, C, L)."""
        return max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool2d(_MaxUnpool):
    """Put the maxima of `MaxPool2d` back where they were; see `max_unpool2d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool2d.html
    """

    def forward(self, input: jax.Array, indices: jax.Array, output_size: Any = None) -> jax.Array:
        """Map (N, C, P, Q) and the indices to (N, C, H, W)."""
        return max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool3d(_MaxUnpool):
    """Put the maxima of `MaxPool3d` back where they were; see `max_unpool3d`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool3d.html
    """

    _dims = 3

    def forward(self, input: jax.Array, indices: jax.Array, output_size: Any = None) -> jax.Array:
        """Map (N, C, O, P, Q) and the indices to (N, C, D, H, W)."""
        return max_unpool3d(input, indices, self.kernel_size, self.stride, self.padding, output_size)
