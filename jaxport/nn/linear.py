"""Linear maps and shape changes: linear, Linear, Identity, Flatten, Unflatten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from . import init, linear_column, origin
from .axes import axis
from .checks import positive_int, same_dtype
from .module import Module, Parameter, fresh_rngs
from .precision import product_precision

# A weight of one output behind a convolution is one of two from so many inputs on. (How many rows there are may not be
# known, where a program is exported for any number.)
_MANY = 1024


def _product(input: jax.Array, weight: jax.Array) -> jax.Array:
    """Return x Wᵀ.

    On CPUs XLA makes the input's gradient, a product with one row of weights, an elementwise one, and puts it and what
    makes the loss's gradient into one loop with the pooling and the transposition behind it, where all is computed
    again for every element: 0.75 ms of a step of 2.1 for 20 × 6,144. A second row, of zeros, keeps it a product: 0.26.
    Where no convolution is before, that loop is the faster form.
    """
    if weight.ndim == 2 and weight.shape[0] == 1 and weight.shape[1] >= _MANY and _is_of_convolution(input):
        return jnp.matmul(input, jnp.pad(weight, ((0, 1), (0, 0))).T, precision=product_precision())[..., :1]
    input, weight = _channels_last(input, weight)
    return jnp.matmul(input, weight.T, precision=product_precision())


def _channels_last(input: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return flattened images and a weight for them in the order in which the images were computed, if that is known.

    Few rows of the weight are put into that order in place of many images into the other: of 100 images of 7 × 7 × 32
    that was 1.0 ms, in one loop with the pooling before.
    """
    found = origin.of(input)
    last = origin.known_last(found.source) if found is not None and found.flat and found.source is not None else None
    if last is None or weight.ndim != 2 or not isinstance(last.shape[0], int) or len(weight) > len(last):
        return input, weight
    *size, channels = last.shape[1:]
    turned = jnp.moveaxis(weight.reshape(-1, channels, *size), 1, -1)
    return last.reshape(input.shape), turned.reshape(weight.shape)


def _is_of_convolution(input: jax.Array) -> bool:
    """Return whether an array is known to be the flattened output of a convolution, or of layers behind it."""
    links = origin.chain(input)
    return len(links) > 1 and links[-1].source is None


def linear(input: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Apply y = x Wᵀ + b.

    Args:
        input: x, shape (*, in).
        weight: W, shape (out, in), or (in,) for one output without its axis.
        bias: b, shape (out,), or () beside a vector weight.

    Returns:
        y, shape (*, out), or (*) for a vector weight.

    Raises:
        TypeError: the dtypes differ.
        ValueError: the last axis of `input` is not the last axis of `weight`, or another shape does not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.linear.html
    """
    same_dtype("linear", input=input, weight=weight, bias=bias)
    if weight.ndim not in (1, 2):
        raise ValueError(f"linear: weight must be (out, in) or (in,), got shape {weight.shape}")
    if input.ndim == 0 or input.shape[-1] != weight.shape[-1]:
        raise ValueError(f"linear: input {input.shape} must end in weight's last axis; weight is {weight.shape}")
    if linear_column.fits(input, weight, bias):
        return linear_column.apply(input, weight, bias)
    output = _product(input, weight)
    if bias is None:
        return output
    if bias.ndim > output.ndim or any(
        b not in (1, n) for b, n in zip(bias.shape[::-1], output.shape[::-1], strict=False)
    ):
        raise ValueError(f"linear: bias must have shape {weight.shape[:-1]}, got {bias.shape}")
    return output + jnp.broadcast_to(bias, output.shape)


class Linear(Module):
    """Apply y = x Wᵀ + b with trained `weight` (out_features, in_features) and `bias` (out_features,).

    Both start from U(±1/√in_features), as in PyTorch.

    Args:
        in_features: size of the input's last axis.
        out_features: size of the output's last axis.
        bias: whether b is added.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: a size is not a positive integer.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        self.in_features = positive_int("Linear", "in_features", in_features)
        self.out_features = positive_int("Linear", "out_features", out_features)
        dtype = jnp.float32 if dtype is None else dtype
        self.weight = Parameter(jnp.zeros((out_features, in_features), dtype))
        self.bias = Parameter(jnp.zeros((out_features,), dtype)) if bias else None
        self.reset_parameters(fresh_rngs(rngs, "Linear"))

    def reset_parameters(self, rngs: nnx.Rngs) -> None:
        """Draw new initial values."""
        init.reset_weight_and_bias(self.weight, self.bias, rngs)

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (*, in_features) to (*, out_features)."""
        return linear(input, self.weight[...], None if self.bias is None else self.bias[...])

    def extra_repr(self) -> str:
        """Return the sizes, as PyTorch prints them."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def flatten(input: jax.Array, start_dim: int = 0, end_dim: int = -1) -> jax.Array:
    """Merge the axes from `start_dim` to `end_dim` (both included) into one; a scalar becomes (1,).

    Raises:
        ValueError: an axis does not exist, or `start_dim` comes after `end_dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.flatten.html
    """
    ndim = max(input.ndim, 1)
    for name, dim in (("start_dim", start_dim), ("end_dim", end_dim)):
        if not -ndim <= dim < ndim:
            raise ValueError(f"flatten: {name} must lie in [{-ndim}, {ndim - 1}] for shape {input.shape}, got {dim}")
    start, end = start_dim % ndim, end_dim % ndim
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} for shape {input.shape}")
    merged = math.prod(input.shape[start : end + 1])
    shape = (*input.shape[:start], merged, *input.shape[end + 1 :])
    flat = start == 1 and end == ndim - 1
    return origin.note(input.reshape(shape), origin.Origin(lambda x: x.reshape(shape), input, flat=flat))


class Flatten(Module):
    """Merge the axes from `start_dim` to `end_dim` into one, by default all but the batch: (N, C, H, W) → (N, C·H·W).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Flatten.html
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input with the axes merged."""
        return flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the axes, as PyTorch prints them."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


def unflatten(input: jax.Array, dim: int, sizes: Sequence[int]) -> jax.Array:
    """Split axis `dim` into axes of these sizes, of which one may be -1 and is inferred.

    Raises:
        IndexError: there is no such axis.
        ValueError: the sizes do not multiply up to the axis.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unflatten.html
    """
    if input.ndim == 0:
        raise ValueError("unflatten: input must have an axis to split, got a scalar")
    chosen = axis("unflatten", "dim", dim, input.ndim)
    size, known = input.shape[chosen], math.prod(s for s in sizes if s != -1)
    unknown = list(sizes).count(-1)
    fits = size == known if unknown == 0 else unknown == 1 and known > 0 and size % known == 0
    if len(sizes) == 0 or any(s < -1 for s in sizes) or not fits:
        raise ValueError(f"unflatten: sizes must multiply up to the {size} of axis {dim}, got {tuple(sizes)}")
    found = [size // known if s == -1 else s for s in sizes]
    return input.reshape((*input.shape[:chosen], *found, *input.shape[chosen + 1 :]))


class Unflatten(Module):
    """Split axis `dim` into axes of the sizes `unflattened_size`, of which one may be -1 and is inferred.

    Raises:
        TypeError: `unflattened_size` is not a tuple or list of integers, or `dim` no integer (PyTorch's named axes
            do not exist here).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Unflatten.html
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        good = isinstance(unflattened_size, (tuple, list)) and all(isinstance(size, int) for size in unflattened_size)
        if not good or not isinstance(dim, int):
            raise TypeError(
                f"Unflatten: dim must be an integer and unflattened_size a tuple of integers, "
                f"got {dim!r} and {unflattened_size!r}"
            )
        self.dim = dim
        # A list would be taken for a list of modules; PyTorch's repr shows which it was.
        self.unflattened_size = unflattened_size

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input with the axis split."""
        return unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """Return the axis and the sizes, as PyTorch prints them."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Identity(Module):
    """Return the input; any arguments are accepted and ignored.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Identity.html
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs

    def forward(self, input: Any) -> Any:
        """Return the input as it is."""
        return input
