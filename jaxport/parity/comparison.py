"""compare: are these two models the same, where do they part, and is that a mistake or rounding?"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from jaxport.errors import UsageError

from . import guards, preflight
from .explain import explain
from .lint import Calls, calls_in, lint
from .modes import DTYPES, MODES, in_order, modes_of, modules, one_mode, spent, store
from .observe_torch import TorchModel
from .reproduce import reproduce
from .result import Finding, Report, Tensor
from .setup import Setup, prepare
from .weights import probe_squares


def compare(
    jax_model: Any,
    torch_model: torch.nn.Module,
    inputs: Any,
    *,
    weights: str | None = "torch",
    mapping: Mapping[str, str | None] | None = None,
    modes: Sequence[str] | None = None,
    gradients: bool = True,
    dtypes: Sequence[str] = DTYPES,
    jax_inputs: Any = None,
    flatten: Mapping[str, tuple[int, ...]] | None = None,
    seed: int = 0,
    randomise: bool = False,
    allow: Collection[str] = (),
    local: bool | None = None,
    title: str = "",
    repro: str | os.PathLike[str] | None = None,
    memory: int | None = None,
) -> Report:
    """Compare a JAX model with a PyTorch model, and say where they first part; neither is changed.

    Both get the same weights and the same inputs, in float64 and in float32, with dropouts replayed. The inputs and
    outputs of every layer that has parameters, the model's outputs, the gradients of a random cotangent (parameters,
    inputs, activations) and, in training mode, the buffers are compared element by element. PyTorch in float32 against
    PyTorch in float64 is the noise floor that float32 is judged by.

    Args:
        jax_model: a `flax.nnx.Module`, an `equinox.Module`, `parity.Linen(module, variables)` or
            `parity.Function(apply, params)`.
        torch_model: any `torch.nn.Module`.
        inputs: PyTorch's arguments: an array, or a tuple of arrays (NumPy, JAX or PyTorch). A JAX model that has its
            channels last gets them so.
        weights: "torch": both get PyTorch's; "jax": both get JAX's; None: they have the same already.
        mapping: JAX's path → PyTorch's, for layers that are not aligned by name, class, shape and order; ``*`` stands
            for any part.
        modes: "eval", "train" or both; default: "train" too if a dropout or a norm with running statistics is there.
        gradients: whether gradients are compared.
        dtypes: "float64", "float32" or both. float64 decides whether the two mean the same.
        jax_inputs: arguments of the JAX model, if they are not PyTorch's with the channels first or last.
        flatten: path of a Linear → (C, *spatial) that JAX flattens as (*spatial, C); default: found out.
        seed: of cotangents, dropout masks and what `randomise` draws.
        randomise: replace what would hide mistakes (zero biases, unit scales, fresh running statistics) by random
            numbers, on both sides alike.
        allow: guards that need not hold, by rule: ``"guard/batch-one"``, or of one array
            ``"guard/zero-bias@head.bias"``; without it a comparison on such a state does not pass.
        local: whether each JAX layer is also run alone on PyTorch's recorded input; default: if something differs.
        title: what the report is called.
        repro: a folder: the first layer that makes a difference by itself is written there as a script and its arrays.
        memory: bytes of recorded arrays that are kept in memory; the rest goes to a temporary folder. Default:
            half of what is free.

    Returns:
        The `Report`; ``report.ok`` is True if the two are the same.

    Raises:
        UsageError: an argument is wrong, or a model does not take the inputs.
    """
    _check(modes, dtypes)
    clock = {"start": time.perf_counter()}
    with preflight.pinned(), store(memory) as kept:
        setup = prepare(
            jax_model,
            (TorchModel(torch_model, torch.float64), TorchModel(torch_model, torch.float32)),
            inputs,
            weights=weights,
            mapping=mapping,
            dtypes=dtypes,
            jax_inputs=jax_inputs,
            flatten=flatten,
            randomise=seed if randomise else None,
            kept=kept if not gradients else None,
        )
        chosen = tuple(modes or modes_of(setup))
        environment = preflight.environment()
        findings = [*preflight.check(x64="float64" in dtypes), *setup.findings, *_guards(setup, chosen, allow)]
        findings += read_settings(setup)
        if weights is None:  # transferred by someone else: a square matrix may be transposed without any error
            findings += probe_squares(setup.jax_layers, setup.torch_layers, setup.alignment.pairs)
        clock["setup"] = time.perf_counter()
        tensors: list[Tensor] = []
        for mode in chosen:
            run, found = one_mode(setup, mode, gradients, seed, local, kept)
            tensors += found
            findings += run.findings()
            if run.alone:
                findings += explain(run, found)
            if repro is not None and not any(finding.rule == "repro/written" for finding in findings):
                findings += reproduce(run, found, jax_model, repro)
            clock[mode] = time.perf_counter()
    report = Report(
        title=title or f"{_name(jax_model)} against {_name(torch_model)}",
        tensors=in_order(tensors),
        findings=tuple(dict.fromkeys(findings)),
        modules=tuple(modules(setup)),
        environment=environment,
        seconds=spent(clock),
        settings={
            "weights": weights,
            "modes": list(chosen),
            "dtypes": list(dtypes),
            "seed": seed,
            "inputs": [list(array.shape) for array in setup.inputs],
            "jax_inputs": [list(array.shape) for array in setup.jax_inputs],
            "flatten": {path: list(shape) for path, shape in setup.flatten.items()},
            "randomise": randomise,
            "allow": sorted(allow),
        },
    )
    return report.with_findings(guards.nothing_compared(report))


def read_settings(setup: Setup) -> list[Finding]:
    """Return what the linter says of both models, before anything is compared."""
    reference = setup.torch32
    theirs = reference.calls if isinstance(reference, TorchModel) else ()
    calls = Calls(theirs, calls_in(setup.jax_models[-1].jaxpr(setup.jax_inputs)))
    found = lint(setup.jax_layers, setup.torch_layers, setup.alignment.pairs, calls)
    # Once both have the same weights, how each draws its own does not matter.
    return [f for f in found if setup.weights is None or f.rule != "lint/initialisation"]


def _guards(setup: Setup, modes: Sequence[str], allow: Collection[str]) -> list[Finding]:
    """Return what in the state or the inputs would hide a difference."""
    return guards.degenerate(setup.torch32.layers(), setup.inputs, "eval" not in modes, allow)


def _check(modes: Sequence[str] | None, dtypes: Sequence[str]) -> None:
    for name, given, allowed in (("modes", modes or ("eval",), MODES), ("dtypes", dtypes, DTYPES)):
        if isinstance(given, str) or not given or set(given) - set(allowed):
            raise UsageError(f"{name}: a sequence of {' and '.join(allowed)} is needed, got {given!r}")


def _name(model: Any) -> str:
    inner = getattr(model, "module", None) or getattr(model, "apply", None)
    named = inner if type(model).__name__ in ("Linen", "Function") and inner is not None else model
    return getattr(named, "__name__", type(named).__name__)
