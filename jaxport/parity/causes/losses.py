"""What ports do otherwise in losses: the loss is computed again from PyTorch's prediction and the target."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .case import Case, Hit
from .fit import error, explains, rounding, wide
from .run import tensor

_Number = Callable[[np.ndarray, np.ndarray], Any]
_Choice = tuple[str, str, _Number]
"""Rule, message, JAX's loss under that hypothesis."""


def loss_hits(case: Case) -> list[Hit]:
    """Return the changes of the loss that turn PyTorch's number into JAX's."""
    case = _as_loss(case)
    if case.kind != "loss" or case.ours.size != case.theirs.size:
        return []
    prediction = case.first_input
    if prediction is None or case.target is None:
        return _halved(case, 2)
    present = error(case.ours, case.theirs)
    present = present if math.isfinite(present) else 1.0
    for module in _modules(case):
        theirs = _value(module, prediction, case.target)
        if theirs is None or theirs.size != case.theirs.size:
            continue
        if error(theirs, wide(case.theirs).reshape(theirs.shape)) > rounding(case.theirs, prediction):
            continue
        hits = [hit for choice in _choices(module) if (hit := _try(choice, case, prediction, present))]
        if hits:
            return hits
    return _halved(case, 1)


def _as_loss(case: Case) -> Case:
    """Take a loss that was compared as a layer of prediction and target for what it is."""
    inputs = case.input
    if case.kind != "output" or case.torch is None or not isinstance(inputs, tuple) or len(inputs) != 2:
        return case
    is_loss = case.torch.kind.startswith("torch.nn.") and case.torch.name.endswith("Loss")
    return replace(case, kind="loss", input=inputs[0], target=inputs[1]) if is_loss else case


def _halved(case: Case, rank: int) -> list[Hit]:
    ours, theirs = float(wide(case.ours).ravel()[0]), float(wide(case.theirs).ravel()[0])
    if case.theirs.size == 1 and theirs and abs(ours / theirs - 0.5) < 1e-9:
        return [Hit("cause/half-square", "JAX's loss is exactly half of PyTorch's", "", 0.0, rank)]
    return []


def _try(choice: _Choice, case: Case, prediction: np.ndarray, present: float) -> Hit | None:
    rule, text, function = choice
    with np.errstate(all="ignore"):
        try:
            value = np.asarray(function(wide(prediction), np.asarray(case.target)))
        except (ValueError, IndexError, TypeError, RuntimeError):
            return None
    ours = wide(case.ours).reshape(value.shape) if value.size == case.ours.size else case.ours
    if not np.isfinite(ours).all():
        # NaN - NaN proves nothing; an infinite loss where PyTorch's is finite is what is to be explained.
        return Hit(rule, text, "", 0.0, 0) if np.array_equal(ours, value, equal_nan=True) else None
    left = explains(value, ours, present)
    return None if left is None else Hit(rule, text, "", left, 0)


def _value(module: Any, prediction: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    import torch

    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # KLDivLoss warns of its default
            return copy.deepcopy(module).double()(tensor(prediction), tensor(target)).numpy()
    except (RuntimeError, ValueError, IndexError):
        return None


def _modules(case: Case) -> Iterator[Any]:
    from torch import nn

    if case.torch is not None and isinstance(case.torch.module, nn.Module):
        yield case.torch.module
        return
    yield from (nn.CrossEntropyLoss(), nn.MSELoss(), nn.L1Loss(), nn.BCELoss(), nn.BCEWithLogitsLoss())
    yield from (nn.KLDivLoss(), nn.KLDivLoss(reduction="batchmean"), nn.SmoothL1Loss(), nn.HuberLoss(), nn.NLLLoss())


def _choices(module: Any) -> list[_Choice]:
    name = type(module).__name__
    choices = list(_FAMILIES[name](module)) if name in _FAMILIES else []
    return choices + [_other_reduction(module, other) for other in ("mean", "sum") if other != module.reduction]


def _other_reduction(module: Any, other: str) -> _Choice:
    changed = copy.deepcopy(module)
    changed.reduction = other
    rule = "cause/kl-reduction" if type(module).__name__ == "KLDivLoss" else "cause/factor"
    return rule, f"JAX's reduction is '{other}', PyTorch's '{module.reduction}'", _number(changed)


def _number(module: Any) -> _Number:
    def run(x: np.ndarray, y: np.ndarray) -> Any:
        value = _value(module, x, y)
        if value is None:
            raise ValueError("the loss takes no such arguments")
        return value

    return run


def _cross_entropy(module: Any) -> Iterator[_Choice]:
    from torch import nn

    weight, ignore, smoothing = module.weight, module.ignore_index, module.label_smoothing

    def each(**changes: Any) -> Any:
        settings = {"weight": weight, "ignore_index": ignore, "label_smoothing": smoothing} | changes
        if settings["weight"] is not None:
            settings["weight"] = settings["weight"].double()
        return nn.CrossEntropyLoss(**({"reduction": module.reduction} | settings))

    none = {"reduction": "none"}
    plain_mean = lambda x, y: _number(each(**none))(x, y).sum() / y.size  # noqa: E731
    if weight is not None:
        text = "JAX divides by the number of examples, PyTorch by the sum of their class weights"
        yield "cause/weighted-mean", text, plain_mean
        yield "cause/weighted-mean", "JAX does not use the class weights", _number(each(weight=None))
    hidden = lambda x, y: np.where(y == ignore, 0, y)  # noqa: E731
    text = f"JAX leaves out the ignored labels ({ignore}) of the sum, and divides by all"
    yield "cause/ignore-index", text, plain_mean
    text = f"JAX takes ignored labels ({ignore}) for class {{}}"
    classes: list[Callable[[np.ndarray, np.ndarray], np.ndarray]] = [hidden, lambda x, y: y % x.shape[1]]
    for label, replaced in zip((0, "label mod classes"), classes, strict=True):
        loss = _number(each(ignore_index=-(10**6)))
        yield "cause/ignore-index", text.format(label), lambda x, y, f=replaced, loss=loss: loss(x, f(x, y))
    if smoothing:
        yield "cause/label-smoothing", "JAX does not smooth the labels", _number(each(label_smoothing=0.0))
        text = "JAX spreads the smoothing over the other classes only, PyTorch over all"
        other = lambda x, y: _number(each(label_smoothing=smoothing * x.shape[1] / (x.shape[1] - 1)))(x, y)  # noqa: E731
        yield "cause/label-smoothing", text, other


def _squares(module: Any) -> Iterator[_Choice]:
    text = "JAX's squared error has a ½ (`optax.l2_loss`), PyTorch's has none"
    yield "cause/half-square", text, lambda x, y: _number(module)(x, y) / 2
    if module.reduction == "mean":
        summed = lambda x, y: ((x - wide(y)) ** 2).sum() / len(x)  # noqa: E731
        yield "cause/factor", "JAX sums over features and averages over examples, PyTorch averages over both", summed
        yield "cause/half-square", "JAX has a ½ and sums over features", lambda x, y: summed(x, y) / 2


def _binary(module: Any) -> Iterator[_Choice]:
    def unclamped(x: np.ndarray, y: np.ndarray) -> Any:
        values = -(y * np.log(x) + (1 - y) * np.log(1 - x))
        return values.mean() if module.reduction == "mean" else values.sum()

    yield "cause/log-clamp", "JAX takes the logarithm of 0, PyTorch clamps it at −100", unclamped
    for eps in (1e-7, 1e-8, 1e-12, 1e-15):
        clipped = lambda x, y, eps=eps: unclamped(np.clip(x, eps, 1 - eps), y)  # noqa: E731
        yield "cause/log-clamp", f"JAX clips probabilities to {eps:g}, PyTorch logarithms to −100", clipped


def _divergence(module: Any) -> Iterator[_Choice]:
    for other in ("batchmean", "sum", "mean"):
        if other != module.reduction:
            yield _other_reduction(module, other)
    swapped = copy.deepcopy(module)
    swapped.log_target = not module.log_target
    yield "cause/kl-reduction", f"JAX takes log_target={swapped.log_target}", _number(swapped)


def _smooth(module: Any) -> Iterator[_Choice]:
    from torch import nn

    is_huber = isinstance(module, nn.HuberLoss)
    size = float(module.delta if is_huber else module.beta)
    names = ("Huber(delta)", "SmoothL1(beta)") if not is_huber else ("SmoothL1(beta)", "Huber(delta)")
    text = f"JAX's is {names[0]}, PyTorch's {names[1]}: a factor of {size:g}"
    factor = 1.0 / size if is_huber else size
    yield "cause/huber", text, lambda x, y: _number(module)(x, y) * factor
    one = nn.HuberLoss(delta=1.0, reduction=module.reduction)
    yield "cause/huber", f"JAX's delta is 1, PyTorch's {size:g}", _number(one)


_FAMILIES: dict[str, Callable[[Any], Iterator[_Choice]]] = {
    "CrossEntropyLoss": _cross_entropy,
    "MSELoss": _squares,
    "BCELoss": _binary,
    "KLDivLoss": _divergence,
    "SmoothL1Loss": _smooth,
    "HuberLoss": _smooth,
}
