"""Running statistics: momentum, its meaning, and the unbiased variance."""

from __future__ import annotations

import numpy as np

from .case import Case, Hit
from .fit import error, explains, rounding, wide


def buffer_hits(case: Case) -> list[Hit]:
    """What was added to running_mean or running_var is a constant multiple of what PyTorch added."""
    known = case.kind == "buffer" and case.previous is not None and case.ours.shape == case.theirs.shape
    if not known or case.name.rsplit(".", 1)[-1] not in ("running_mean", "running_var"):
        return []
    old = wide(case.previous)  # type: ignore[arg-type]
    settings = case.torch.settings if case.torch else {}
    momentum = settings.get("momentum", 0.1)
    present = error(case.ours, case.theirs)
    if error(case.ours, old) <= rounding(case.ours) and error(case.theirs, old) > 1e-6:
        text = "JAX's running statistics did not move: the layer ran in evaluation mode, or its update was lost"
        return [Hit("cause/train-mode", text, "use the updated batch statistics that the step returns", 0.0, 0)]
    weight = momentum if momentum is not None else 1.0 / (case.step or 1)
    # PyTorch: new = (1 - w) old + w batch
    batch = (wide(case.theirs) - (1.0 - weight) * old) / weight
    if momentum is None:
        return _cumulative(case, old, batch, present)
    return _unbiased(case, old, batch, weight, present) or _momentum(case, old, batch, weight, present)


def _count(case: Case) -> list[int]:
    """Return the possible numbers of elements of one channel, the known ones first."""
    x = case.first_input
    return [x.size // x.shape[1]] if x is not None and x.ndim > 1 else list(range(2, 4097))


def _biased(case: Case, batch: np.ndarray) -> list[tuple[int, np.ndarray]]:
    if not case.name.endswith("running_var"):
        return []
    return [(n, batch * (n - 1) / n) for n in _count(case)]


def _unbiased(case: Case, old: np.ndarray, batch: np.ndarray, weight: float, present: float) -> list[Hit]:
    for n, biased in _biased(case, batch):
        left = explains((1.0 - weight) * old + weight * biased, case.ours, present)
        if left is not None:
            text = f"JAX stores the biased variance, PyTorch n/(n−1) times it, n = {n}"
            return [Hit("cause/unbiased-variance", text, "", left, 0)]
    return []


def _momentum(case: Case, old: np.ndarray, batch: np.ndarray, weight: float, present: float) -> list[Hit]:
    found = _solved(case, old, batch, present)
    if found is None:
        return []
    share, left, biased = found
    told = case.setting("momentum")
    meant = f" (momentum={told} is the weight of the old value there)" if isinstance(told, float) else ""
    text = f"JAX gives the new value the weight {share:.6g}{meant}, PyTorch {weight:g}"
    hits = [Hit("cause/momentum", text, f"momentum={1.0 - weight:g}", left, 0)]
    if biased:
        hits.append(Hit("cause/unbiased-variance", "JAX stores the biased variance too", "", left, 0))
    return hits


def _cumulative(case: Case, old: np.ndarray, batch: np.ndarray, present: float) -> list[Hit]:
    found = _solved(case, old, batch, present)
    if found is None:
        return []
    text = f"PyTorch averages all batches alike (momentum=None), JAX gives the new one the weight {found[0]:.6g}"
    return [Hit("cause/cumulative-average", text, "", found[1], 0)]


def _solved(case: Case, old: np.ndarray, batch: np.ndarray, present: float) -> tuple[float, float, bool] | None:
    """Return (JAX's weight of the new value, the error that is left, whether its variance is the biased one)."""
    if old.size < 2:
        return None
    for value, biased in ((batch, False), *((value, True) for _, value in _biased(case, batch)[:1])):
        step = value - old
        size = float(step.ravel() @ step.ravel())
        if size == 0.0:
            continue
        share = float(step.ravel() @ (wide(case.ours) - old).ravel()) / size
        left = explains(old + share * step, case.ours, present)
        if left is not None and 0.0 < share <= 1.0:
            return share, left, biased
    return None


def fast_variance_hits(case: Case) -> list[Hit]:
    """A norm whose variance has the error of E[x²] − E[x]²: eps of the dtype times mean², the same in a channel."""
    x, layer = case.first_input, case.torch
    if case.kind != "output" or x is None or layer is None or "Norm" not in layer.name:
        return []
    if case.ours.shape != case.theirs.shape or case.ours.dtype.kind != "f" or x.shape != case.ours.shape:
        return []
    if case.setting("use_fast_variance") is False:
        return []
    groups = _groups(case, wide(x))
    if groups is None:
        return []
    values, ours, theirs = groups
    mean, variance = values.mean(1), values.var(1)
    size = (ours**2).sum(1)
    with np.errstate(all="ignore"):
        # One factor a channel: ours = k theirs, where k² = (variance + eps) / (JAX's variance + eps).
        k = (ours * theirs).sum(1) / (theirs**2).sum(1)
        left = np.abs(ours - k[:, None] * theirs).max(1) / np.abs(theirs).max(1)
        implied = (variance + 1e-5) / k**2 - 1e-5
        unit = np.finfo(case.ours.dtype).eps * (mean**2 + variance)
        steps = np.abs(implied - variance) / unit
    broken = ~np.isfinite(size)  # a negative variance gives NaN
    large = mean**2 > 50.0 * variance
    fits = broken | (left < 1e-2 + 50.0 * np.finfo(case.ours.dtype).eps * np.abs(mean) / np.sqrt(variance + 1e-12))
    fits &= broken | (steps < 64.0)
    if not (fits[large].all() and large.any() and (broken[large].any() or np.median(steps[large]) > 0.01)):
        return []
    text = (
        f"the variance of JAX's norm is off by {np.nanmedian(steps[large]):.2g} roundings of mean² "
        f"(mean² is {np.median(mean[large] ** 2 / variance[large]):.2g} times the variance): E[x²] − E[x]² cancels"
    )
    return [Hit("cause/fast-variance", text, "use_fast_variance=False", float(np.nanmax(left)), 1)]


def _groups(case: Case, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return input and both outputs without the affine part, one row for each group that is normalised."""
    assert case.torch is not None
    name = case.torch.name
    shape = (-1,) if name in ("LayerNorm", "RMSNorm") else (1, -1, *(1,) * (x.ndim - 2))
    gain, bias = (wide(case.arrays[key]) if key in case.arrays else None for key in ("weight", "bias"))
    arrays = []
    for array in (case.ours, case.theirs):
        plain = wide(array) - (bias.reshape(shape) if bias is not None and bias.ndim == 1 else 0.0)
        arrays.append(plain / (gain.reshape(shape) if gain is not None and gain.ndim == 1 else 1.0))
    if name == "LayerNorm":
        count = len(case.torch.settings.get("normalized_shape", (0,)))
        return tuple(a.reshape(int(np.prod(a.shape[: a.ndim - count])), -1) for a in (x, *arrays))  # type: ignore[return-value]
    if name == "GroupNorm":
        rows = x.shape[0] * int(case.torch.settings.get("num_groups", 1))
        return tuple(a.reshape(rows, -1) for a in (x, *arrays))  # type: ignore[return-value]
    if name.startswith("Instance"):
        return tuple(a.reshape(a.shape[0] * a.shape[1], -1) for a in (x, *arrays))  # type: ignore[return-value]
    if name.startswith("Batch") and case.training:
        return tuple(np.moveaxis(a, 1, 0).reshape(a.shape[1], -1) for a in (x, *arrays))  # type: ignore[return-value]
    return None
