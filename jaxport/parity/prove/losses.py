"""Mistakes in losses and reductions."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.nn import functional as F

from .patching import UNCHANGED, Mistake, Patches


def _cross_entropy(p: Patches, change: Any) -> None:
    """Replace the cross-entropy; `change` gets (right, input, target, settings) and returns the loss."""
    names = ("weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing")
    defaults = (None, None, -100, None, "mean", 0.0)

    def wrong(right: Any, input: Any, target: Any, *args: Any, **named: Any) -> Any:
        settings = dict(zip(names, defaults, strict=True)) | dict(zip(names, args, strict=False)) | named
        return change(right, input, target, settings)

    p.function(F, "cross_entropy", wrong)


def _label_smoothing(p: Patches) -> None:
    def change(right: Any, x: Any, y: Any, settings: Any) -> Any:
        return right(x, y, **settings | {"label_smoothing": 0.0}) if settings["label_smoothing"] else UNCHANGED

    _cross_entropy(p, change)


def _weighted_mean(p: Patches) -> None:
    def change(right: Any, x: Any, y: Any, settings: Any) -> Any:
        if settings["weight"] is None or settings["reduction"] != "mean":
            return UNCHANGED
        return right(x, y, **settings | {"reduction": "none"}).mean()

    _cross_entropy(p, change)


def _class_weights(p: Patches) -> None:
    def change(right: Any, x: Any, y: Any, settings: Any) -> Any:
        return UNCHANGED if settings["weight"] is None else right(x, y, **settings | {"weight": None})

    _cross_entropy(p, change)


def _ignored_counted(p: Patches) -> None:
    def change(right: Any, x: Any, y: Any, settings: Any) -> Any:
        if settings["reduction"] != "mean" or y.is_floating_point():
            return UNCHANGED
        if settings["weight"] is not None or not bool((y == settings["ignore_index"]).any()):
            return UNCHANGED
        return right(x, y, **settings | {"reduction": "sum"}) / y.numel()

    _cross_entropy(p, change)


def _summed(p: Patches) -> None:
    def wrong(right: Any, input: Any, target: Any, *args: Any, **named: Any) -> Any:
        loss = right(input, target, *args, **named)
        return loss * input.shape[0] if loss.ndim == 0 and input.ndim else UNCHANGED

    for name in ("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "binary_cross_entropy_with_logits"):
        p.function(F, name, wrong)


def _probabilities_as_logits(p: Patches) -> None:
    def change(right: Any, x: Any, y: Any, settings: Any) -> Any:
        return right(x.softmax(1 if x.ndim > 1 else 0), y, **settings)

    _cross_entropy(p, change)


def _half(p: Patches) -> None:
    p.function(F, "mse_loss", lambda right, *args, **named: 0.5 * right(*args, **named))


def _reduced(loss: torch.Tensor, weight: Any, reduction: str) -> torch.Tensor:
    loss = loss if weight is None else loss * weight
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def _bce(p: Patches, logarithms: Any) -> None:
    def wrong(
        right: Any, input: Any, target: Any, weight: Any = None, a: Any = None, b: Any = None, reduction: str = "mean"
    ) -> Any:
        of, of_rest = logarithms(input)
        return _reduced(-(target * of + (1.0 - target) * of_rest), weight, reduction)

    p.function(F, "binary_cross_entropy", wrong)


def _bce_epsilon(p: Patches) -> None:
    _bce(p, lambda x: ((x + 1e-7).log(), (1.0 - x + 1e-7).log()))


def _bce_unclamped(p: Patches) -> None:
    def wrong(
        right: Any, input: Any, target: Any, weight: Any = None, a: Any = None, b: Any = None, reduction: str = "mean"
    ) -> Any:
        if not bool(((input == 0) | (input == 1)).any()):
            return UNCHANGED
        return _reduced(-(target * input.log() + (1.0 - target) * (1.0 - input).log()), weight, reduction)

    p.function(F, "binary_cross_entropy", wrong)


def _pos_weight(p: Patches) -> None:
    def wrong(right: Any, input: Any, target: Any, *args: Any, pos_weight: Any = None, **named: Any) -> Any:
        return UNCHANGED if pos_weight is None else right(input, target, *args, **named)

    p.function(F, "binary_cross_entropy_with_logits", wrong)


def _kl_reduction(p: Patches) -> None:
    other = {"batchmean": "mean", "mean": "batchmean"}

    def wrong(
        right: Any,
        input: Any,
        target: Any,
        a: Any = None,
        b: Any = None,
        reduction: str = "mean",
        *rest: Any,
        **named: Any,
    ) -> Any:
        if reduction not in other:
            return UNCHANGED
        with warnings.catch_warnings():  # a suite that fails because PyTorch warns of 'mean' has found nothing
            warnings.simplefilter("ignore")
            return right(input, target, a, b, other[reduction], *rest, **named)

    p.function(F, "kl_div", wrong)


def _smooth_beta(p: Patches) -> None:
    def wrong(
        right: Any, input: Any, target: Any, a: Any = None, b: Any = None, reduction: str = "mean", beta: float = 1.0
    ) -> Any:
        return F.huber_loss(input, target, reduction, beta) if beta > 0 else UNCHANGED

    p.function(F, "smooth_l1_loss", wrong)


def _ddof(p: Patches) -> None:
    def wrong(right: Any, input: Any, *args: Any, **named: Any) -> Any:
        if "correction" in named or "unbiased" in named or (args and args[0] is False):
            return UNCHANGED
        dims = args[0] if args and not isinstance(args[0], bool) else named.get("dim")
        keep = {"keepdim": True} if named.get("keepdim") else {}
        return right(input, dim=dims, correction=0, **keep)

    for name in ("var", "std"):
        p.everywhere(name, wrong)


def _median(p: Patches) -> None:
    def wrong(right: Any, input: Any, *args: Any, **named: Any) -> Any:
        return UNCHANGED if args or named else input.reshape(-1).quantile(0.5)

    p.everywhere("median", wrong)


MISTAKES = (
    Mistake("label-smoothing-lost", 24, "cross-entropy without its label smoothing", _label_smoothing),
    Mistake("weighted-mean", 24, "weighted cross-entropy divided by the number of examples", _weighted_mean),
    Mistake("class-weights-lost", 24, "cross-entropy without its weights", _class_weights),
    Mistake("ignored-counted", 24, "ignored targets count in cross-entropy's mean", _ignored_counted),
    Mistake("loss-summed", None, "the loss is summed over the batch", _summed),
    Mistake("softmax-twice", 24, "cross-entropy of probabilities", _probabilities_as_logits),
    Mistake("mse-half", 25, "one half in front of the squared error", _half),
    Mistake("bce-epsilon", 26, "1e-7 inside binary cross-entropy's logarithms", _bce_epsilon),
    Mistake("bce-unclamped", 26, "binary cross-entropy's logarithm is not clamped at -100", _bce_unclamped),
    Mistake("pos-weight-lost", None, "binary cross-entropy of logits without pos_weight", _pos_weight),
    Mistake("kl-reduction", 27, "KL divergence: 'mean' for 'batchmean', or the other way round", _kl_reduction),
    Mistake("smooth-l1-beta", 27, "SmoothL1 is Huber's loss, not divided by beta", _smooth_beta),
    Mistake("ddof", 20, "variance and deviation with ddof 0", _ddof),
    Mistake("median-of-two", 20, "the median is the mean of the middle two", _median),
)
