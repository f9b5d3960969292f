"""train: both models trained as their users wrote it, in lockstep, compared after every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import torch

from jaxport.errors import UsageError

from . import preflight, tolerances, views
from .causes.training import explain_step
from .judge import Sides, judge, measure
from .lint import lint
from .observe_torch import TorchModel
from .record import Arrays, Snapshot, rounding_draws
from .record import Example as _Example
from .result import Finding, Module, Report, Step, Tensor, Verdict
from .setup import Setup, prepare
from .trainers import NAMES, JaxTrainer, Masks, TorchTrainer
from .weights import cast

Values = dict[str, dict[str, Any]]
"""Kind of tensor → PyTorch's key → value after a step."""


def train(
    jax_step: Callable[..., Any],
    torch_step: Callable[..., Any],
    batches: Iterable[Sequence[Any]],
    *,
    jax_model: Any,
    torch_model: torch.nn.Module,
    jax_optimizer: Any,
    torch_optimizer: Callable[..., torch.optim.Optimizer],
    weights: str | None = "torch",
    mapping: Mapping[str, str] | None = None,
    model_inputs: int = 1,
    dtypes: Sequence[str] = ("float64", "float32"),
    seed: int = 0,
    title: str = "",
) -> Report:
    """Train both models on the same batches, from the same weights, with the users' own steps, and compare.

    After every step the loss, the gradients, the parameters, the optimiser's tensors and the buffers are compared, in
    float64 twice: *resynchronised*, from PyTorch's state before the step, and *free*, each side on its own from the
    first step on. In float32 the resynchronised step is judged by PyTorch's own rounding. Dropouts get the same masks.

    Args:
        jax_step: for a `flax.nnx.Module` ``step(model, optimizer, *batch) → loss``, with an `nnx.Optimizer`; for
            `parity.Linen` and `parity.Function` ``step(params, opt_state, *batch) → (params, opt_state, loss)``, with
            Linen's variables as params.
        torch_step: ``step(model, optimizer, *batch) → loss``; it does all of a step, zero_grad to step.
        batches: one for each step, each a sequence of arrays that both steps get, in PyTorch's order of axes; the JAX
            step gets the model's inputs with the channels last if its model has them so.
        jax_model: the JAX model.
        torch_model: PyTorch's.
        jax_optimizer: an optax optimiser; for Linen and functions it is the one that the step uses.
        torch_optimizer: returns PyTorch's optimiser of parameters: ``partial(torch.optim.Adam, lr=1e-3)``.
        weights: "torch", "jax" or None, as in `compare`.
        mapping: JAX's path → PyTorch's, as in `compare`.
        model_inputs: how many arrays of a batch, from the first, are the model's inputs.
        dtypes: "float64", "float32" or both.
        seed: of the dropout masks.
        title: what the report is called.

    Returns:
        A `Report` with ``steps``; its tensors are those of the first step that differs, or of the last one.

    Raises:
        UsageError: an argument is wrong, or a step does not return what it must.
    """
    start = time.perf_counter()
    given = [[np.asarray(a.detach() if hasattr(a, "detach") else a) for a in batch] for batch in batches]
    if not given:
        raise UsageError("batches: at least one batch is needed")
    steps: list[Step] = []
    tensors: list[Tensor] = []
    with preflight.pinned():
        setup = prepare(
            jax_model,
            (TorchModel(torch_model, torch.float64), TorchModel(torch_model, torch.float32)),
            given[0][:model_inputs],
            weights=weights,
            mapping=mapping,
            dtypes=dtypes,
        )
        settings = lint(setup.jax_layers, setup.torch_layers, setup.alignment.pairs)
        run = _Lockstep(setup, jax_model, torch_model, jax_optimizer, torch_optimizer, jax_step, torch_step, seed)
        for number, batch in enumerate(given, 1):
            found, after = run.advance(number, [_in_float32(a) for a in batch])
            steps += found
            if all(t.ok for t in tensors):
                tensors = after
        environment = preflight.environment()
    return Report(
        title=title or f"training {type(torch_model).__name__}, {len(given)} steps",
        tensors=tuple(tensors),
        findings=tuple(dict.fromkeys([*settings, *setup.findings, *run.findings])),
        modules=tuple(Module(path, layer.kind, order=n) for n, (path, layer) in enumerate(setup.torch_layers.items())),
        steps=tuple(steps),
        environment=environment,
        seconds={"train": round(time.perf_counter() - start, 3)},
        settings={"weights": weights, "steps": len(given), "dtypes": list(dtypes), "seed": seed},
    )


def _in_float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


class _Lockstep:
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
        self.setup, self.masks = setup, Masks(np.random.default_rng(seed))
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
        self.grown: dict[str, float] = {}
        self.findings: list[Finding] = []
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
            found = self._judged(ours, None, theirs, [], mode)
            tensors = found if mode == "resync" else tensors
            if mode == "resync" and not self.explained:
                self._explain(ours, theirs, base, number)
            steps += self._steps(number, mode, found, our_loss, loss)
        if "float32" in self.jax:
            found, our_loss, their_loss = self._narrow(base, batch)
            steps += self._steps(number, "float32", found, our_loss, their_loss)
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
                        self.grown[kind] = max(drift if np.isfinite(drift) else 0.0, self.grown.get(kind, 0.0))

    def _judged(
        self, wide: Values | None, narrow: Values | None, truth: Values, draws: Sequence[Values], mode: str
    ) -> list[Tensor]:
        """Compare tensor by tensor; one that JAX does not have is a finding, never skipped."""
        ours = wide or narrow or {}
        scale = float(np.abs(truth["loss"]["loss"]))  # type: ignore[arg-type]
        sources = self.setup.sources
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
                found.append(self._excused(tensor, leaf in zero, mode))
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

    def _excused(self, tensor: Tensor, zero: bool, mode: str) -> Tensor:
        """Apply a free run's limits, and excuse what an optimiser makes of the rounding of a zero gradient."""
        if tensor.ok or tensor.note:
            return tensor
        moved = self.truth.rate * self.truth.steps * tolerances.ZERO_GRADIENT_STEP
        if zero and tensor.kind in ("parameter", "optimizer"):
            if tensor.float64 is None or tensor.kind == "optimizer" or tensor.float64.max_abs <= moved:
                return replace(tensor, verdict=Verdict.ROUNDING, note="zero gradient: rounding noise")
        elif mode == "free" and tensor.float64 is not None and tensor.float64.max_rel <= self._limit(mode, tensor):
            return replace(tensor, verdict=Verdict.ROUNDING)
        elif mode == "float32" and tensor.kind == "parameter" and tensor.float32 is not None:
            limit = (tensor.limit or 0.0) + tolerances.BIAS_CORRECTION * self.truth.rate
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

    def _steps(
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

    def _narrow(self, base: Snapshot, batch: list[np.ndarray]) -> tuple[list[Tensor], np.ndarray, np.ndarray]:
        """One step in float32 from exactly the same numbers, against the same step in float64."""
        start = base.cast(np.dtype(np.float32))
        self.truth32.restore(start.cast(np.dtype(np.float64)))
        truth_loss = self.truth32.step(batch)
        truth = self._of_torch(self.truth32, truth_loss)
        draws = []
        example = _Example(batch[0], batch[-1], np.zeros(()), ())
        for state, drawn in rounding_draws(start, example):
            self.theirs32.restore(state)
            nudged = [drawn.x, *batch[1:-1], drawn.y] if len(batch) > 1 else [drawn.x]
            draws.append(self._of_torch(self.theirs32, self.theirs32.step(nudged)))
        side = self.jax["float32"]
        self._restore(side, start)
        loss = side.step(self._as_jax(batch))
        return self._judged(None, self._of_jax(side, loss), truth, draws, "float32"), loss, truth_loss

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
