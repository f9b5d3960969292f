r"""Losses: mse_loss, binary_cross_entropy, nll_loss, cross_entropy and their modules.

Every function takes one keyword more than PyTorch's: ``where``, booleans of shape (N,) or of the unreduced loss.
Entries where it is False count for nothing, neither in the sum nor in what a mean divides by: this is how the last,
padded batch of an epoch gives exactly the loss of its real examples.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .activation import log_softmax
from .checks import Reduction, index_in_range, is_concrete, probability, reduction_name, same_dtype, same_shape
from .loss_reduce import Loss as _Loss
from .loss_reduce import elementwise_weight, matching_pair, weight_like
from .loss_reduce import mask_like as _mask  # noqa: F401
from .loss_reduce import reduce_loss as _reduce


def mse_loss(
    input: jax.Array,
    target: jax.Array,
    reduction: Reduction = "mean",
    weight: jax.Array | None = None,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Squared error (x - y)², without a factor ½.

    Args:
        input: x, any shape.
        target: y, the same shape (PyTorch broadcasts with a warning; here it is an error).
        reduction: 'none', 'mean' or 'sum'.
        weight: multiplies each squared error; a mean then divides by its sum. The shape of `input`.
        where: which examples count; see the module's docstring.

    Raises:
        ValueError: shapes differ, or an unknown `reduction`.
        TypeError: dtypes differ or are not floating.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mse_loss.html
    """
    same_dtype("mse_loss", input=input, target=target, weight=weight)
    input, target = matching_pair("mse_loss", input, target, where)
    values = jnp.square(input - target)
    if weight is None:
        return _reduce(values, reduction, where, "mse_loss")
    weight = elementwise_weight("mse_loss", input, weight, where)
    return _reduce(values * weight, reduction, where, "mse_loss", weight)


# PyTorch's constant is a float32, also for float64 arrays: 9.99999996e-13.
_BCE_EPSILON = float(np.float32(1e-12))


@jax.custom_jvp
def _bce(input: jax.Array, target: jax.Array) -> jax.Array:
    # PyTorch clamps each logarithm at -100, so that the loss stays finite at 0 and 1.
    positive = jnp.maximum(jnp.log(input), -100.0)
    negative = jnp.maximum(jnp.log1p(-input), -100.0)
    return (target - 1) * negative - target * positive


@_bce.defjvp
def _bce_jvp(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    (x, y), (dx, dy) = primals, tangents
    # Not the derivative of the clamped formula: PyTorch bounds the denominator instead.
    slope = (x - y) / jnp.maximum((1 - x) * x, _BCE_EPSILON)
    return _bce(x, y), slope * dx + (jnp.log1p(-x) - jnp.log(x)) * dy


def binary_cross_entropy(
    input: jax.Array,
    target: jax.Array,
    weight: jax.Array | None = None,
    reduction: Reduction = "mean",
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """-w · (y·log x + (1 - y)·log(1 - x)), each logarithm clamped at -100.

    Args:
        input: x, probabilities, any shape.
        target: y in [0, 1], the same shape.
        weight: w, broadcast to `input`; a mean still divides by the number of elements.
        reduction: 'none', 'mean' or 'sum'.
        where: which examples count; see the module's docstring.

    Raises:
        ValueError: shapes differ, `input` or `target` outside [0, 1] (under jit the loss is NaN there), or an unknown
            `reduction`.
        TypeError: dtypes differ or are not floating.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy.html
    """
    same_dtype("binary_cross_entropy", input=input, target=target, weight=weight)
    input, target = matching_pair("binary_cross_entropy", input, target, where)
    weight = weight_like("binary_cross_entropy", "weight", weight, input.shape)
    valid = _in_unit_interval("input", input) & _in_unit_interval("target", target)
    values = jnp.where(valid, _bce(input, target), jnp.full_like(input, jnp.nan))
    return _reduce(values if weight is None else values * weight, reduction, where, "binary_cross_entropy")


def _in_unit_interval(name: str, array: jax.Array) -> jax.Array:
    if is_concrete(array):
        values = np.asarray(array)
        if (wrong := values[~((values >= 0) & (values <= 1))]).size:
            raise ValueError(f"binary_cross_entropy: {name} must lie in [0, 1], got {wrong[0]}")
    return (array >= 0) & (array <= 1)


def _class_weights(weight: jax.Array | None, classes: int, input: jax.Array, owner: str) -> jax.Array | None:
    if weight is not None and weight.shape != (classes,):
        raise ValueError(f"{owner}: weight must have one entry for each of the {classes} classes, got {weight.shape}")
    same_dtype(owner, input=input, weight=weight)
    return weight


def _class_axis(input: jax.Array, owner: str) -> int:
    if input.ndim == 0:
        raise ValueError(f"{owner}: input must be (C,), (N, C) or (N, C, …), got a scalar")
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise TypeError(f"{owner}: input must have a floating dtype, got {input.dtype}")
    return 0 if input.ndim == 1 else 1


def _along(axis: int, vector: jax.Array, ndim: int) -> jax.Array:
    """Lay `vector` along `axis` of an array with `ndim` axes."""
    return vector.reshape((1,) * axis + (-1,) + (1,) * (ndim - 1 - axis))


def _labels(
    input: jax.Array | jax.ShapeDtypeStruct,
    target: jax.Array,
    axis: int,
    ignore_index: int,
    where: jax.Array | None,
    owner: str,
) -> jax.Array:
    """Return the classes in a dtype that holds `ignore_index` too, checked as far as they can be seen."""
    wanted = input.shape[:axis] + input.shape[axis + 1 :]
    if input.ndim == 1 and target.shape == (1,):
        target = target.reshape(())
    if target.shape != wanted or not jnp.issubdtype(target.dtype, jnp.integer):
        raise ValueError(
            f"{owner}: target must be integer classes of shape {wanted} for input {input.shape}, "
            f"got {target.dtype} {target.shape}"
        )
    if is_concrete(target) and (where is None or is_concrete(where)):
        values = np.asarray(target)
        counted = values != ignore_index
        if where is not None and where.shape in (wanted, wanted[:1]):
            mask = np.asarray(where)
            counted = counted & mask.reshape(mask.shape + (1,) * (counted.ndim - mask.ndim))
        index_in_range(owner, "target", values[counted], 0, input.shape[axis])
    return target if target.dtype.itemsize >= 4 else target.astype(jnp.int32)


def nll_loss(
    input: jax.Array,
    target: jax.Array,
    weight: jax.Array | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Negative log-likelihood -w[y] · x[y]; a mean divides by Σ w[y].

    Args:
        input: x, log-probabilities (N, C), (N, C, d1, …) or (C,).
        target: y, classes 0 … C - 1 of shape (N,), (N, d1, …) or (). Under tracing, where it cannot be checked, a
            class outside this range (but for `ignore_index`) gives NaN.
        weight: w, (C,).
        ignore_index: targets of this value count for nothing.
        reduction: 'none', 'mean' or 'sum'.
        where: which examples count; see the module's docstring.

    Raises:
        ValueError: shapes or target's dtype do not fit, or an unknown `reduction`.
        TypeError: `input` is not floating, or `weight` has another dtype.
        IndexError: a class outside 0 … C - 1 where it can be seen: not under ``jax.jit``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.nll_loss.html
    """
    axis = _class_axis(input, "nll_loss")
    classes = input.shape[axis]
    class_weights = _class_weights(weight, classes, input, "nll_loss")
    target = _labels(input, target, axis, ignore_index, where, "nll_loss")
    kept = target != ignore_index
    in_range = (target >= 0) & (target < classes)
    # One-hot and a sum rather than a gather: its gradient is elementwise, and padding classes stay exact zeros.
    one_hot = jnp.expand_dims(target, axis) == _along(axis, jnp.arange(classes, dtype=target.dtype), input.ndim)
    picked = -jnp.where(one_hot, input, jnp.zeros_like(input)).sum(axis)
    picked = jnp.where(kept & ~in_range, jnp.full_like(picked, jnp.nan), picked)
    if class_weights is None:
        weights = kept.astype(input.dtype)
    else:
        weights = jnp.where(kept, class_weights[jnp.where(in_range, target, 0)], jnp.zeros_like(picked))
    values = jnp.where(kept, picked * weights, jnp.zeros_like(picked))
    return _reduce(values, reduction, where, "nll_loss", weights)


def cross_entropy(
    input: jax.Array,
    target: jax.Array,
    weight: jax.Array | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Cross-entropy of softmax(x) with classes or with probabilities.

    With p = softmax(x) and ε = `label_smoothing`:
    classes y: -(1 - ε)·w[y]·log p[y] - ε/C·Σ_c w[c]·log p[c], a mean divides by Σ w[y];
    probabilities q: -Σ_c w[c]·((1 - ε)·q[c] + ε/C)·log p[c], a mean divides by N (times d1·…).

    Args:
        input: x, logits (N, C), (N, C, d1, …) or (C,).
        target: classes of shape (N,), (N, d1, …) or (), or probabilities of the input's shape. Under tracing, where
            it cannot be checked, a class outside 0 … C - 1 (but for `ignore_index`) gives NaN.
        weight: w, (C,).
        ignore_index: class targets of this value count for nothing; negative beside probabilities.
        reduction: 'none', 'mean' or 'sum'.
        label_smoothing: ε in [0, 1].
        where: which examples count; see the module's docstring.

    Raises:
        ValueError: shapes or target's dtype do not fit, an unknown `reduction`, `label_smoothing` outside [0, 1], or
            an `ignore_index` of 0 or more beside probabilities.
        TypeError: `input` is not floating, or `weight` or probabilities have another dtype.
        IndexError: a class outside 0 … C - 1 where it can be seen: not under ``jax.jit``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html
    """
    reduction = reduction_name("cross_entropy", reduction)
    smoothing = probability("cross_entropy", "label_smoothing", label_smoothing)
    axis = _class_axis(input, "cross_entropy")
    classes = input.shape[axis]
    class_weights = _class_weights(weight, classes, input, "cross_entropy")
    log_probabilities = log_softmax(input, axis)
    spread = log_probabilities
    if class_weights is not None:
        spread = log_probabilities * _along(axis, class_weights, input.ndim)
    if jnp.issubdtype(target.dtype, jnp.floating):
        return _soft_cross_entropy(input, target, spread, axis, ignore_index, reduction, smoothing, where)
    target = _labels(input, target, axis, ignore_index, where, "cross_entropy")
    if smoothing == 0.0:
        return nll_loss(log_probabilities, target, weight, ignore_index, reduction, where=where)
    kept = target != ignore_index
    hard = nll_loss(log_probabilities, target, weight, ignore_index, "none", where=where)
    smooth = jnp.where(kept, -spread.sum(axis), jnp.zeros_like(hard))
    values = (1.0 - smoothing) * hard + smoothing / max(classes, 1) * smooth
    ones = jnp.ones(classes, input.dtype) if class_weights is None else class_weights
    weights = jnp.where(kept, ones[jnp.where(kept, target, 0)], jnp.zeros_like(hard))
    return _reduce(values, reduction, where, "cross_entropy", weights)


def _soft_cross_entropy(
    input: jax.Array,
    target: jax.Array,
    spread: jax.Array,
    axis: int,
    ignore_index: int,
    reduction: Reduction,
    smoothing: float,
    where: jax.Array | None,
) -> jax.Array:
    same_shape("cross_entropy", input, target)
    same_dtype("cross_entropy", input=input, target=target)
    if ignore_index >= 0:
        raise ValueError(f"cross_entropy: ignore_index must be negative beside probabilities, got {ignore_index}")
    smoothed = target * (1.0 - smoothing) + smoothing / max(input.shape[axis], 1)
    return _reduce(-(smoothed * spread).sum(axis), reduction, where, "cross_entropy")


class MSELoss(_Loss):
    """Squared error, its mean or its sum; see `mse_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        self.reduction = reduction_name("MSELoss", reduction)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of `input` against `target`."""
        return mse_loss(input, target, self.reduction, where=where)


class BCELoss(_Loss):
    """Binary cross-entropy of probabilities; see `binary_cross_entropy`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html
    """

    def __init__(self, weight: jax.Array | None = None, reduction: Reduction = "mean") -> None:
        self._set_weight(weight)
        self.reduction = reduction_name("BCELoss", reduction)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of `input` against `target`."""
        return binary_cross_entropy(input, target, self._get_weight(), self.reduction, where=where)


class NLLLoss(_Loss):
    """Negative log-likelihood of log-probabilities; see `nll_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html
    """

    def __init__(
        self, weight: jax.Array | None = None, ignore_index: int = -100, reduction: Reduction = "mean"
    ) -> None:
        self._set_weight(weight)
        self.ignore_index = ignore_index
        self.reduction = reduction_name("NLLLoss", reduction)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of `input` against `target`."""
        return nll_loss(input, target, self._get_weight(), self.ignore_index, self.reduction, where=where)


class CrossEntropyLoss(_Loss):
    """Cross-entropy of logits; see `cross_entropy`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
    """

    def __init__(
        self,
        weight: jax.Array | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        self._set_weight(weight)
        self.ignore_index = ignore_index
        self.reduction = reduction_name("CrossEntropyLoss", reduction)
        self.label_smoothing = probability("CrossEntropyLoss", "label_smoothing", label_smoothing)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of `input` against `target`."""
        return cross_entropy(
            input,
            target,
            self._get_weight(),
            self.ignore_index,
            self.reduction,
            self.label_smoothing,
            where=where,
        )
