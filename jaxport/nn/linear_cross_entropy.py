"""A linear map and its cross-entropy in one: linear_cross_entropy and LinearCrossEntropyLoss."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

from .checks import Reduction, probability, reduction_name, same_dtype
from .linear import Linear, linear
from .linear_cross_entropy_options import LinearCrossEntropyOptions
from .loss import _class_weights, _labels, _Loss, _reduce, cross_entropy
from .module import fresh_rngs
from .precision import product_precision


def _check(
    input: jax.Array, linear_weight: jax.Array, target: jax.Array, linear_bias: jax.Array | None, ignore_index: Any
) -> None:
    owner = "linear_cross_entropy"
    if input.ndim not in (1, 2):
        raise ValueError(f"{owner}: input must be (N, in_features) or (in_features,), got shape {input.shape}")
    if linear_weight.ndim < 2 or linear_weight.shape[-1] != input.shape[-1]:
        raise ValueError(
            f"{owner}: linear_weight must be (C, …, in_features) with in_features {input.shape[-1]}, "
            f"got shape {linear_weight.shape}"
        )
    if linear_bias is not None and linear_bias.shape != linear_weight.shape[:-1]:
        raise ValueError(
            f"{owner}: linear_bias must have shape {linear_weight.shape[:-1]}, got shape {linear_bias.shape}"
        )
    if linear_weight.ndim > 2 and input.ndim == 1:
        raise ValueError(f"{owner}: linear_weight {linear_weight.shape} needs a batched input, got {input.shape}")
    same_dtype(owner, input=input, linear_weight=linear_weight, linear_bias=linear_bias)
    if target.shape == (*input.shape[:-1], *linear_weight.shape[:-1]) and ignore_index is not None:
        raise ValueError(f"{owner}: ignore_index must be None beside probabilities, got {ignore_index}")


def linear_cross_entropy(
    input: jax.Array,
    linear_weight: jax.Array,
    target: jax.Array,
    *,
    linear_bias: jax.Array | None = None,
    weight: jax.Array | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """Cross-entropy of the logits x Wᵀ + b; see `cross_entropy` for its formula.

    Args:
        input: x, (N, in_features) or (in_features,).
        linear_weight: W, (C, in_features), or (C, d1, …, in_features) for a loss at each of d1·… places.
        target: classes (N,), (N, d1, …) or (), or probabilities (N, C, d1, …) or (C,).
        linear_bias: b, (C,) or (C, d1, …).
        weight: weight of each class, (C,).
        reduction: 'none', 'mean' or 'sum'.
        ignore_index: class targets of this value count for nothing; None means -100.
        label_smoothing: in [0, 1].
        options: go through the batch in pieces, whose logits are computed again for the gradient: memory for one piece
            in place of (N, C). Without effect where `linear_weight` has more than two axes, with `label_smoothing` and
            for probabilities, as in PyTorch (which warns).
        where: which examples count; see `jaxport.nn.loss`.

    Raises:
        ValueError: shapes, `reduction`, `label_smoothing`, `ignore_index` or `options` do not fit.
        TypeError: the dtypes differ.
        IndexError: a class outside 0 … C - 1 where it can be seen: not under ``jax.jit``.

    Differs from PyTorch: in pieces too, every JAX transformation works, higher and forward derivatives included.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.linear_cross_entropy.html
    """
    _check(input, linear_weight, target, linear_bias, ignore_index)
    smoothing = probability("linear_cross_entropy", "label_smoothing", label_smoothing)
    ignored = -100 if ignore_index is None else ignore_index
    classes = jnp.issubdtype(target.dtype, jnp.integer) and target.shape == input.shape[:-1]
    if options is not None and classes and smoothing == 0.0 and linear_weight.ndim == 2 and target.size:
        parts = input, linear_weight, linear_bias, target
        return _in_pieces(*parts, weight, ignored, reduction, options, where)
    outputs = linear_weight.shape[:-1]
    flat_weight = linear_weight.reshape(math.prod(outputs), -1)
    logits = linear(input, flat_weight, None if linear_bias is None else linear_bias.reshape(-1))
    logits = logits.reshape(*input.shape[:-1], *outputs)
    return cross_entropy(logits, target, weight, ignored, reduction, smoothing, where=where)


def _in_pieces(
    input: jax.Array,
    linear_weight: jax.Array,
    linear_bias: jax.Array | None,
    target: jax.Array,
    weight: jax.Array | None,
    ignore_index: int,
    reduction: Reduction,
    options: LinearCrossEntropyOptions,
    where: jax.Array | None,
) -> jax.Array:
    reduction_name("linear_cross_entropy", reduction)
    rows, shape = input.reshape(-1, input.shape[-1]), target.shape
    size = options.chunk_size(rows.shape[0], rows.shape[1], linear_weight.shape[0], input.dtype)
    wide = options.accumulator(input.dtype)
    class_weights = None if weight is None else weight.astype(wide)

    def losses(x: jax.Array, y: jax.Array) -> jax.Array:
        logits = jnp.matmul(x, linear_weight.T, precision=product_precision(), preferred_element_type=wide)
        if linear_bias is not None:
            logits = logits + jnp.broadcast_to(linear_bias.astype(wide), logits.shape)
        return cross_entropy(logits, y, class_weights, ignore_index, "none")

    same_dtype("linear_cross_entropy", input=input, weight=weight)
    labels = _checked_labels(input, linear_weight, target, weight, ignore_index, where)
    values = _mapped(losses, rows, labels.reshape(-1), size).reshape(shape)
    kept = labels != ignore_index
    if class_weights is None:
        weights = kept.astype(wide)
    else:
        weights = jnp.where(kept, class_weights[jnp.where(kept, labels, 0)], jnp.zeros_like(values))
    return _reduce(values, reduction, where, "linear_cross_entropy", weights).astype(input.dtype)


def _checked_labels(
    input: jax.Array,
    linear_weight: jax.Array,
    target: jax.Array,
    weight: jax.Array | None,
    ignore_index: int,
    where: jax.Array | None,
) -> jax.Array:
    """Check against the logits' shape, before they are cut into pieces and traced."""
    logits = jax.ShapeDtypeStruct((*input.shape[:-1], linear_weight.shape[0]), input.dtype)
    _class_weights(weight, linear_weight.shape[0], input, "linear_cross_entropy")
    return _labels(logits, target, logits.ndim - 1, ignore_index, where, "linear_cross_entropy")


def _mapped(losses: Any, rows: jax.Array, labels: jax.Array, size: int) -> jax.Array:
    """Apply `losses` to pieces of `size` rows and keep nothing of them for the gradient but their inputs."""
    again = jax.checkpoint(losses)
    whole = rows.shape[0] // size
    cut = whole * size
    pieces = rows[:cut].reshape(whole, size, -1), labels[:cut].reshape(whole, size)
    _, values = lax.scan(lambda carry, piece: (carry, again(*piece)), None, pieces)
    if cut == rows.shape[0]:
        return values.reshape(-1)
    return jnp.concatenate([values.reshape(-1), again(rows[cut:], labels[cut:])])


class LinearCrossEntropyLoss(_Loss):
    """Cross-entropy of logits that its own `linear` computes; see `linear_cross_entropy`.

    Args:
        in_features: size of the input's last axis.
        num_classes: C.
        out_features: (d1, …), the places that each have a loss.
        bias: whether the linear map adds b.
        dtype: of the linear map's parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: a size, `weight`, `reduction` or `label_smoothing` does not fit.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LinearCrossEntropyLoss.html
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        dtype: DTypeLike | None = None,
        reduction: Reduction = "mean",
        weight: jax.Array | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
        rngs: nnx.Rngs | int,
    ) -> None:
        if weight is not None and weight.shape != (num_classes,):
            raise ValueError(f"LinearCrossEntropyLoss: weight must have shape ({num_classes},), got {weight.shape}")
        self._set_weight(weight)
        self.reduction = reduction_name("LinearCrossEntropyLoss", reduction)
        self.num_classes = num_classes
        self.out_features = tuple(out_features)
        self.ignore_index = ignore_index
        self.label_smoothing = probability("LinearCrossEntropyLoss", "label_smoothing", label_smoothing)
        outputs = math.prod(self.out_features, start=num_classes)
        self.linear = Linear(in_features, outputs, bias, dtype, rngs=fresh_rngs(rngs, "LinearCrossEntropyLoss"))
        self.options = options

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of `input` (N, in_features) against `target`."""
        shape, bias = (self.num_classes, *self.out_features), self.linear.bias
        return linear_cross_entropy(
            input,
            self.linear.weight[...].reshape(*shape, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias[...].reshape(shape),
            weight=self._get_weight(),
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
            where=where,
        )

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, reduction={self.reduction}, "
            f"ignore_index={self.ignore_index}, label_smoothing={self.label_smoothing}, options={self.options}"
        )
