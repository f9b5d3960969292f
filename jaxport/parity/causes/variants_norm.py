"""What ports do otherwise in normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import Case
from .fit import wide
from .run import Runner, Variant

NAMES = (
    *(f"{kind}Norm{n}d" for kind in ("Batch", "Instance") for n in (1, 2, 3)),
    "LayerNorm",
    "GroupNorm",
    "RMSNorm",
    "SyncBatchNorm",
)

_USUAL_EPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12, 0.0)


def variants(layer: Runner, case: Case) -> list[Variant]:
    """Return eps, unbiased variance, batch against running statistics, and affine parts that are left out."""
    module = layer.module
    found = [_eps(layer, eps, case) for eps in _eps_values(layer, case)]
    if "BatchNorm" in type(module).__name__ and module.track_running_stats:
        other = layer.changed(training=not module.training)
        used = "running statistics" if module.training else "the batch's statistics"
        mode = "training" if module.training else "evaluation"
        fix = "call `model.train()` / `model.eval()`, or give `use_running_average` the mode"
        found.append(Variant("cause/train-mode", f"JAX normalises by {used} in {mode} mode", other, fix))
    if _statistics_of_input(module):
        for eps in dict.fromkeys((_eps_value(module), 0.0)):
            found.append(_unbiased(layer, eps, inside=True))
            found.append(_unbiased(layer, eps, inside=False))
    return found + _affine(layer)


def _statistics_of_input(module: Any) -> bool:
    name = type(module).__name__
    return name in ("LayerNorm", "GroupNorm") or "InstanceNorm" in name or ("BatchNorm" in name and module.training)


def _eps_value(module: Any) -> float:
    if module.eps is None:  # RMSNorm's default is the smallest step of the dtype
        return float(np.finfo(np.float64).eps)
    return float(module.eps)


def _eps_values(layer: Runner, case: Case) -> list[float]:
    told = case.setting("epsilon", "eps")
    values = [float(told)] if isinstance(told, int | float) else []
    values += [eps for eps in _USUAL_EPS if eps not in values]
    solved = _solve(layer, case)
    values += [solved] if solved is not None else []
    return [eps for eps in values if eps != _eps_value(layer.module)]


def _eps(layer: Runner, eps: float, case: Case) -> Variant:
    ours = f"{eps:.2g}"
    message = f"JAX's eps is {ours}, PyTorch's {_eps_value(layer.module):.2g}"
    return Variant("cause/eps", message, layer.changed(eps=eps), f"epsilon={_eps_value(layer.module):g}")


def _solve(layer: Runner, case: Case) -> float | None:
    """Return the eps that gives JAX's magnitude: the output falls with eps, so bisection on its logarithm finds it."""
    x = case.first_input
    if (
        x is None
        or x.dtype.kind != "f"
        or case.ours.shape != case.theirs.shape
        or not np.isfinite(wide(case.ours)).all()
    ):
        return None
    shift = _per_channel(layer, "bias", case.ours.ndim)
    size = float(np.abs(wide(case.ours) - shift).sum())
    low, high, trial = -14.0, 1.0, layer.changed()
    for _ in range(50):
        middle = (low + high) / 2
        trial.module.eps = 10.0**middle
        now = float(np.abs(trial(x) - shift).sum())
        low, high = (middle, high) if now > size else (low, middle)
    solved = float(f"{10.0**low:.12g}")
    return solved if -13.5 < low < 0.9 else None


def _per_channel(layer: Runner, name: str, ndim: int) -> np.ndarray:
    """Return scale or bias in a shape that fits the output; 0 if there is none."""
    if not layer.has(name):
        return np.zeros(())
    values = layer.array(name)
    if type(layer.module).__name__ in ("LayerNorm", "RMSNorm"):
        return values
    return values.reshape(-1, *(1,) * (ndim - 2))


def _grouped(module: Any, x: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the input in a shape where one group's numbers are on the axes that are returned."""
    name = type(module).__name__
    if name == "GroupNorm":
        return x.reshape(x.shape[0], module.num_groups, -1), (2,)
    if name == "LayerNorm":
        return x, tuple(range(x.ndim - len(module.normalized_shape), x.ndim))
    if "Instance" in name:
        return x, tuple(range(2, x.ndim))
    return x, (0, *range(2, x.ndim))


def _unbiased(layer: Runner, eps: float, inside: bool) -> Variant:
    module = layer.module

    def run(x: np.ndarray) -> np.ndarray:
        grouped, axes = _grouped(module, wide(x))
        centred = grouped - grouped.mean(axes, keepdims=True)
        variance = grouped.var(axes, ddof=1, keepdims=True)
        root = np.sqrt(variance + eps) if inside else np.sqrt(variance) + eps
        gain = _per_channel(layer, "weight", x.ndim) if layer.has("weight") else np.ones(())
        return (centred / root).reshape(x.shape) * gain + _per_channel(layer, "bias", x.ndim)

    where = "" if inside else ", with eps outside the root"
    message = f"JAX normalises by the unbiased variance (n − 1){where}; PyTorch by the biased one"
    return Variant("cause/ddof", message, run, "`jnp.var(x)` with ddof=0 and eps inside the root")


def _affine(layer: Runner) -> list[Variant]:
    found = []
    for name, rule, neutral in (("bias", "cause/missing-bias", np.zeros), ("weight", "cause/missing-scale", np.ones)):
        if layer.has(name):
            plain: Callable[..., np.ndarray] = layer.changed(**{name: neutral(layer.array(name).shape)})
            word = "bias" if name == "bias" else "scale"
            found.append(Variant(rule, f"JAX's norm has no {word}, or its {word} was not carried over", plain))
    return found
