"""Lockstep: the models of a comparison of training, and one step of all of them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import torch

from . import tolerances, views
from .causes.training import explain_step
from .judge import measure
from .record import Arrays, Snapshot, rounding_draws
from .record import Example as _Example
from .result import Finding, Step, Tensor
from .setup import Setup
from .step_judge import StepJudge, Values
from .step_masks import Masks
from .trainer_torch import TorchTrainer
from .trainers import NAMES, JaxTrainer
from .weights import cast


class Lockstep:
    """The models of a comparison of training: the truth, PyTorch beside itself, and JAX, in each precision."""

    def __init__(
        self,
        setup: Setup,
        jax_model: Any,
        torch_model: Any,
        jax_optimizer: Any,
        torch_optimizer: Any,
        jax_step: Any,
        torch_step: Any,
        seed: int,
    ) -> None:
        self.setup, self.masks = setup, Masks(np.random.default_rng(seed), setup.mask_of_jax)
        state = setup.torch64.state()

        def torch_side(dtype: torch.dtype, weights: Arrays = state) -> TorchTrainer:
            side = TorchTrainer(torch_model, dtype, torch_optimizer, torch_step, self.masks)
            side.load(weights)
            return side

        self.truth = torch_side(torch.float64)
        self.own = [
            torch_side(torch.float64, Snapshot(0, state, {}).nudged(np.random.default_rng(i)).params)
            for i in range(tolerances.OWN_RUNS)
        ]
        self.theirs32, self.truth32 = torch_side(torch.float32), torch_side(torch.float64)
        self.jax: dict[str, JaxTrainer] = {}
        names = [n for n, side in (("free", setup.jax64), ("resync", setup.jax64), ("float32", setup.jax32)) if side]
        for name in names:
            wide = name != "float32"
            with jax.enable_x64(wide):
                model = cast(jax_model, np.float64 if wide else np.float32)
            side = JaxTrainer(model, np.float64 if wide else np.float32, jax_optimizer, jax_step, self.masks)
            if setup.plan.entries and setup.weights is not None:
                side.load(setup.plan.to_jax(state), {}, 0)
            self.jax[name] = side
        self.findings: list[Finding] = []
        self.judge = StepJudge(setup.sources, self.findings)
        self.explained = False

    def _explain(self, ours: Values, theirs: Values, base: Snapshot, number: int) -> None:
        """Look for the causes of the first step that differs."""
        setup = self.setup
        found = explain_step(ours, theirs, base, self.truth.optimizer, number, setup.torch_layers, setup.sources)
        self.findings += found
        self.explained = bool(found)

    def advance(self, number: int, batch: list[np.ndarray]) -> tuple[list[Step], list[Tensor]]:
        """Take one step everywhere; return what is to be said of it, and its tensors."""
        base = self.truth.snapshot()
        loss = self.truth.step(batch, first=True)
        self.judge.rate, self.judge.count = self.truth.rate, self.truth.steps
        theirs = self._of_torch(self.truth, loss)
        self._grow(batch, theirs)
        steps: list[Step] = []
        tensors: list[Tensor] = []
        for mode in ("free", "resync"):
            if (side := self.jax.get(mode)) is None:
                continue
            if mode == "resync":
                self._restore(side, base)
            before = side.arrays()
            our_loss = side.step(self._as_jax(batch))
            ours = self._of_jax(side, our_loss)
            if mode == "free":
                self._is_training(number, before, side, base)
            found = self.judge.tensors(ours, None, theirs, [], mode)
            tensors = found if mode == "resync" else tensors
            if mode == "resync" and not self.explained:
                self._explain(ours, theirs, base, number)
            steps += self.judge.steps(number, mode, found, our_loss, loss)
        if "float32" in self.jax:
            found, our_loss, their_loss = self._narrow(base, batch)
            steps += self.judge.steps(number, "float32", found, our_loss, their_loss)
            tensors = tensors or found
        return steps, tensors

    def _as_jax(self, batch: list[np.ndarray]) -> list[np.ndarray]:
        axes = self.setup.input_axes or []
        head = [views.to_jax(a, order) for a, order in zip(batch, axes, strict=False)]
        return [*head, *batch[len(axes) :]]

    def _of_torch(self, side: TorchTrainer, loss: np.ndarray) -> Values:
        state = side.snapshot()
        buffers = {name for name, _ in side.module.named_buffers()}
        kept = {
            f"{name}/{key}": array
            for name, arrays in state.optimizer.items()
            if name in NAMES
            for key, array in arrays.items()
        }
        return {
            "loss": {"loss": loss},
            "gradient": dict(side.gradients()),
            "parameter": {key: value for key, value in state.params.items() if key not in buffers},
            "optimizer": kept,
            "buffer": {key: value for key, value in state.params.items() if key in buffers and value.dtype.kind == "f"},
        }

    def _of_jax(self, side: JaxTrainer, loss: np.ndarray) -> Values:
        plan = self.setup.plan
        arrays, kept = side.arrays(), side.kept()
        state = plan.to_torch(arrays)
        found = {}
        for name, theirs in NAMES.items():
            for own in theirs:
                if own in kept:
                    found |= {f"{name}/{key}": value for key, value in plan.gradients_to_torch(kept[own]).items()}
                    break
        return {
            "loss": {"loss": loss},
            "gradient": dict(plan.gradients_to_torch(kept.get("gradient", {}))),
            "parameter": dict(state),
            "optimizer": found,
            "buffer": dict(state),
        }

    def _restore(self, side: JaxTrainer, base: Snapshot) -> None:
        """Set a JAX side to PyTorch's state."""
        plan, own = self.setup.plan, side.kept()
        kept: dict[str, Arrays] = {}
        for name, arrays in base.optimizer.items():
            for field in NAMES.get(name, ()):
                if field in own:
                    whole = {key: arrays.get(key, np.zeros_like(value)) for key, value in base.params.items()}
                    kept[field] = {k: v for k, v in plan.to_jax(whole).items() if k in own[field]}
                    break
        if not base.optimizer:
            kept = {name: {k: np.zeros_like(v) for k, v in arrays.items()} for name, arrays in own.items()}
        side.load(plan.to_jax(base.params), kept, base.steps)

    def _grow(self, batch: list[np.ndarray], theirs: Values) -> None:
        """Take the step in PyTorch's own runs from nudged weights, and note how far each kind drifts."""
        for side in self.own:
            for kind, values in self._of_torch(side, side.step(batch)).items():
                for key, value in values.items():
                    expected = theirs[kind].get(key)
                    if value is not None and expected is not None:
                        drift = measure(value, expected).max_rel
                        self.judge.grown[kind] = max(
                            drift if np.isfinite(drift) else 0.0, self.judge.grown.get(kind, 0.0)
                        )

    def _narrow(self, base: Snapshot, batch: list[np.ndarray]) -> tuple[list[Tensor], np.ndarray, np.ndarray]:
        """One step in float32 from exactly the same numbers, against the same step in float64."""
        start = base.cast(np.dtype(np.float32))
        self.truth32.restore(start.cast(np.dtype(np.float64)))
        truth_loss = self.truth32.step(batch)
        truth = self._of_torch(self.truth32, truth_loss)
        draws = []
        example = _Example(batch[0], batch[-1], np.zeros(()), ())
        masks = self.masks.drawn
        for i, (state, drawn) in enumerate(rounding_draws(start, example)):
            self.theirs32.restore(state)
            nudged = [drawn.x, *batch[1:-1], drawn.y] if len(batch) > 1 else [drawn.x]
            if i:
                # Of a mean over few numbers, last bits alone round to one and the same in every run: its order too.
                nudged, self.masks.drawn = _shuffled(nudged, masks, np.random.default_rng(i))
            draws.append(self._of_torch(self.theirs32, self.theirs32.step(nudged)))
            self.masks.drawn = masks
        side = self.jax["float32"]
        self._restore(side, start)
        loss = side.step(self._as_jax(batch))
        return self.judge.tensors(None, self._of_jax(side, loss), truth, draws, "float32"), loss, truth_loss

    def _is_training(self, number: int, before: Arrays, side: JaxTrainer, base: Snapshot) -> None:
        """Find training that does nothing: parameters that stay where they were while PyTorch's move."""
        if number > 1:
            return
        after = side.arrays()
        trained = set(side.kept().get("gradient", before))
        still = [key for key in before if key in trained and np.array_equal(before[key], after[key])]
        now = self.truth.snapshot().params
        moved = [key for key in base.params if not np.array_equal(base.params[key], now[key])]
        if trained and len(still) == len(trained) and moved:
            text = "no parameter of the JAX model moved in the first step, and PyTorch's did: training does nothing"
            fix = "a module that is changed inside jax.jit is a copy: return its state, or use nnx.jit"
            self.findings.append(Finding("train/no-op", "error", text, trap=32, fix=fix))


def _shuffled(
    batch: list[np.ndarray], masks: list[np.ndarray], rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the examples of a batch in another order, with their masks; as they are, if an array has no such axis."""
    count = batch[0].shape[0] if batch[0].ndim else 0
    if not all(array.ndim and array.shape[0] == count for array in [*batch, *masks]):
        return batch, masks
    order = rng.permutation(count)
    return [array[order] for array in batch], [mask[order] for mask in masks]
