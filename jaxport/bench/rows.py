"""What a benchmark reports, and the gate: no ratio where the two sides do not compute the same losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

# float32 is judged against PyTorch's own rounding: so many times its error, and so much of the largest loss.
ROUNDING_FACTOR = 4.0
ROUNDING_FLOOR = 1e-7
# Where PyTorch's own rounding has grown beyond this part of the loss, agreement would prove nothing.
CHAOS = 1e-3


@dataclass(frozen=True)
class Reference:
    """PyTorch's losses of the same steps: in float64 (the truth), and in float32, whose rounding is the yardstick."""

    truth: Sequence[float]
    eager: Sequence[float]


@dataclass(frozen=True)
class Measurement:
    """What one framework's worker reported on one port.

    Attributes:
        framework: which.
        ms: milliseconds per step, one value a round.
        losses: of the timed steps, one list a round.
        facts: the other fields of the `Row`: compile_s, threads, variant, device, versions.
        error: why there is nothing, or nothing more.
    """

    framework: str
    ms: Sequence[float] = ()
    losses: Sequence[Sequence[float]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Row:
    """One framework on one port, in one task and precision.

    Attributes:
        port: name of the port.
        framework: name of the framework.
        ms_per_step: median over the rounds, milliseconds; None where nothing was measured. Of a step; in the task
            "epoch" of a whole epoch from data to weights, in "infer-1" and "infer-256" of a batch.
        compile_s: seconds of tracing and compiling (JAX), of the first step (PyTorch); never part of `ms_per_step`.
        ratio_to_best_torch: best PyTorch's ms_per_step / this one's: above 1 is faster than PyTorch. None when refused.
        steps: optimiser steps in a timed pass; of an epoch its steps, of inference the batches.
        batch: examples in a step.
        device: "cpu, 2 threads" or an accelerator's name.
        reason: why there is no ratio; None when there is one.
        min_ms: of the fastest round.
        rounds: how many were timed.
        threads: that the framework used.
        variant: how it ran: JAX's dispatch, or the fastest of PyTorch's alternatives.
        versions: of the framework's packages.
        task: of `TASKS`.
        dtype: "float32", or "bfloat16": parameters in float32, computation in bfloat16.
        examples_per_s: examples that `ms_per_step` amounts to in a second.
        first_epoch_s: seconds from the start of the first call of training to the end of its epoch, compilation
            included, in a process that finds nothing compiled.
        second_start_s: seconds from a process's start to the end of its first step, imports included, where an earlier
            process has left what it compiled.
        peak_memory_mb: largest resident memory of the framework's process; on a GPU the device's peak.
    """

    port: str
    framework: str
    ms_per_step: float | None
    compile_s: float | None
    ratio_to_best_torch: float | None
    steps: int
    batch: int
    device: str | None = None
    reason: str | None = None
    min_ms: float | None = None
    rounds: int = 0
    threads: int | None = None
    variant: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    task: str = "step"
    dtype: str = "float32"
    examples_per_s: float | None = None
    first_epoch_s: float | None = None
    second_start_s: float | None = None
    peak_memory_mb: float | None = None


def disagreement(losses: Sequence[float], reference: Reference) -> str | None:
    """Say why `losses` are not those of the same training, or return None when they are.

    max|loss − truth| ≤ 4 · max|eager − truth| + 1e-7 · max|truth|

    Args:
        losses: one float32 loss a step.
        reference: PyTorch's losses of the same steps, as many.
    """
    truth, eager = reference.truth, reference.eager
    if not len(losses) == len(truth) == len(eager):
        return f"{len(losses)} losses came back, and {len(truth)} and {len(eager)} from PyTorch"
    if not all(map(math.isfinite, (*losses, *truth, *eager))):
        step = next(i for i, values in enumerate(zip(losses, truth, eager, strict=True)) if not _finite(values))
        return f"the losses are not finite: {losses[step]:.9g} and PyTorch's {eager[step]:.9g} at step {step + 1}"
    scale = max(map(abs, truth))
    rounding = _largest_difference(eager, truth)[0]
    if rounding > CHAOS * scale:
        return f"PyTorch's own rounding reaches {rounding:.2g} in {len(truth)} steps: too chaotic to judge, take fewer"
    error, step = _largest_difference(losses, truth)
    allowed = ROUNDING_FACTOR * rounding + ROUNDING_FLOOR * scale
    if error <= allowed:
        return None
    return (
        f"the losses differ: {losses[step]:.9g} and PyTorch's {truth[step]:.9g} at step {step + 1}, "
        f"{error:.2g} apart where rounding explains {allowed:.2g}"
    )


def _finite(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))


def _largest_difference(a: Sequence[float], b: Sequence[float]) -> tuple[float, int]:
    differences = [abs(x - y) for x, y in zip(a, b, strict=True)]
    largest = max(differences)
    return largest, differences.index(largest)


def judge(
    port: str, steps: int, batch: int, measurements: Sequence[Measurement], reference: Reference | None
) -> list[Row]:
    """Make rows of one port's measurements; the best PyTorch is the fastest whose losses pass the gate.

    Args:
        port: name of the port.
        steps: optimiser steps in a pass.
        batch: examples in a step.
        measurements: one for each framework.
        reference: PyTorch's losses; None when no PyTorch was asked for, and there is then no ratio.
    """
    reasons = [_reason(measurement, reference) for measurement in measurements]
    times = [median(m.ms) if m.ms else None for m in measurements]
    valid = [
        ms
        for m, ms, reason in zip(measurements, times, reasons, strict=True)
        if m.framework.startswith("torch") and ms is not None and reason is None
    ]
    best = min(valid, default=None)
    rows = []
    for measurement, ms, reason in zip(measurements, times, reasons, strict=True):
        if reason is None and best is None:
            reason = "no PyTorch side to compare with"
        ratio = best / ms if best is not None and ms is not None and reason is None else None
        rows.append(_row(port, steps, batch, measurement, ms, ratio, reason))
    return rows


def _reason(measurement: Measurement, reference: Reference | None) -> str | None:
    if measurement.error is not None:
        return measurement.error
    if reference is None:
        return "no PyTorch side to compare with"
    rounds = [disagreement(losses, reference) for losses in measurement.losses]
    wrong = [text for text in rounds if text is not None]
    if not wrong:
        return None
    return wrong[0] if len(wrong) == len(rounds) else f"in {len(wrong)} of {len(rounds)} rounds {wrong[0]}"


def _row(
    port: str, steps: int, batch: int, m: Measurement, ms: float | None, ratio: float | None, reason: str | None
) -> Row:
    return Row(
        port=port,
        framework=m.framework,
        ms_per_step=ms,
        ratio_to_best_torch=ratio,
        steps=steps,
        batch=batch,
        reason=reason,
        min_ms=min(m.ms, default=None),
        rounds=len(m.ms),
        **{"compile_s": None, **m.facts},
    )
