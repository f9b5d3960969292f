"""The same schedule through both frameworks, step by step, and how it is judged.

A schedule is written once, as (name, options), with the schedules inside a ChainedScheduler or SequentialLR in the same
form; the names are looked up on both sides.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport.optim import lr_scheduler, swa_utils
from jaxport.parity.tolerances import SCHEDULE_FLOAT32_FLOOR, SCHEDULE_FLOAT32_RTOL, SCHEDULE_RTOL

torch = pytest.importorskip("torch")

Spec = tuple[str, dict[str, Any]]
Run = dict[str, np.ndarray]
STEPS = 200
LRS = (0.1, 0.037, 2.5)


def find(modules: Sequence[Any], name: str) -> Any:
    return next(getattr(module, name) for module in modules if hasattr(module, name))


def build_jax(spec: Spec) -> Any:
    name, options = spec
    if "schedulers" in options:
        options = {**options, "schedulers": [build_jax(part) for part in options["schedulers"]]}
    return find((lr_scheduler, swa_utils), name)(**options)


def build_torch(spec: Spec, optimizer: Any) -> Any:
    with warnings.catch_warnings():
        # A SequentialLR steps what is inside its first scheduler before the optimiser ever was, and says so.
        warnings.simplefilter("ignore", UserWarning)
        return _build_torch(spec, optimizer)


def _build_torch(spec: Spec, optimizer: Any) -> Any:
    name, options = spec
    kind = find((torch.optim.lr_scheduler, torch.optim.swa_utils), name)
    options = {key: value for key, value in options.items() if key != "total"}
    if "schedulers" not in options:
        return kind(optimizer, **copy.deepcopy(options))
    parts = [_build_torch(part, optimizer) for part in options["schedulers"]]
    rest = {key: value for key, value in options.items() if key != "schedulers"}
    return kind(optimizer=optimizer, schedulers=parts, **rest)


def torch_optimizer(lrs: Sequence[float], kind: str = "SGD") -> Any:
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in lrs]
    return getattr(torch.optim, kind)(groups, lr=1.0)


def read_groups(optimizer: Any) -> tuple[list[float], list[float]]:
    momenta = [group["betas"][0] if "betas" in group else group["momentum"] for group in optimizer.param_groups]
    return [float(group["lr"]) for group in optimizer.param_groups], momenta


def torch_run(
    spec: Spec,
    lrs: Sequence[float],
    steps: int = STEPS,
    metrics: Sequence[float] | None = None,
    changes: Mapping[int, float] | None = None,
    kind: str = "SGD",
) -> Run:
    """Return rates and momenta after the constructor and after each step; `changes` multiplies rates before a step."""
    optimizer = torch_optimizer(lrs, kind)
    scheduler = build_torch(spec, optimizer)
    rows = [read_groups(optimizer)]
    for step in range(steps):
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * (changes or {}).get(step, 1.0)
        scheduler.step(*([] if metrics is None else [metrics[step]]))
        rows.append(read_groups(optimizer))
    return {"lr": np.array([row[0] for row in rows]), "momentum": np.array([row[1] for row in rows])}


def jax_run(
    spec: Spec,
    lrs: Sequence[float],
    dtype: str = "float64",
    steps: int = STEPS,
    metrics: Sequence[float] | None = None,
    changes: Mapping[int, float] | None = None,
) -> Run:
    """The same in one compiled scan; momenta only where the scheduler moves them."""
    scheduler = build_jax(spec)
    with jax.enable_x64(dtype == "float64"):
        factors = jnp.asarray([(changes or {}).get(step, 1.0) for step in range(steps)], dtype)
        watched = jnp.asarray(np.zeros(steps) if metrics is None else metrics, dtype)

        def body(state: Any, inputs: Any) -> Any:
            factor, metric = inputs
            state = scheduler.step(state.replace_lr(state.lr * factor), metric)
            return state, (state.lr, state.momentum)

        @jax.jit
        def run() -> Any:
            first = scheduler.init(list(lrs))
            _, later = jax.lax.scan(body, first, (factors, watched))
            return [
                None if a is None else jnp.concatenate([a[None], b])
                for a, b in zip((first.lr, first.momentum), later, strict=True)
            ]

        lr, momentum = run()
    rows = {"lr": np.asarray(lr)} | ({} if momentum is None else {"momentum": np.asarray(momentum)})
    return rows


# The largest relative error of a run in each precision, for the documentation.
WORST: dict[str, float] = {}


def run_findings(found: Run, wanted: Run, dtype: str) -> list[str]:
    """Return where the numbers differ by more than the tolerance, in each group."""
    findings = []
    for key, ours in found.items():
        theirs = wanted[key]
        if ours.shape != theirs.shape or str(ours.dtype) != dtype:
            return [f"{key}: {ours.shape} {ours.dtype}, PyTorch's is {theirs.shape}, wanted {dtype}"]
        error, size = np.abs(ours.astype(np.float64) - theirs), np.abs(theirs).max(0, keepdims=True)
        single = SCHEDULE_FLOAT32_RTOL * np.abs(theirs) + SCHEDULE_FLOAT32_FLOOR * size
        limit = SCHEDULE_RTOL * size if dtype == "float64" else single
        WORST[dtype] = max(WORST.get(dtype, 0.0), float((error / np.where(size == 0, 1.0, size)).max()))
        wrong = ~(error <= limit)  # NaN is wrong
        if wrong.any():
            step, group = np.argwhere(wrong)[0]
            pair = f"{ours[step, group]!r}, PyTorch's is {theirs[step, group]!r}"
            findings.append(f"{key}: {wrong.sum()} differ, the first at step {step} in group {group}: {pair}")
    return findings


def schedule_findings(spec: Spec, dtype: str = "float64", lrs: Sequence[float] = LRS, **options: Any) -> list[str]:
    """Return in what a schedule differs from PyTorch's over the run."""
    wanted = torch_run(spec, lrs, **options)
    found = jax_run(spec, lrs, dtype, **{key: value for key, value in options.items() if key != "kind"})
    return run_findings(found, wanted, dtype)


def fail_on(findings: Sequence[str]) -> None:
    if findings:
        pytest.fail("\n".join(findings[:10]), pytrace=False)
