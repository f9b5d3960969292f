"""The processes of benchmarks/scaling.py: each framework prepares a point, and is timed round by round.

A side has ``prepare(point, folder)`` → facts and ``round(seconds)`` → {"ms": …, "losses": …}.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from scaling_epochs import JaxEpochs, TorchEpochs, forget_compiled
from scaling_points import Point, port_of, register

from jaxport.bench.worker import private_output, timed_round


class JaxSteps:
    """Training steps in JAX; preparing also draws weights and batches, and counts what a step needs."""

    def prepare(self, point: Point, folder: str) -> dict[str, Any]:
        from jaxport.bench.floor import step_cost
        from jaxport.bench.inputs import make_inputs, save_inputs
        from jaxport.bench.jax_side import JaxSide

        port = port_of(point)
        if not point.timed:
            return {"batch": point.batch, "steps": 1, "examples": point.batch, "cost": step_cost(port)}
        inputs = make_inputs(port, point.steps)
        save_inputs(inputs, folder)
        self.side = JaxSide(port, inputs)
        batch = inputs.x.shape[1]
        facts = {"batch": batch, "steps": 1, "examples": batch, "variant": self.side.facts()["variant"]}
        return {**facts, "cost": step_cost(port, batch)}

    def round(self, seconds: float) -> dict[str, Any]:
        return timed_round(self.side, seconds)


class TorchSteps:
    """Training steps in PyTorch: the fastest of eager, channels_last and, where asked for, torch.compile of it."""

    def prepare(self, point: Point, folder: str, compiled: bool = False) -> dict[str, Any]:
        from jaxport.bench.inputs import load_inputs
        from jaxport.bench.rows import Reference, disagreement
        from jaxport.bench.torch_model import is_convolutional, reference_model
        from jaxport.bench.torch_search import TorchBest
        from jaxport.bench.torch_side import TorchSide, Variant

        register(point)
        port, inputs = port_of(point), load_inputs(folder)
        truth, eager = (TorchSide(port, inputs, Variant(1), dtype).one_pass()[1] for dtype in _precisions())
        reference = Reference(truth, eager)
        names = ["torch", *(["torch-channels-last"] if is_convolutional(reference_model(port)) else [])]
        found = [TorchBest(name, port, inputs, reference) for name in names]
        sides: list[Any] = [min(found, key=lambda best: best.ms).side]
        if compiled:
            forget_compiled()
            with suppress(RuntimeError):  # no compiler on this machine
                sides.append(TorchSide(port, inputs, sides[0].variant._replace(compiled=True)))
        right = [side for side in sides if disagreement(side.one_pass()[1], reference) is None]
        self.side: Any = min(right or sides[:1], key=lambda side: timed_round(side, 0.1)["ms"])
        return {"variant": _named(self.side.variant), "reference": {"truth": truth, "eager": eager}}

    def round(self, seconds: float) -> dict[str, Any]:
        return timed_round(self.side, seconds)


def _named(variant: Any) -> str:
    return f"{variant}, {variant.threads} thread{'s'[: variant.threads > 1]}"


def _precisions() -> tuple[Any, Any]:
    import torch

    return torch.float64, torch.float32


SIDES: dict[tuple[str, bool], Callable[[], Any]] = {
    ("jax", False): JaxSteps,
    ("jax", True): JaxEpochs,
    ("torch", False): TorchSteps,
    ("torch", True): TorchEpochs,
}


def serve(framework: str) -> None:
    """Answer each request until they end."""
    answer, side = private_output(), None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "round" in request:
                assert side is not None
                answer(side.round(request["round"]))
            else:
                side = None
                gc.collect()
                point = Point(*request["point"])
                side = SIDES[framework, point.axis in ("data", "devices")]()
                options = {"compiled": request["compiled"]} if framework == "torch" else {}
                answer(side.prepare(point, request["folder"], **options))
        except Exception as error:
            side = None
            answer({"error": f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"})


if __name__ == "__main__":
    serve(sys.argv[1])
