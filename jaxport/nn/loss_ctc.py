"""Connectionist temporal classification: ctc_loss and CTCLoss."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .checks import Reduction, index_in_range, is_concrete, reduction_name
from .ctc_lattice import INF, backward, emitted_log_probs, forward, lattice
from .module import Module

Lengths = jax.Array | np.ndarray | tuple[int, ...] | list[int] | int


def _losses(
    log_probs: jax.Array, labels: jax.Array, lengths: jax.Array, targets: jax.Array, blank: int
) -> tuple[jax.Array, ...]:
    path, skip = lattice(labels, blank)
    emitted = emitted_log_probs(log_probs, path)
    final, alphas = forward(emitted, skip, lengths)
    last = lax.broadcasted_iota(targets.dtype, final.shape, 1)
    ends = (last == 2 * targets[:, None]) | (last == 2 * targets[:, None] - 1)
    ended = jnp.where(ends, final, jnp.full_like(final, -INF))
    top = jnp.max(ended, axis=1)
    safe = lax.stop_gradient(jnp.where(jnp.isfinite(top), top, jnp.zeros_like(top)))
    loss = -(jnp.log(jnp.exp(ended - safe[:, None]).sum(1)) + safe)
    return loss, alphas, emitted, path, skip


def _without_infinity(loss: jax.Array, zero_infinity: bool) -> jax.Array:
    return jnp.where(loss == INF, jnp.zeros_like(loss), loss) if zero_infinity else loss


@functools.partial(jax.custom_jvp, nondiff_argnums=(4, 5))
def _ctc(
    log_probs: jax.Array, labels: jax.Array, lengths: jax.Array, targets: jax.Array, blank: int, zero_infinity: bool
) -> jax.Array:
    """Return -log P(labels) of each sequence, (N,)."""
    return _without_infinity(_losses(log_probs, labels, lengths, targets, blank)[0], zero_infinity)


@_ctc.defjvp
def _ctc_jvp(
    blank: int, zero_infinity: bool, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[jax.Array, jax.Array]:
    """The slope is exp(log_probs) - P(label c at t | labels).

    That is the derivative by the logits under a log_softmax; only the second part is the derivative by log_probs.
    PyTorch gives the whole, and log_softmax's own gradient leaves it as it is.
    """
    log_probs, labels, lengths, targets = primals
    loss, alphas, emitted, path, skip = _losses(log_probs, labels, lengths, targets, blank)
    betas = backward(emitted, skip, lengths, targets)
    posterior = jnp.exp(alphas + betas + jnp.where(jnp.isfinite(loss), loss, 0.0).astype(loss.dtype)[None, :, None])
    rows = jnp.zeros((*log_probs.shape[1:], log_probs.shape[0]), log_probs.dtype)
    add = jax.vmap(lambda row, labels, values: row.at[labels].add(values, mode="drop"))
    occupied = add(rows, path, posterior.transpose(1, 2, 0)).transpose(2, 0, 1)
    slope = jnp.exp(log_probs) - occupied
    beyond = jnp.where((loss == INF) & zero_infinity, 0.0, jnp.nan).astype(slope.dtype)
    slope = jnp.where(jnp.isfinite(loss)[None, :, None], slope, jnp.broadcast_to(beyond[None, :, None], slope.shape))
    counted = lax.iota(lengths.dtype, log_probs.shape[0])[:, None] < lengths[None, :]
    slope = jnp.where(counted[:, :, None], slope, jnp.zeros_like(slope))
    return _without_infinity(loss, zero_infinity), (slope * tangents[0]).sum((0, 2))


def _lengths(name: str, value: Lengths, batch: int, most: int) -> Any:
    """Return checked lengths, in NumPy where they can be seen, so that they can be under ``jax.jit`` too."""
    array: Any = value if isinstance(value, jax.Array) else np.asarray(value)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"ctc_loss: {name} must be integers, got {array.dtype}")
    if array.shape != (batch,):
        raise ValueError(f"ctc_loss: {name} must have one entry for each of {batch} sequences, got shape {array.shape}")
    if is_concrete(array):
        values = np.asarray(array)
        if values.min() < 0 or values.max() > most:
            raise ValueError(f"ctc_loss: {name} must lie in [0, {most}], got {values.tolist()}")
        return values.astype(np.int32)
    return jnp.asarray(array, jnp.int32)


def _padded(targets: jax.Array, lengths: Any) -> jax.Array:
    """Lay targets that come one after the other side by side, (N, S); S is the longest as far as that can be seen."""
    longest = int(np.asarray(lengths).max()) if is_concrete(lengths) else targets.size
    starts = jnp.cumsum(lengths) - lengths
    place = starts[:, None] + lax.iota(lengths.dtype, longest)[None, :]
    return targets.at[place].get(mode="clip") if targets.size else jnp.zeros(place.shape, targets.dtype)


def _labels(targets: jax.Array, lengths: Any, classes: int, blank: int) -> jax.Array:
    """Return (N, S) labels: those beyond a sequence's length are blanks, those that are no class give NaN."""
    beyond = lax.broadcasted_iota(jnp.int32, targets.shape, 1) >= lengths[:, None]
    outside = (targets < 0) | (targets >= classes)
    if is_concrete(targets) and is_concrete(lengths):
        counted = np.arange(targets.shape[1])[None, :] < np.asarray(lengths)[:, None]
        index_in_range("ctc_loss", "targets", np.asarray(targets)[counted], 0, classes)
    labels = jnp.where(outside, jnp.asarray(classes, targets.dtype), targets)
    return jnp.where(beyond, jnp.asarray(blank, targets.dtype), labels)


def ctc_loss(
    log_probs: jax.Array,
    targets: jax.Array,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: Reduction = "mean",
    zero_infinity: bool = False,
) -> jax.Array:
    """Negative log-probability of label sequences, summed over all ways to place them in time.

    -log Σ Π_t exp(log_probs[t, n, π_t]) over the paths π that give `targets` when repeated labels are merged and
    blanks are taken out.

    Args:
        log_probs: (T, N, C) or (T, C), as log_softmax gives them. The gradient supposes that they come from one: it is
            that by the logits, as in PyTorch. Half precision is computed in float32.
        targets: labels (N, S), those beyond a sequence's length without meaning, or (Σ target_lengths,), one sequence
            after the other; (S,) for one sequence. Under tracing, where it cannot be checked, a label outside
            0 … C - 1 gives NaN.
        input_lengths: (N,) numbers of frames that count, each at most T.
        target_lengths: (N,) numbers of labels.
        blank: the class that stands for no label.
        reduction: 'none', 'sum', or 'mean': each loss divided by its number of labels (at least 1), then the mean.
        zero_infinity: whether a target that cannot be placed in its frames counts 0 and has gradient 0; if not its
            loss is inf and its gradient NaN.

    Returns:
        A scalar, or (N,) losses, or () for one sequence.

    Raises:
        ValueError: shapes, lengths, `blank` or `reduction` do not fit.
        TypeError: `log_probs` is not floating, or targets or lengths are not integers.
        IndexError: a label outside 0 … C - 1 where it can be seen: not under ``jax.jit``.

    Differs from PyTorch: the gradient at a log-probability of -inf is 0 where PyTorch gives NaN; labels that are no
    class are refused.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.ctc_loss.html
    """
    reduction_name("ctc_loss", reduction)
    if log_probs.ndim not in (2, 3) or log_probs.size == 0:
        raise ValueError(f"ctc_loss: log_probs must be (T, N, C) or (T, C), not empty, got shape {log_probs.shape}")
    if not jnp.issubdtype(log_probs.dtype, jnp.floating):
        raise TypeError(f"ctc_loss: log_probs must have a floating dtype, got {log_probs.dtype}")
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"ctc_loss: targets must be integers, got {targets.dtype}")
    if not 0 <= blank < log_probs.shape[-1]:
        raise ValueError(f"ctc_loss: blank must lie in [0, {log_probs.shape[-1] - 1}], got {blank}")
    single = log_probs.ndim == 2
    losses, lengths = _batched(log_probs, targets, input_lengths, target_lengths, blank, zero_infinity)
    match reduction:
        case "none":
            return losses[0] if single else losses
        case "sum":
            return losses.sum()
        case "mean":
            return (losses / jnp.maximum(jnp.asarray(lengths), 1).astype(losses.dtype)).mean()


def _batched(
    log_probs: jax.Array,
    targets: jax.Array,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    zero_infinity: bool,
) -> tuple[jax.Array, Any]:
    if log_probs.ndim == 2:
        log_probs = log_probs[:, None]
        input_lengths, target_lengths = (
            jnp.reshape(x, -1) if isinstance(x, jax.Array) else np.reshape(np.asarray(x), -1)
            for x in (input_lengths, target_lengths)
        )
    frames, batch, classes = log_probs.shape
    if targets.ndim not in (1, 2) or (targets.ndim == 2 and targets.shape[0] != batch):
        raise ValueError(f"ctc_loss: targets must be ({batch}, S) or the labels in a row, got shape {targets.shape}")
    inputs = _lengths("input_lengths", input_lengths, batch, frames)
    wanted = _lengths("target_lengths", target_lengths, batch, targets.shape[-1])
    if targets.ndim == 1 and is_concrete(wanted) and int(np.asarray(wanted).sum()) != targets.size:
        raise ValueError(
            f"ctc_loss: targets must have the {int(np.asarray(wanted).sum())} labels of target_lengths, "
            f"got {targets.size}"
        )
    targets = targets.astype(jnp.int32)
    labels = _labels(targets if targets.ndim == 2 else _padded(targets, wanted), wanted, classes, blank)
    dtype = log_probs.dtype
    wide = log_probs.astype(jnp.float32 if dtype.itemsize < 4 else dtype)
    return _ctc(wide, labels, inputs, wanted, blank, bool(zero_infinity)).astype(dtype), wanted


class CTCLoss(Module):
    """Connectionist temporal classification; see `ctc_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CTCLoss.html
    """

    def __init__(self, blank: int = 0, reduction: Reduction = "mean", zero_infinity: bool = False) -> None:
        self.blank = blank
        self.reduction: Reduction = reduction_name("CTCLoss", reduction)
        self.zero_infinity = zero_infinity

    def forward(
        self, log_probs: jax.Array, targets: jax.Array, input_lengths: Lengths, target_lengths: Lengths
    ) -> jax.Array:
        """Return the loss of log-probabilities (T, N, C) against label sequences."""
        return ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
