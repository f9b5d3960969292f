"""Why a training step differs: its tensors, handed to the tests of likely causes, gradients before parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from jaxport.parity import tolerances
from jaxport.parity.layer import Layers
from jaxport.parity.record import Snapshot
from jaxport.parity.result import Finding
from jaxport.parity.traps import fix_of, trap_of

from .case import Case
from .fit import differs

Values = Mapping[str, Mapping[str, np.ndarray | None]]
"""Kind of tensor → PyTorch's key → value after the step."""

_MOST = 4
"""Tensors of a step that are looked into."""


def explain_step(
    ours: Values,
    theirs: Values,
    before: Snapshot,
    optimizer: Any,
    number: int,
    layers: Layers,
    sources: Mapping[str, str],
) -> list[Finding]:
    """Return the likely causes of what differs after one step in float64 from the same state.

    Args:
        ours: JAX's tensors after the step.
        theirs: PyTorch's.
        before: PyTorch's state before the step.
        optimizer: PyTorch's optimiser.
        number: of the step, from 1.
        layers: PyTorch's modules.
        sources: PyTorch's key → JAX's path.
    """
    from . import find_causes

    found: list[Finding] = list(_zero_gradients(theirs, optimizer, layers, sources))
    for kind in ("loss", "gradient", "buffer", "parameter"):
        cases = []
        for key, value in theirs[kind].items():
            mine = ours[kind].get(key)
            if value is not None and mine is not None and differs(mine, value):
                cases.append((key, _case(kind, key, mine, value, theirs, before, optimizer, number, layers)))
        for key, case in cases[:_MOST]:
            owner = sources.get(key, "")
            found += [replace(cause, torch_path=key, jax_path=owner) for cause in find_causes(case)]
        if cases and kind in ("loss", "gradient"):
            break  # what follows from other gradients is no cause of its own
    return list({(finding.rule, finding.message): finding for finding in reversed(found)}.values())[::-1]


def _case(
    kind: str,
    key: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    truth: Values,
    before: Snapshot,
    optimizer: Any,
    number: int,
    layers: Layers,
) -> Case:
    path, _, name = key.rpartition(".")
    group = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
    return Case(
        kind,
        ours,
        theirs,
        torch=layers.get(path) if kind != "loss" else None,
        name=name,
        training=True,
        step=number,
        learning_rate=float(group.pop("lr", 0.0)) or None,
        previous=before.params.get(key),
        gradient=truth["gradient"].get(key),
        state={state: arrays[key] for state, arrays in before.optimizer.items() if key in arrays},
        optimizer={"name": type(optimizer).__name__, **group},
    )


def _zero_gradients(truth: Values, optimizer: Any, layers: Layers, sources: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the gradients that are zero but for rounding, where the optimiser divides them by their own size."""
    if "eps" not in optimizer.param_groups[0]:
        return
    loss = float(np.abs(truth["loss"]["loss"]).max())  # type: ignore[arg-type]
    for key, gradient in truth["gradient"].items():
        size = float(np.abs(gradient).max()) if gradient is not None and gradient.size else 0.0
        if 0.0 < size <= tolerances.ZERO_GRADIENT * loss:
            text = (
                f"the gradient of {key} is zero but for rounding ({size:.1e} beside a loss of {loss:.2g}): "
                f"{type(optimizer).__name__} makes steps of it that are other ones on every machine"
            )
            rule = "cause/zero-gradient"
            yield Finding(rule, "info", text, sources.get(key, ""), key, trap_of(rule), fix_of(rule))
