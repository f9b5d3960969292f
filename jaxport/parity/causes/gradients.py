"""Gradients that differ where a function has no derivative, and rows of embeddings that get none."""

from __future__ import annotations

import numpy as np

from .case import Case, Hit
from .fit import error, scale, wide

_KINDS = ("input_gradient", "activation_gradient")


def _apart(case: Case) -> np.ndarray | None:
    """Return where the two differ, None if shapes do."""
    if case.ours.shape != case.theirs.shape:
        return None
    ours, theirs = wide(case.ours), wide(case.theirs)
    return ~(np.abs(ours - theirs) <= 1e-6 * scale(theirs))  # NaN is apart


def tie_hits(case: Case) -> list[Hit]:
    """Differences only among equal largest values of one axis, whose gradients have the same sum."""
    value, apart = case.first_input, _apart(case)
    if case.kind not in _KINDS or value is None or apart is None or value.shape != apart.shape or not apart.any():
        return []
    ours, theirs, x = wide(case.ours), wide(case.theirs), wide(value)
    for axis in range(x.ndim):
        for word, extreme in (("largest", x.max(axis, keepdims=True)), ("smallest", x.min(axis, keepdims=True))):
            tied = x == extreme
            tied &= tied.sum(axis, keepdims=True) > 1
            if (apart & ~tied).any() or error(ours.sum(axis), theirs.sum(axis)) > 1e-6:
                continue
            shares = np.where(tied, ours, 0.0).sum(axis, keepdims=True) / np.maximum(tied.sum(axis, keepdims=True), 1)
            if np.abs(np.where(tied, ours - shares, 0.0)).max() <= 1e-6 * scale(theirs):
                text = f"JAX splits the gradient among equal {word} values of axis {axis}, PyTorch gives it to one"
                return [Hit("cause/tied-maximum", text, "", 0.0, 0)]
            text = f"the gradient goes to other ones of the equal {word} values of axis {axis}"
            return [Hit("cause/tied-maximum", text, "", 0.0, 1)]
    return []


def kink_hits(case: Case) -> list[Hit]:
    """Differences at all elements of one value (0, or a bound), or NaN where a whole vector is 0."""
    value, apart = case.first_input, _apart(case)
    if case.kind not in _KINDS or value is None or apart is None or value.shape != apart.shape or not apart.any():
        return []
    x, ours, theirs = wide(value), wide(case.ours), wide(case.theirs)
    bad = ~np.isfinite(ours)
    if bad.any() and np.isfinite(theirs).all() and not (apart & ~bad).any() and (x[bad] == 0.0).all():
        text = "JAX's gradient is NaN exactly where the input is 0, PyTorch's is finite: a norm or root at 0"
        return [Hit("cause/norm-at-zero", text, "", 0.0, 0)]
    where = np.unique(x[apart])
    if len(where) > 2 or bad.any() or apart.sum() == apart.size:
        return []
    # All elements of that value must differ where any gradient arrives: single elements may do so by chance.
    arrives = (ours != 0.0) | (theirs != 0.0)
    if (np.isin(x, where) & arrives & ~apart).any() or (apart.sum() < 2 and 0.0 not in where):
        return []
    if not all(_proportional(ours[apart & (x == w)], theirs[apart & (x == w)]) for w in where):
        return []
    points = ", ".join(f"{w:g}" for w in where)
    text = f"gradients differ exactly where the input is {points}: {_share(ours[apart], theirs[apart])}"
    return [Hit("cause/kink", text, "", 0.0, 1)]


def _proportional(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether one side is a constant times the other: at a kink both are that of what arrives from behind."""
    if not ours.any() or not theirs.any():
        return True
    factor = float(ours @ theirs) / float(theirs @ theirs)
    return error(ours, factor * theirs) <= 1e-6


def _share(ours: np.ndarray, theirs: np.ndarray) -> str:
    if not theirs.any():
        return "PyTorch's is 0 there"
    if not ours.any():
        return "JAX's is 0 there"
    with np.errstate(all="ignore"):
        ratio = float(np.median(ours / theirs))
    return f"JAX's is {ratio:.3g} times PyTorch's there"


def embedding_hits(case: Case) -> list[Hit]:
    """A gradient that differs in one row only, which is zero in PyTorch: padding_idx."""
    apart = _apart(case)
    if case.kind != "gradient" or apart is None or apart.ndim != 2 or not apart.any():
        return []
    rows = np.flatnonzero(apart.any(1))
    index = (case.torch.settings if case.torch else {}).get("padding_idx")
    if len(rows) == 1 and not case.theirs[rows[0]].any() and index is not None and rows[0] == index % len(apart):
        text = f"row {rows[0]} (padding_idx) gets a gradient in JAX and none in PyTorch"
        return [Hit("cause/padding-idx", text, "", 0.0, 0)]
    return []


def index_hits(case: Case) -> list[Hit]:
    """Rows of an embedding that are NaN, or another row, exactly for the indices beyond a limit."""
    ids, table = case.first_input, case.arrays.get("weight")
    apart = _apart(case)
    if case.kind != "output" or ids is None or ids.dtype.kind not in "iu" or table is None or table.ndim != 2:
        return []
    if apart is None or case.ours.shape[:-1] != ids.shape or not apart.any():
        return []
    wrong = apart.any(-1)
    limit = int(ids[wrong].min())
    if (wrong != (ids >= limit)).any():
        return []
    rows, text = case.ours[wrong], f"JAX's rows are wrong exactly for the indices from {limit} on"
    if np.isnan(rows).all():
        return [Hit("cause/index-out-of-range", f"{text}: NaN, its table ends there", "", 0.0, 0)]
    if limit and error(rows, np.broadcast_to(table[limit - 1], rows.shape)) <= 1e-6:
        return [Hit("cause/index-out-of-range", f"{text}: it takes row {limit - 1}, its table ends there", "", 0.0, 0)]
    return []
