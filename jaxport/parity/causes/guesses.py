"""What stands between two PyTorch tensors where no module does: functions that lead from one to the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

from . import variants_gap, variants_pool, variants_simple
from .case import Case
from .fit import error, rounding, wide
from .run import Runner, Variant

Guess = tuple[Callable[..., np.ndarray], list[Variant]]

_MOST = 2_000_000
"""Larger tensors are not guessed at: every candidate is computed."""


def guesses(before: np.ndarray, goal: np.ndarray | None, case: Case) -> Iterator[Guess]:
    """Return the functions that lead from `before` to `goal`, each with what may stand in its place."""
    if goal is None or before.dtype.kind != "f" or before.size > _MOST:
        return
    for make in _modules(before, goal):
        made = _fitting(make, before, goal)
        if made is not None:
            yield made, _variants(made, case)
    for function, variants in _reductions(before, goal):
        if error(function(before), goal) <= rounding(before, goal):
            yield function, variants


def _fitting(make: Callable[[], Any], before: np.ndarray, goal: np.ndarray) -> Runner | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = Runner(make().double())
            return made if error(made(before), goal) <= rounding(before, goal) else None
        except (RuntimeError, ValueError, IndexError, NotImplementedError, AssertionError):
            return None


def _variants(made: Runner, case: Case) -> list[Variant]:
    name = type(made.module).__name__
    families = (variants_gap, variants_pool, variants_simple)
    family = next(family for family in families if name in family.NAMES)
    return family.variants(made, case)


def _modules(before: np.ndarray, goal: np.ndarray) -> Iterator[Callable[[], Any]]:
    from torch import nn

    if before.shape == goal.shape:
        yield from (getattr(nn, name) for name in variants_gap.ACTIVATIONS if name != "Identity")
        yield lambda: nn.GELU(approximate="tanh")
        for axis in range(before.ndim):
            yield lambda axis=axis: nn.Softmax(axis)
            yield lambda axis=axis: nn.LogSoftmax(axis)
    elif before.ndim > 2 and goal.ndim < before.ndim and before.size == goal.size:
        yield nn.Flatten
    elif before.ndim == goal.ndim and before.ndim in (3, 4, 5) and before.shape[:2] == goal.shape[:2]:
        yield from _spatial(before, goal)


def _spatial(before: np.ndarray, goal: np.ndarray) -> Iterator[Callable[[], Any]]:
    from torch import nn

    n, size = before.ndim - 2, goal.shape[2:]
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[n]
    for mode in ("nearest", "nearest-exact", linear, *(["bicubic"] if n == 2 else [])):
        for corners in (None,) if "nearest" in mode else (False, True):
            yield lambda mode=mode, corners=corners: nn.Upsample(size, mode=mode, align_corners=corners)
    for kind in ("Avg", "Max"):
        pool = getattr(nn, f"{kind}Pool{n}d")
        for k in range(2, 6):
            for stride in dict.fromkeys((k, 2, 1, 3)):
                for padding in range(k // 2 + 1):
                    yield lambda pool=pool, k=k, s=stride, p=padding: pool(k, s, p)


def _reductions(before: np.ndarray, goal: np.ndarray) -> Iterator[Guess]:
    """Yield var, std, standardising and median over one axis or several."""
    x = wide(before)
    for count in (1, 2, 3):
        for axes in combinations(range(x.ndim), count) if count < x.ndim or x.ndim == 1 else ():
            if x.shape == goal.shape:
                yield _with_ddof("standardising", axes, _standard)
                continue
            kept = x.mean(axes, keepdims=True).shape
            if goal.shape in (kept, x.mean(axes).shape):
                keep = goal.shape == kept
                yield _with_ddof("var", axes, lambda x, axes, ddof, k=keep: x.var(axes, ddof=ddof, keepdims=k))
                yield _with_ddof("std", axes, lambda x, axes, ddof, k=keep: x.std(axes, ddof=ddof, keepdims=k))
                if count == 1:
                    yield _median(axes[0], keep)


def _standard(x: np.ndarray, axes: tuple[int, ...], ddof: int) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (x - x.mean(axes, keepdims=True)) / x.std(axes, ddof=ddof, keepdims=True)


def _with_ddof(word: str, axes: tuple[int, ...], function: Callable[..., np.ndarray]) -> Guess:
    text = f"JAX's {word} over axes {axes} divides by n, PyTorch's by n − 1"
    other = f"JAX's {word} over axes {axes} divides by n − 1, PyTorch's by n"

    def run(ddof: int) -> Callable[..., np.ndarray]:
        def computed(x: np.ndarray) -> np.ndarray:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                return function(wide(x), axes, ddof)

        return computed

    return run(1), [Variant("cause/ddof", text, run(0)), Variant("cause/ddof", other, run(1))]


def _median(axis: int, keep: bool) -> Guess:
    def lower(x: np.ndarray) -> np.ndarray:
        middle = np.take(np.sort(x, axis), (x.shape[axis] - 1) // 2, axis)
        return np.expand_dims(middle, axis) if keep else middle

    text = f"JAX's median over axis {axis} is the mean of the middle two, PyTorch's the lower one"
    return lower, [Variant("cause/median", text, lambda x: np.median(x, axis, keepdims=keep))]
