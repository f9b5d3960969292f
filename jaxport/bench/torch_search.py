"""PyTorch at its best: the fastest of its alternatives, found by trying them before anything is timed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from jaxport.errors import JaxportError

from .cores import available_cores
from .epoch_torch import TorchEpoch
from .infer_torch import TorchInfer
from .inputs import Inputs
from .memory import torch_peak_mb
from .recipe import Recipe, recipe_of
from .rows import Reference, Values, disagreement
from .torch_model import Variant, is_convolutional, reference_model
from .torch_side import TorchSide

if TYPE_CHECKING:
    from jaxport.port import Port

TaskSide = TorchSide | TorchEpoch | TorchInfer

# Two alternatives are judged by the medians of so many short passes in turns, each of about this long; of steps that
# take longer than that by those of fewer.
_TRIAL_S = 0.1
_TRIALS, _LONG_TRIALS = 5, 3
# What was so many times as fast for the eager model as its alternative is not tried again with torch.compile, whose
# every variant is a compilation.
CLEAR = 1.25


class _First(NamedTuple):
    """What a new side's first steps took, and whether it found its forward pass compiled."""

    seconds: float
    steps: int
    shared: bool


class TorchBest:
    """A port's task in the fastest variant of a framework: "torch", "torch-channels-last", "torch-compile" or
    "torch-dataloader".

    A variant whose losses are not PyTorch's own (a compiled Adam computes 1 - βᵗ in float32) is not taken; where it
    would have been faster, the row says so.

    Args:
        framework: which.
        port: which port, or its recipe.
        inputs: what everything is given, the task among it.
        reference: PyTorch's values.
        hint: what the eager model's search has found, its "hint"; torch.compile begins there.

    Raises:
        JaxportError: the framework means nothing for this model.
    """

    def __init__(
        self,
        framework: str,
        port: Port | Recipe,
        inputs: Inputs,
        reference: Reference,
        hint: Mapping[str, Any] | None = None,
    ) -> None:
        self.port, self.inputs, self.reference, self.steps = recipe_of(port), inputs, reference, inputs.steps
        self.convolutional = is_convolutional(reference_model(port))
        if framework == "torch-channels-last" and not self.convolutional:
            raise JaxportError("no convolution: channels_last would change nothing")
        self.discarded: dict[str, float] = {}
        self.margins: dict[str, float] = {}
        self.firsts: dict[Variant, _First] = {}
        self.hint = (hint or {}) if framework == "torch-compile" else {}
        self.side = self._made(self._first(framework))
        self.ms = _trial_ms(self.side)[0]
        self.peak_mb = torch_peak_mb()  # before other variants are tried, which all leave something behind
        self._search(framework)
        self.compile_s = self._compile_s()

    def facts(self) -> dict[str, Any]:
        """Return the row's fields that describe this side."""
        threads, on_cpu = self.side.variant.threads, self.side.device.type == "cpu"
        cpu = f"cpu, {threads} thread{'s'[: threads > 1]}"
        faster = {text: ms for text, ms in self.discarded.items() if ms < self.ms}
        notes = [f"{text} discarded, its losses differ: {ms:.3g} ms in a trial" for text, ms in faster.items()]
        if (timed := getattr(self.side, "timed", self.steps)) < self.steps:
            notes.append(f"{timed} of {self.steps} epochs timed")
        return {
            "compile_s": max(0.0, self.compile_s),
            "threads": threads if on_cpu else None,
            "device": cpu if on_cpu else torch.cuda.get_device_name(),
            "variant": "; ".join([str(self.side.variant), *notes]),
            "choice": list(self.side.variant),
            "hint": {"variant": list(self.side.variant), "ms": self.ms, "margins": self.margins},
            "peak_memory_mb": self.peak_mb,
            "versions": {"torch": torch.__version__},
        }

    def one_pass(self) -> tuple[float, Values]:
        """Run the task from the initial weights; return its seconds, and the values that the gate compares."""
        return self.side.one_pass()

    def _first(self, framework: str) -> Variant:
        compiled = framework == "torch-compile"
        if compiled:
            _start_compiler()
        if self.hint:
            return Variant(*self.hint["variant"])._replace(compiled=True, loader=False)
        threads = torch.get_num_threads() if torch.cuda.is_available() else available_cores()
        optimizer = "" if self.inputs.task.startswith("infer") else "plain"
        variant = Variant(threads, optimizer, framework == "torch-channels-last", compiled)
        return variant._replace(loader=framework == "torch-dataloader")

    def _made(self, variant: Variant) -> TaskSide:
        """Return a new side, and keep its first step's time; variants share what is compiled, but for the optimiser."""
        side = make_side(self.port, self.inputs, variant)
        shared = any(_forward(known) == _forward(variant) for known in self.firsts)
        self.firsts[variant] = _First(side.first_step_s, side.first_steps, shared)
        return side

    def _compile_s(self) -> float:
        """Return the seconds of the first step beyond a step's usual ones, of everything that the choice compiled."""
        chosen = self.side.variant
        shares = {known: first for known, first in self.firsts.items() if _forward(known) == _forward(chosen)}
        needed = [first for known, first in shares.items() if known == chosen or (chosen.compiled and not first.shared)]
        return sum(max(0.0, first.seconds - first.steps * self.ms / 1000) for first in needed)

    def _search(self, framework: str) -> None:
        """Change one thing at a time, and keep what is faster."""
        tried = {self.side.variant}
        for change in self._changes(framework, available_cores()):
            variant = self.side.variant._replace(**change)
            if variant not in tried and self.hint.get("margins", {}).get(*change, 1.0) < CLEAR:
                tried.add(variant)
                self._try(variant, *change)

    def _try(self, variant: Variant, changed: str) -> None:
        try:
            side = self._made(variant)
        except (
            JaxportError,
            RuntimeError,
            TypeError,
            ValueError,
        ):  # an option that this optimiser or device does not have
            return
        self.ms, ms = _trial_ms(self.side, side)
        self.margins[changed] = max(self.ms, ms) / min(self.ms, ms)
        # Eager variants are PyTorch's own arithmetic; what differs in them is rounding.
        if ms < self.ms and variant.compiled and disagreement(side.values(), self.reference):
            text = f"{variant} with {variant.threads} thread{'s'[: variant.threads > 1]}"
            self.discarded[text] = ms
        elif ms < self.ms:
            self.side, self.ms = side, ms

    def _changes(self, framework: str, cores: int) -> Iterator[dict[str, Any]]:
        """Yield what to change in turn; threads first and last, since what is best depends on them and they on it.

        One thread is often faster than all cores: on small models, and on a machine that has other work.
        """
        threads = [] if torch.cuda.is_available() else [{"threads": 1}, {"threads": cores}]
        yield from threads[: not self.hint]
        if framework == "torch-compile" and self.convolutional:
            yield {"channels_last": not self.side.variant.channels_last}
        if framework == "torch-compile" and torch.cuda.is_available():
            yield {"graphs": True}
        if self.inputs.task.startswith("infer"):
            yield from [{"freezing": True}] if framework == "torch-compile" else []
        elif framework != "torch-dataloader":  # the tutorials' loop has the optimiser as it comes
            others = ("fused", _OTHER_OPTIMIZER[framework == "torch-compile"])
            yield from ({"optimizer": kind} for kind in others[bool(self.hint) :])
        if self.inputs.task == "epoch" and framework != "torch-dataloader" and self.port.prepare != "as_they_are":
            yield {"prepared": not self.side.variant.prepared}
        yield from threads


_OTHER_OPTIMIZER = ("foreach", "compiled")


def make_side(port: Recipe, inputs: Inputs, variant: Variant) -> TaskSide:
    """Return the inputs' task in a variant, warm."""
    kind = {"step": TorchSide, "epoch": TorchEpoch}.get(inputs.task, TorchInfer)
    return kind(port, inputs, variant)


def _forward(variant: Variant) -> Variant:
    """Return what decides how the forward pass is compiled."""
    return variant._replace(optimizer="")


def _start_compiler() -> None:
    """Compile a small step: what the compiler loads at its first use is no part of compiling."""
    # Variants are entries of one cache, and beyond its limit a model runs eagerly.
    torch._dynamo.config.recompile_limit = 64  # pyright: ignore[reportAttributeAccessIssue]
    layer = torch.nn.Linear(4, 4)
    torch.compile(lambda x: layer(x).relu().mean(), dynamic=False)(torch.ones(2, 4)).backward()


def _trial_ms(*sides: TaskSide) -> list[float]:
    """Return milliseconds per step of each side, medians over short passes that take turns."""
    limits = [_trial_steps(side) for side in sides]
    trials = _LONG_TRIALS if min(limits) == 1 else _TRIALS
    turns = [[side.one_pass(n)[0] / n for side, n in zip(sides, limits, strict=True)] for _ in range(trials)]
    return [1000 * median(times) for times in zip(*turns, strict=True)]


def _trial_steps(side: TaskSide) -> int:
    few = min(3, side.most)
    if side.one_pass(1)[0] > _TRIAL_S and side.one_pass(1)[0] > _TRIAL_S:  # the first passes of a new side are slower
        return 1
    side.one_pass(few)
    return max(1, min(side.most, math.ceil(_TRIAL_S * few / side.one_pass(few)[0])))
