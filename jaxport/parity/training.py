"""Training in lockstep: both frameworks from the same weights on the same batches, compared after every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import torch

from jaxport.port import Port

from . import tolerances
from .check import Check, compare32, compare64, same_keys, worst
from .jax_side import JaxSide
from .record import Arrays, Example, Snapshot, nudge, rounding_draws
from .torch_side import TorchSide

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)


def _tensors(state: Snapshot, loss: np.ndarray) -> dict[str, Arrays]:
    """Return what is compared after a step, by kind: the loss, the parameters, the optimiser's tensors."""
    optimizer = {
        f"{name}/{key}": value
        for name, arrays in state.optimizer.items()
        if name != "step"
        for key, value in arrays.items()
    }
    return {"loss": {"loss": loss}, "params": state.params, "optimizer": optimizer}


def _steps_check(port: str, name: str, dtype: str, ours: Snapshot, theirs: Snapshot) -> Check:
    """The step counts are equal, PyTorch's own where its optimiser keeps one."""
    counted = {int(value) for value in theirs.optimizer.get("step", {}).values()} | {theirs.steps}
    ok = counted == {ours.steps}
    off = 0.0 if ok else float("inf")
    return Check(port, f"{name}/count", dtype, off, off, 0.0, ok, "" if ok else f"{ours.steps}, PyTorch {counted}")


def _compare(
    port: str, name: str, ours: dict[str, Arrays], theirs: dict[str, Arrays], one: Callable[..., Check]
) -> dict[str, list[Check]]:
    """Compare tensor by tensor, after making sure that both sides have the same ones."""
    found: dict[str, list[Check]] = {}
    for kind, expected in theirs.items():
        keys = same_keys(port, f"{name}/{kind}", ours[kind], expected)
        if kind == "optimizer" and not expected and not ours[kind]:
            continue
        checks = [one(f"{name}/{kind}/{key}", kind, key) for key in expected if key in ours[kind]]
        found[kind] = [keys, *checks] if not keys.ok else checks
    return found


class _Lockstep:
    """The models of a training comparison: the truth, and in each precision ours and theirs."""

    def __init__(self, port: Port, weights: Arrays, truth: TorchSide) -> None:
        self.port, self.truth = port, truth
        with jax.enable_x64(True):
            self.ours64 = JaxSide(port, weights)
        self.free = self.ours64.state
        self.zero: frozenset[str] = frozenset()
        self.rate = float(port.optimizer.keywords.get("lr", 0.0))
        with jax.enable_x64(False):
            self.ours32 = JaxSide(port, Snapshot(0, weights, {}).cast(_F32).params)
        self.theirs32, self.truth32 = TorchSide(port, torch.float32), TorchSide(port, torch.float64)
        self.own = [_nudged(port, weights, seed) for seed in range(tolerances.OWN_RUNS)]
        self.grown: dict[str, float] = {}

    def advance(self, example: Example, name: str) -> dict[str, dict[str, list[Check]]]:
        """Take one step everywhere and return the checks by mode: "resync" and "free" in float64, "float32"."""
        base = self.truth.snapshot()
        loss = self.truth.step(example)
        after = self.truth.snapshot()
        self.zero = self.truth.zero_gradients(loss)
        theirs = _tensors(after, loss)
        self._grow(example, theirs)
        with jax.enable_x64(True):
            self.ours64.restore(base)
            resync_loss, resync = self.ours64.step(example), self.ours64.snapshot()
            self.ours64.state = self.free
            free_loss, free = self.ours64.step(example), self.ours64.snapshot()
            self.free = self.ours64.state
        found = {
            "resync": self._wide(f"{name}/resync", _tensors(resync, resync_loss), theirs),
            "free": self._wide(f"{name}/free", _tensors(free, free_loss), theirs, free=True),
            "float32": self._narrow(f"{name}/resync", base.cast(_F32), example.cast(_F32)),
        }
        for mode, state in (("resync", resync), ("free", free)):
            found[mode]["count"] = [_steps_check(self.port.name, f"{name}/{mode}", "float64", state, after)]
        return found

    def _grow(self, example: Example, theirs: dict[str, Arrays]) -> None:
        """Take the step in PyTorch's own runs from nudged weights, and note how far each kind drifts."""
        for side in self.own:
            loss = side.step(example)
            for kind, arrays in _tensors(side.snapshot(), loss).items():
                for key, array in arrays.items():
                    drift = compare64(self.port.name, key, array, theirs[kind][key]).max_rel
                    # A run that is lost to NaN says nothing, and must not make the limit infinite.
                    drift = drift if np.isfinite(drift) else 0.0
                    self.grown[kind] = max(drift, self.grown.get(kind, 0.0))

    def _wide(
        self, name: str, ours: dict[str, Arrays], theirs: dict[str, Arrays], free: bool = False
    ) -> dict[str, list[Check]]:
        def one(label: str, kind: str, key: str) -> Check:
            rtol = tolerances.FLOAT64_RTOL
            if free:
                rtol = tolerances.FREE_RUN_LOSS_RTOL if kind == "loss" else tolerances.FREE_RUN_PARAMETER_RTOL
                rtol += tolerances.FLOAT32_FACTOR * self.grown[kind]
            check = compare64(self.port.name, label, ours[kind][key], theirs[kind][key], rtol)
            moved = self.rate * (self.truth.steps if free else 1) * tolerances.ZERO_GRADIENT_STEP
            return self._unless_zero(check, kind, key, float(theirs["loss"]["loss"]), ours[kind][key], moved)

        return _compare(self.port.name, name, ours, theirs, one)

    def _unless_zero(
        self, check: Check, kind: str, key: str, loss: float = 0.0, ours: np.ndarray | None = None, moved: float = 0.0
    ) -> Check:
        """Excuse what an optimiser makes of a zero gradient's rounding; the gradient itself is judged in each pass.

        In float64 its tensors must be as small as the gradient, and the parameters are at most `moved` apart. In
        float32 Adam turns the noise into steps of ±lr in either framework, which says nothing.
        """
        if check.ok or not np.isfinite(check.max_abs) or kind == "loss" or key.split("/")[-1] not in self.zero:
            return check
        if kind == "params":
            small = check.max_abs <= moved
        else:
            small = ours is not None and np.abs(ours).max() <= tolerances.ZERO_GRADIENT * abs(loss)
        if check.dtype == "float64" and not small:
            return check
        return replace(check, max_rel=0.0, limit=check.max_abs, ok=True, note="zero gradient: rounding noise")

    def _narrow(self, name: str, base: Snapshot, example: Example) -> dict[str, list[Check]]:
        """One step in float32 from exactly the same numbers, against the same step in float64."""
        self.truth32.restore(base.cast(_F64))
        truth_loss = self.truth32.step(example.cast(_F64))
        truth = _tensors(self.truth32.snapshot(), truth_loss)
        theirs = []
        for i, (state, draw) in enumerate(rounding_draws(base, example)):
            self.theirs32.restore(state)
            their_loss = self.theirs32.step(draw.shuffled(np.random.default_rng(i)) if i else draw)
            theirs.append(_tensors(self.theirs32.snapshot(), their_loss))
        with jax.enable_x64(False):
            self.ours32.restore(base)
            our_loss = self.ours32.step(example)
            ours = _tensors(self.ours32.snapshot(), our_loss)

        def one(label: str, kind: str, key: str) -> Check:
            draws = [draw[kind][key] for draw in theirs]
            check = compare32(self.port.name, label, ours[kind][key], draws, truth[kind][key])
            return self._unless_zero(check, kind, key)

        return _compare(self.port.name, name, ours, truth, one)


def _nudged(port: Port, weights: Arrays, seed: int) -> TorchSide:
    """Return PyTorch in float64 from weights whose last bits are changed at random."""
    side, rng = TorchSide(port, torch.float64), np.random.default_rng(seed)
    side.load({key: nudge(value, rng) for key, value in weights.items()})
    return side


def check_training(
    port: Port, weights: Arrays, truth: TorchSide, draw: Callable[[], Example], steps: int
) -> list[Check]:
    """Compare `steps` training steps after each: every tensor of the first one, the worst of each kind of the others.

    Args:
        port: which port.
        weights: both start from these, float64.
        truth: PyTorch in float64; it is trained here.
        draw: returns the next batch, fit for `truth`'s present parameters.
        steps: how many.
    """
    truth.load(weights)
    lockstep = _Lockstep(port, weights, truth)
    checks: list[Check] = []
    for number in range(1, steps + 1):
        name = f"train/step{number:02d}"
        for mode, kinds in lockstep.advance(draw(), name).items():
            for kind, found in kinds.items():
                summary = worst(found, f"{name}/{'resync' if mode == 'float32' else mode}/{kind}")
                checks += found if (number == 1 and mode != "free") or kind == "count" else [summary]
    return checks
