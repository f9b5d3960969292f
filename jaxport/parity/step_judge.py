"""StepJudge: what both sides have after a training step, compared by the mode's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import tolerances
from .judge import Sides, judge
from .result import Finding, Step, Tensor, Verdict

Values = dict[str, dict[str, Any]]
"""Kind of tensor → PyTorch's key → value after a step."""


@dataclass
class StepJudge:
    """Judges the steps of one comparison.

    Attributes:
        sources: PyTorch's key → path of the JAX leaf.
        findings: where what is not compared is said.
        grown: kind → how far PyTorch's own runs from nudged weights have drifted.
        rate: PyTorch's learning rate.
        count: PyTorch's number of steps.
    """

    sources: Mapping[str, str]
    findings: list[Finding]
    grown: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    count: int = 0

    def tensors(
        self, wide: Values | None, narrow: Values | None, truth: Values, draws: Sequence[Values], mode: str
    ) -> list[Tensor]:
        """Compare tensor by tensor; one that JAX does not have is a finding, never skipped."""
        ours = wide or narrow or {}
        scale = float(np.abs(truth["loss"]["loss"]))  # type: ignore[arg-type]
        sources = self.sources
        zero = self._zero_gradients(truth, scale)
        found = []
        for kind, values in truth.items():
            for key, theirs in values.items():
                mine = ours[kind].get(key)
                leaf = key.rpartition("/")[2]
                if kind == "gradient" and not ours[kind]:
                    self._unseen()
                    continue
                if theirs is None or (mine is None and leaf not in sources and kind != "loss"):
                    continue
                blank = Tensor(kind, sources.get(leaf, ""), key, (), theirs.shape, "", "", Verdict.DIFFERENT, mode=mode)
                if mine is None:
                    if kind != "optimizer":
                        found.append(replace(blank, note="JAX has no such tensor", required=float("inf")))
                    else:
                        self._unmatched(key)
                    continue
                sides = Sides(
                    mine if wide is not None else None,
                    mine if wide is None else None,
                    theirs,
                    [v for draw in draws if (v := draw[kind].get(key)) is not None],
                )
                named = replace(blank, jax_shape=mine.shape, jax_dtype=str(mine.dtype), torch_dtype=str(theirs.dtype))
                tensor = judge(named, sides, scale=scale if kind == "gradient" else None)
                tensor = self._excused(tensor, leaf in zero, mode)
                if not tensor.ok and kind in ("parameter", "optimizer"):
                    tensor = self._without_zeros(tensor, sides, truth["gradient"].get(leaf), scale, mode)
                found.append(tensor)
        return found

    def _unseen(self) -> None:
        text = "the gradients inside the JAX step are not seen, and not compared"
        fix = "tx = parity.recording(tx), in the step and as jax_optimizer"
        self.findings.append(Finding("train/gradients", "info", text, fix=fix))

    def _unmatched(self, key: str) -> None:
        text = f"PyTorch's optimiser keeps {key.partition('/')[0]}, of which the JAX optimiser's state has nothing"
        self.findings.append(Finding("train/optimizer-state", "warning", text))

    def _zero_gradients(self, truth: Values, scale: float) -> set[str]:
        limit = tolerances.ZERO_GRADIENT * scale
        return {k for k, g in truth["gradient"].items() if g is not None and g.size and 0.0 < np.abs(g).max() <= limit}

    def _without_zeros(self, tensor: Tensor, sides: Sides, gradient: Any, scale: float, mode: str) -> Tensor:
        """Excuse the elements of a tensor whose gradient is zero but for rounding: attention's bias of the keys, say.

        What an optimiser makes of them is noise of at most a small part of its step; the others are judged as ever.
        """
        if gradient is None or gradient.shape != sides.theirs64.shape or sides.ours.shape != gradient.shape:
            return tensor
        size = np.abs(gradient)
        zero = (size <= tolerances.ZERO_GRADIENT * scale) & (size > 0)
        if not zero.any() or zero.all():
            return tensor
        keep = ~zero
        rest = Sides(
            None if sides.ours64 is None else sides.ours64[keep],
            None if sides.ours32 is None else sides.ours32[keep],
            sides.theirs64[keep],
            [draw[keep] for draw in sides.theirs32],
        )
        flat = replace(tensor, axes=(), note="")
        judged = self._excused(judge(flat, rest), False, mode)
        moved = np.abs(sides.ours[zero].astype(np.float64) - sides.theirs64[zero]).max()
        wide = self.rate * self.count * tolerances.ZERO_GRADIENT_STEP
        if not judged.ok or (tensor.kind == "parameter" and sides.ours64 is not None and moved > wide):
            return tensor
        note = f"zero gradient in {int(zero.sum())} of {zero.size} elements: rounding noise there"
        return replace(judged, verdict=Verdict.ROUNDING, note=note)

    def _excused(self, tensor: Tensor, zero: bool, mode: str) -> Tensor:
        """Apply a free run's limits, and excuse what an optimiser makes of the rounding of a zero gradient."""
        if tensor.ok or tensor.note:
            return tensor
        moved = self.rate * self.count * tolerances.ZERO_GRADIENT_STEP
        if zero and tensor.kind in ("parameter", "optimizer"):
            if tensor.float64 is None or tensor.kind == "optimizer" or tensor.float64.max_abs <= moved:
                return replace(tensor, verdict=Verdict.ROUNDING, note="zero gradient: rounding noise")
        elif mode == "free" and tensor.float64 is not None and tensor.float64.max_rel <= self._limit(mode, tensor):
            return replace(tensor, verdict=Verdict.ROUNDING)
        elif mode == "float32" and tensor.kind == "parameter" and tensor.float32 is not None:
            limit = (tensor.limit or 0.0) + tolerances.BIAS_CORRECTION * self.rate
            if tensor.float32.max_abs <= limit:
                return replace(tensor, verdict=Verdict.ROUNDING, limit=limit)
        return tensor

    def _limit(self, mode: str, tensor: Tensor) -> float:
        if mode == "resync":
            return tolerances.FLOAT64_RTOL
        if mode == "float32":
            size = (
                (tensor.float32.max_abs / tensor.float32.max_rel) if tensor.float32 and tensor.float32.max_rel else 1.0
            )
            return (tensor.limit or 0.0) / size
        base = tolerances.FREE_RUN_LOSS_RTOL if tensor.kind == "loss" else tolerances.FREE_RUN_PARAMETER_RTOL
        return base + tolerances.FLOAT32_FACTOR * self.grown.get(tensor.kind, 0.0)

    def steps(
        self, number: int, mode: str, tensors: Sequence[Tensor], ours: np.ndarray, theirs: np.ndarray
    ) -> list[Step]:
        """Return one line for each kind: its worst tensor."""
        found = []
        for kind in dict.fromkeys(tensor.kind for tensor in tensors):
            rows = [(t, self._error(t), self._limit(mode, t)) for t in tensors if t.kind == kind]

            def strain(row: tuple[Tensor, float, float]) -> tuple[bool, float]:
                return not row[0].ok, row[1] / row[2] if row[2] else row[1]

            worst, error, limit = max(rows, key=strain)
            if worst.ok and error > limit:
                error = 0.0  # a zero gradient, excused; its own tensor says so
            losses = (float(ours), float(theirs)) if kind == "loss" else (float("nan"), float("nan"))
            found.append(Step(number, mode, kind, error, worst.torch_path, limit, *losses))
        return found

    @staticmethod
    def _error(tensor: Tensor) -> float:
        error = tensor.float64 or tensor.float32
        return float("inf") if error is None else error.max_rel
