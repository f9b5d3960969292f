"""check: a JAX model against what was recorded of PyTorch's, where PyTorch is not installed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from . import golden as goldens
from . import guards, preflight
from .golden import Golden
from .layer import Layers
from .modes import in_order, modules, one_mode, spent, store
from .result import Finding, Report, Tensor
from .seen import Pass, Store
from .setup import prepare


class GoldenModel:
    """A recorded PyTorch model in one precision, in the form in which a comparison runs one."""

    draws = False

    def __init__(self, golden: Golden, dtype: str) -> None:
        self.golden, self.dtype = golden, dtype
        self.hidden: list[str] = []

    def layers(self) -> Layers:
        """Return what is known of its modules."""
        return self.golden.layers

    def state(self, copied: bool = True) -> dict[str, np.ndarray]:
        """Return its state dict."""
        return self.golden.state

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Do nothing: what was recorded has the weights that it has."""

    def draw_masks(self, inputs: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """Return the recorded masks."""
        return self.golden.masks("train")

    def draw_cotangents(
        self, inputs: Sequence[np.ndarray], training: bool, rng: np.random.Generator
    ) -> list[np.ndarray] | None:
        """Return the recorded cotangents; None if no gradients were recorded."""
        return self.golden.cotangents("train" if training else "eval") or None

    def output_shapes(
        self, inputs: Sequence[np.ndarray], watch: Collection[str] = (), store: Store | None = None
    ) -> list[tuple[int, ...]]:
        """Return the shapes of the recorded outputs."""
        return [out.shape for out in self.run(inputs, False).outputs]

    def flattened(self, inputs: Sequence[np.ndarray]) -> dict[str, tuple[int, ...]]:
        """Return the layers behind a flatten: path → (C, *spatial)."""
        return {path: tuple(shape) for path, shape in self.golden.manifest.get("flatten", {}).items()}

    def run(
        self,
        inputs: Sequence[np.ndarray],
        training: bool,
        *,
        watch: Collection[str] = (),
        masks: Sequence[np.ndarray] = (),
        cotangents: Sequence[np.ndarray] | None = None,
        store: Store | None = None,
    ) -> Pass:
        """Return the recorded pass; a mode that was not recorded is asked of the one that was."""
        mode = "train" if training else "eval"
        return self.golden.seen(mode if mode in self.golden.modes else self.golden.modes[0], self.dtype)


def check(
    jax_model: Any,
    golden: Golden | str | os.PathLike[str],
    *,
    mapping: Mapping[str, str | None] | None = None,
    modes: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    jax_inputs: Any = None,
    flatten: Mapping[str, tuple[int, ...]] | None = None,
    local: bool | None = None,
    title: str = "",
    memory: int = 2 << 30,
) -> Report:
    """Compare a JAX model with a golden: as `compare`, and needs no PyTorch. The model gets the recorded weights.

    Args:
        jax_model: as in `compare`.
        golden: what `record` wrote, or its path.
        mapping: JAX's path → PyTorch's, as in `compare`.
        modes: "eval", "train" or both; default: those recorded.
        dtypes: "float64", "float32" or both; default: those recorded.
        jax_inputs: the JAX model's arguments, if they are not the recorded ones with the channels first or last.
        flatten: path of a Linear → (C, *spatial), as in `compare`.
        local: whether each JAX layer is run alone on the recorded input; default: if something differs.
        title: what the report is called.
        memory: bytes of recorded arrays that are kept in memory.

    Raises:
        DataError: the file is missing or damaged.
        UsageError: an argument is wrong, or was not recorded.
    """
    recorded = golden if isinstance(golden, Golden) else goldens.read(golden)
    chosen, precisions = tuple(modes or recorded.modes), tuple(dtypes or recorded.dtypes)
    for mode in chosen:
        for dtype in precisions:
            recorded.seen(mode, dtype)  # says what was not recorded before anything is run
    clock = {"start": time.perf_counter()}
    with preflight.pinned(), store(memory) as kept:
        narrow = "float32" if "float32" in recorded.dtypes else "float64"
        setup = prepare(
            jax_model,
            (GoldenModel(recorded, "float64"), GoldenModel(recorded, narrow)),
            tuple(recorded.inputs),
            weights="torch",
            mapping=mapping,
            dtypes=precisions,
            jax_inputs=jax_inputs,
            flatten=flatten,
        )
        findings = [*preflight.check(x64="float64" in precisions), *setup.findings]
        tensors: list[Tensor] = []
        for mode in chosen:
            run, found = one_mode(setup, mode, bool(recorded.cotangents(mode)), 0, local, kept)
            tensors += found
            findings += [*run.findings(), *_explained(run, found)]
            clock[mode] = time.perf_counter()
    environment = {**preflight.environment(), "recorded": dict(recorded.manifest["environment"])}
    report = Report(
        title=title or f"{type(jax_model).__name__} against the recorded {recorded.title}",
        tensors=in_order(tensors),
        findings=tuple(dict.fromkeys(findings)),
        modules=tuple(modules(setup)),
        environment=environment,
        seconds=spent(clock),
        settings={
            "golden": recorded.title,
            "modes": list(chosen),
            "dtypes": list(precisions),
            "flatten": dict(setup.flatten),
        },
    )
    return report.with_findings(guards.nothing_compared(report))


def _explained(run: Any, found: Sequence[Tensor]) -> list[Finding]:
    """Return likely causes: they are tested with PyTorch's own functions, where it is there."""
    if not run.alone or find_spec("torch") is None:
        return []
    from .explain import explain

    return explain(run, found)
