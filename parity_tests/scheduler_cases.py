"""The schedules that are compared: option grids of each scheduler, and compositions."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import all_pairs, generator, label
from scheduler_runs import Spec


def slowly(epoch: Any) -> Any:
    return 0.97**epoch


def by_thirties(epoch: Any) -> Any:
    return 0.5 ** (epoch // 30)


def branching(epoch: int) -> float:
    return 1.0 if epoch < 10 else 1.0 / epoch


def shrinking(cycle: Any) -> Any:
    return 0.8 ** (cycle - 1)


GRIDS: dict[str, dict[str, list[Any]]] = {
    "StepLR": {"step_size": [1, 7, 30, 500], "gamma": [0.1, 0.93, 1.5]},
    "MultiStepLR": {"milestones": [[], [1], [30, 80], [80, 5, 80, 30, 199, 200]], "gamma": [0.1, 0.93]},
    "ConstantLR": {"factor": [1 / 3, 0.25, 1.0], "total_iters": [0, 1, 5, 40, 300]},
    "LinearLR": {"start_factor": [1 / 3, 0.01, 1.0], "end_factor": [1.0, 0.5, 0.0], "total_iters": [1, 5, 150, 300]},
    "PolynomialLR": {"total_iters": [1, 5, 150, 300], "power": [1.0, 0.5, 2.0, 3.7]},
    "CosineAnnealingLR": {"T_max": [1, 2, 3, 7, 10, 49, 100, 117, 300], "eta_min": [0.0, 0.01, 0.2]},
    "CosineAnnealingWarmRestarts": {"T_0": [1, 3, 10, 49, 300], "T_mult": [1, 2, 3], "eta_min": [0.0, 0.01]},
    "CyclicLR": {
        "base_lr": [0.01, [0.3, 0.02, 0.1]],
        "max_lr": [0.4, [0.5, 0.4, 0.3]],
        "step_size_up": [3, 7, 49],
        "step_size_down": [None, 5],
        "mode": ["triangular", "triangular2", "exp_range"],
        "gamma": [1.0, 0.99],
        "scale_fn": [None, shrinking],
        "scale_mode": ["cycle", "iterations"],
        "cycle_momentum": [True, False],
        "base_momentum": [0.8, [0.7, 0.8, 0.85]],
        "max_momentum": [0.9, [0.99, 0.9, 0.95]],
    },
    "OneCycleLR": {
        "max_lr": [0.5, [0.5, 0.3, 0.1]],
        "total_steps": [200, 207],
        "pct_start": [0.3, 0.45, 0.0, 0.07],
        "anneal_strategy": ["cos", "linear"],
        "cycle_momentum": [True, False],
        "base_momentum": [0.85, [0.7, 0.8, 0.85]],
        "max_momentum": [0.95, [0.99, 0.9, 0.95]],
        "div_factor": [25.0, 10.0],
        "final_div_factor": [10000.0, 3.0],
        "three_phase": [False, True],
    },
    "SWALR": {
        "swa_lr": [0.05, [0.2, 0.01, 0.5]],
        "anneal_epochs": [0, 1, 10, 150],
        "anneal_strategy": ["cos", "linear"],
    },
}
MORE: list[Spec] = [
    *(("ExponentialLR", {"gamma": gamma}) for gamma in (0.9, 0.99, 1.01)),
    ("ConstantLR", {}),
    ("LinearLR", {}),
    ("PolynomialLR", {}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1}),
    ("OneCycleLR", {"max_lr": 0.1, "epochs": 20, "steps_per_epoch": 11}),
    ("SWALR", {"swa_lr": 0.05}),
    ("LambdaLR", {"lr_lambda": slowly}),
    ("LambdaLR", {"lr_lambda": [slowly, by_thirties, slowly]}),
    ("LambdaLR", {"lr_lambda": branching, "total": 200}),
    ("LambdaLR", {"lr_lambda": [slowly, branching, by_thirties], "total": 200}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.95 + 1e-4 * epoch}),
    ("MultiplicativeLR", {"lr_lambda": [lambda epoch: 0.95, branching, slowly], "total": 200}),
]
SCHEDULES: list[Spec] = [
    (name, row) for name, grid in GRIDS.items() for row in all_pairs(grid, lambda row: True)
] + MORE

WARM_UP: Spec = ("LinearLR", {"start_factor": 0.1, "total_iters": 20})
EXPONENTIAL: Spec = ("ExponentialLR", {"gamma": 0.98})
COSINE: Spec = ("CosineAnnealingLR", {"T_max": 37, "eta_min": 0.001})
PARTS: dict[str, Spec] = {
    "warm-up": WARM_UP,
    "exponential": EXPONENTIAL,
    "cosine": COSINE,
    "steps": ("StepLR", {"step_size": 15, "gamma": 0.5}),
    "milestones": ("MultiStepLR", {"milestones": [10, 35, 60], "gamma": 0.5}),
    "constant": ("ConstantLR", {"factor": 0.25, "total_iters": 12}),
    "polynomial": ("PolynomialLR", {"total_iters": 90, "power": 1.7}),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 12, "T_mult": 2, "eta_min": 1e-3}),
    "lambda": ("LambdaLR", {"lr_lambda": by_thirties}),
    "multiplicative": ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.97}),
    "cyclic": ("CyclicLR", {"base_lr": 0.02, "max_lr": 0.2, "step_size_up": 9}),
    "one cycle": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 230}),
    "swa": ("SWALR", {"swa_lr": 0.05, "anneal_epochs": 30}),
}


def chain(*parts: Spec) -> Spec:
    return ("ChainedScheduler", {"schedulers": list(parts)})


def sequence(*parts: Spec, at: list[int]) -> Spec:
    return ("SequentialLR", {"schedulers": list(parts), "milestones": at})


_CHAINED = [name for name in PARTS if name not in ("one cycle",)]
COMPOSED: dict[str, Spec] = {
    **{f"warm-up * {name}": chain(WARM_UP, PARTS[name]) for name in _CHAINED},
    **{f"{name} * cosine": chain(PARTS[name], COSINE) for name in _CHAINED},
    **{f"{name}, then exponential": sequence(part, EXPONENTIAL, at=[50]) for name, part in PARTS.items()},
    **{f"warm-up, then {name}": sequence(WARM_UP, part, at=[20]) for name, part in PARTS.items()},
    "one alone": chain(COSINE),
    "one alone, in sequence": sequence(COSINE, at=[]),
    "four chained": chain(WARM_UP, EXPONENTIAL, PARTS["steps"], COSINE),
    "four in sequence": sequence(WARM_UP, COSINE, PARTS["steps"], EXPONENTIAL, at=[20, 90, 150]),
    "two milestones at once": sequence(WARM_UP, COSINE, EXPONENTIAL, at=[30, 30]),
    "a milestone at the start": sequence(WARM_UP, COSINE, at=[0]),
    "a milestone after the first step": sequence(WARM_UP, COSINE, at=[1]),
    "a chain in a chain": chain(chain(WARM_UP, EXPONENTIAL), PARTS["steps"]),
    "a sequence in a chain": chain(sequence(WARM_UP, COSINE, at=[20]), EXPONENTIAL),
    "a chain first in a sequence": sequence(chain(WARM_UP, PARTS["constant"]), COSINE, at=[40]),
    "a sequence first in a sequence": sequence(sequence(WARM_UP, COSINE, at=[20]), EXPONENTIAL, at=[60]),
    "two cycles of momentum": sequence(PARTS["cyclic"], PARTS["one cycle"], at=[40]),
    "a cycle after one cycle": chain(PARTS["one cycle"], PARTS["cyclic"]),
}


PLATEAU_GRID: dict[str, list[Any]] = {
    "mode": ["min", "max"],
    "factor": [0.1, 0.7],
    "patience": [0, 3, 10],
    "threshold": [1e-4, 0.05],
    "threshold_mode": ["rel", "abs"],
    "cooldown": [0, 4],
    "min_lr": [0, 0.02, [0.05, 0.0, 1.0]],
    "eps": [1e-8, 0.01],
}


def metrics(name: str) -> list[float]:
    """Return a noisy descent that stalls now and then, with NaN and infinities among it, in float32 numbers."""
    rng = generator(name)
    falls = np.where(rng.random(200) < 0.5, rng.random(200), 0.0).cumsum()
    values = 3.0 - 0.05 * falls + 0.05 * rng.standard_normal(200)
    values[rng.random(200) < 0.02] = rng.choice([np.nan, np.inf, -0.5])
    return values.astype(np.float32).astype(np.float64).tolist()


PLATEAU = [{}, *all_pairs(PLATEAU_GRID, lambda row: True)]


def name_of(spec: Spec) -> str:
    options = {
        key: "+".join(getattr(f, "__name__", str(f)) for f in (value if isinstance(value, list) else [value]))
        if key in ("lr_lambda", "scale_fn")
        else value
        for key, value in spec[1].items()
    }
    return f"{spec[0]}-{label(options)}"
