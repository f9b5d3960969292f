"""What a benchmark reports, and the gate: no ratio where the two sides do not compute the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np

Values = Sequence[float] | np.ndarray
# A precision is judged against PyTorch's own rounding in it: so many times its error, and so much of the largest value.
ROUNDING_FACTOR = 4.0
ROUNDING_FLOOR = {"float32": 1e-7, "bfloat16": 2.0**-8}
# Where PyTorch's own rounding has grown beyond this part of the largest value, agreement would prove nothing.
CHAOS = {"float32": 1e-3, "bfloat16": 2.0**-5}
# Chaos multiplies rounding from step to step, each run's by another factor: best judged before that has begun.
CALM = {"float32": 1e-5, "bfloat16": 2.0**-5}
# Fewer steps than these prove nothing of an optimiser.
LEAST_JUDGED = 3
# PyTorch's own model, optimiser and loop, whose numbers are right by what they are.
_EAGER = ("torch", "torch-channels-last", "torch-dataloader")


@dataclass(frozen=True)
class Reference:
    """PyTorch's values of the same work: the truth, and those of the precision at hand, which show its rounding.

    Attributes:
        truth: in float64. Of "step" the loss of each step; of "epoch" the mean loss of each epoch of a short run; of
            inference all outputs.
        eager: in `dtype`.
        dtype: of `DTYPES`.
        task: of `TASKS`.
        most: how many values are judged at most, from the first on; None leaves it to `judged`.
    """

    truth: Values
    eager: Values
    dtype: str = "float32"
    task: str = "step"
    most: int | None = None

    @property
    def nouns(self) -> tuple[str, str]:
        """What the values are, and what each of them belongs to."""
        return {"step": ("losses", "step"), "epoch": ("losses", "epoch")}.get(self.task, ("outputs", "number"))


@dataclass(frozen=True)
class Measurement:
    """What one framework's worker reported on one port.

    Attributes:
        framework: which.
        ms: milliseconds per step (epoch, batch), one value a round.
        losses: the values that the gate compares, one list a round.
        facts: the other fields of the `Row`: compile_s, threads, variant, device, versions.
        error: why there is nothing, or nothing more.
    """

    framework: str
    ms: Sequence[float] = ()
    losses: Sequence[Values] = ()
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
        data: of "epoch", how many examples of which kind an epoch has, and how many epochs a timed call; and where the
            recipe is not the port's own.
        floor_ms: of jaxport's "step" in float32, the least that a step can take within the machine's measured limits.
        times_floor: ms_per_step / floor_ms.
        judged: of "step", how many steps from the first on had their losses compared; the timing is of all steps.
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
    data: str | None = None
    judged: int | None = None
    floor_ms: float | None = None
    times_floor: float | None = None


def judged(reference: Reference) -> int:
    """Return how many values, from the first on, can be judged; 0 where none can.

    Of "step" the longest beginning in which rounding, the largest so far, stays below a part of the largest loss so
    far: `CALM`, or where that leaves fewer than three steps `CHAOS`. Of the other tasks all or nothing.
    """
    truth, eager = (np.asarray(values, np.float64) for values in (reference.truth, reference.eager))
    if truth.shape != eager.shape or not truth.size:
        return 0
    if reference.task != "step":
        return truth.size if np.abs(eager - truth).max() <= CHAOS[reference.dtype] * np.abs(truth).max() else 0
    scale, rounding = (np.maximum.accumulate(np.abs(values)) for values in (truth, eager - truth))
    for limit in (CALM[reference.dtype], CHAOS[reference.dtype]):
        chaotic = ~(rounding <= limit * scale)  # what is not finite, too
        count = int(chaotic.argmax()) if chaotic.any() else truth.size
        if count >= min(LEAST_JUDGED, truth.size):
            return count if reference.most is None else min(count, reference.most)
    return 0


def where_pytorch_agrees(measurements: Sequence[Measurement], reference: Reference) -> Reference:
    """Return the reference of "step" with as many steps as PyTorch's eager variants pass, if that leaves three.

    Chaos multiplies each run's rounding by another factor: what a layout or another optimiser's kernel makes of the
    same model shows more of PyTorch's own rounding than the reference has. A variant that fails from the first steps
    on computes something else, changes nothing here, and is refused.
    """
    eager = [losses for m in measurements if m.framework in _EAGER and m.error is None for losses in m.losses]
    count = judged(reference) if reference.task == "step" else 0
    for losses in eager:
        found = count
        while found >= LEAST_JUDGED and disagreement(losses, replace(reference, most=found)):
            found = min(found - 1, found * 49 // 50)
        count = found if found >= LEAST_JUDGED else count
    return replace(reference, most=count) if count else reference


def disagreement(losses: Values, reference: Reference) -> str | None:
    """Say why `losses` are not those of the same work, or return None when they are.

    max|loss − truth| ≤ 4 · max|eager − truth| + floor · max|truth|,  floor = 1e-7 in float32, 2⁻⁸ in bfloat16

    The maxima are over what `judged` leaves; everything must be finite.

    Args:
        losses: one loss a step; or the epochs' mean losses, or outputs.
        reference: PyTorch's of the same work, as many.
    """
    own, truth, eager = (np.asarray(values, np.float64) for values in (losses, reference.truth, reference.eager))
    noun, place = reference.nouns
    if not own.shape == truth.shape == eager.shape:
        return f"{own.size} {noun} came back, and {truth.size} and {eager.size} from PyTorch"
    finite = np.isfinite(own) & np.isfinite(truth) & np.isfinite(eager)
    if not finite.all():
        i = int(finite.argmin())
        return f"the {noun} are not finite: {own[i]:.9g} and PyTorch's {eager[i]:.9g} at {place} {i + 1}"
    count = judged(reference)
    if count == 0:
        reached = np.abs(eager - truth).max()
        return (
            f"PyTorch's own rounding reaches {reached:.2g} in {truth.size} {place}s: too chaotic to judge, take fewer"
        )
    own, truth, eager = own[:count], truth[:count], eager[:count]
    scale, rounding = np.abs(truth).max(), np.abs(eager - truth).max()
    error, i = np.abs(own - truth).max(), int(np.abs(own - truth).argmax())
    allowed = ROUNDING_FACTOR * rounding + ROUNDING_FLOOR[reference.dtype] * scale
    if error <= allowed:
        return None
    return (
        f"the {noun} differ: {own[i]:.9g} and PyTorch's {truth[i]:.9g} at {place} {i + 1}, "
        f"{error:.2g} apart where rounding explains {allowed:.2g}"
    )


def judge(
    port: str,
    steps: int,
    batch: int,
    measurements: Sequence[Measurement],
    reference: Reference | None,
    *,
    examples: int | None = None,
    **fields: Any,
) -> list[Row]:
    """Make rows of one port's measurements in a task; the best PyTorch is the fastest whose values pass the gate.

    Args:
        port: name of the port.
        steps: optimiser steps in a pass, or in an epoch.
        batch: examples in a step.
        measurements: one for each framework.
        reference: PyTorch's values; None when no PyTorch was asked for, and there is then no ratio.
        examples: what `ms` is the time of; None for a batch.
        fields: further fields that all rows have: task, dtype, data.
    """
    reference = None if reference is None else where_pytorch_agrees(measurements, reference)
    reasons = [_reason(measurement, reference) for measurement in measurements]
    times = [median(m.ms) if m.ms else None for m in measurements]
    valid = [
        ms
        for m, ms, reason in zip(measurements, times, reasons, strict=True)
        if m.framework.startswith("torch") and ms is not None and reason is None
    ]
    best = min(valid, default=None)
    if reference is not None and reference.task == "step":
        fields["judged"] = judged(reference)
    rows = []
    for measurement, ms, reason in zip(measurements, times, reasons, strict=True):
        if reason is None and best is None:
            reason = "no PyTorch side to compare with"
        ratio = best / ms if best is not None and ms is not None and reason is None else None
        rate = None if not ms else 1000 * (examples or batch) / ms
        known = {"ratio_to_best_torch": ratio, "reason": reason, "examples_per_s": rate, **fields}
        rows.append(_row(port, steps, batch, measurement, ms, known))
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


def _row(port: str, steps: int, batch: int, m: Measurement, ms: float | None, known: Mapping[str, Any]) -> Row:
    return Row(
        port=port,
        framework=m.framework,
        ms_per_step=ms,
        steps=steps,
        batch=batch,
        min_ms=min(m.ms, default=None),
        rounds=len(m.ms),
        **{"compile_s": None, **known, **m.facts},
    )
