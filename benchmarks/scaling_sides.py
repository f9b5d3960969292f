"""The processes of benchmarks/scaling.py: each framework prepares a point, and is timed round by round.

A side has ``prepare(point, folder)`` → facts and ``round(seconds)`` → {"ms": …, "losses": …}.
"""

from __future__ import annotations

import gc
import json
import math
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from scaling_points import DEVICE_STEPS, Point, port_of, register

from jaxport.bench.worker import private_output, timed_round
from jaxport.interop import load_file, save_file

MOST_EPOCHS = 200


# ---------------------------------------------------------------------------------------------------------- the steps


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
        from jaxport.bench.torch_search import TorchBest
        from jaxport.bench.torch_side import TorchSide, Variant, is_convolutional, reference_model

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


def forget_compiled() -> None:
    """Forget what torch.compile made of other points: after eight programs of one function it gives up."""
    import torch

    torch._dynamo.reset()


def _precisions() -> tuple[Any, Any]:
    import torch

    return torch.float64, torch.float32


# --------------------------------------------------------------------------------------------------------- the epochs


def examples(point: Point) -> tuple[np.ndarray, np.ndarray]:
    """Return the training examples of a point that is timed by epochs."""
    count = point.n if point.axis == "data" else DEVICE_STEPS * point.batch
    train = port_of(point).synthetic(count, 0).train
    return np.asarray(train.x), np.asarray(train.y)


def epochs_for(seconds: float, epoch: float) -> int:
    """Return how many epochs a round has."""
    return max(1, min(MOST_EPOCHS, math.ceil(seconds / max(epoch, 1e-6))))


class JaxEpochs:
    """Whole epochs by the engine, over as many devices as the point says; the first one is in the given order."""

    def prepare(self, point: Point, folder: str) -> dict[str, Any]:
        import jax

        from jaxport.bench.floor import step_cost
        from jaxport.engine import make_placement
        from jaxport.interop.state_dict import load_state_dict, state_dict

        self.port, (x, y) = port_of(point), examples(point)
        self.data, self.place = (x, y), None
        if point.axis == "devices":
            assert len(jax.devices()) == point.n, f"{len(jax.devices())} devices"
            self.place = make_placement(devices=point.n) if point.n > 1 else None
        weights = Path(folder, "weights.safetensors")
        if not weights.exists():
            save_file(state_dict(self.port.build(0)), weights)
        self.module = self.port.build(0)
        load_state_dict(self.module, load_file(weights))
        loss = self._fit(1, shuffle=False)["loss"][0]
        self.epoch_s = self._fit(2)["seconds"][1]
        facts = {"batch": point.batch, "steps": -(-len(x) // point.batch), "examples": len(x)}
        return {**facts, "loss": loss, "cost": step_cost(self.port, point.batch)}

    def round(self, seconds: float) -> dict[str, Any]:
        count = epochs_for(seconds, self.epoch_s)
        taken = self._fit(1 + count)["seconds"][1:]
        self.epoch_s = sum(taken) / count
        return {"ms": 1000 * self.epoch_s}

    def _fit(self, epochs: int, shuffle: bool = True) -> dict[str, Any]:
        from jaxport import engine

        history = engine.fit(
            self.module,
            self.data,
            loss=self.port.loss(),
            optimizer=self.port.make_optimizer(),
            epochs=epochs,
            batch_size=self.port.batch_size,
            prepare=self.port.prepare,
            shuffle=shuffle,
            place=self.place,
        )
        return dict(history.columns)


class TorchEpochs:
    """Whole epochs over tensors in memory, each batch one gather by a permutation: the fastest way that PyTorch has.

    The inputs are floats before the clock starts. Threads, optimiser and compilation are the fastest that were found.
    """

    def prepare(self, point: Point, folder: str, compiled: bool = False) -> dict[str, Any]:
        import jax.numpy as jnp
        import torch

        from jaxport import reference
        from jaxport.bench.cores import available_cores
        from jaxport.bench.torch_side import device

        self.port, (x, y) = port_of(point), examples(point)
        self.device = device()
        prepared = torch.from_numpy(np.array(self.port.prepare(jnp.asarray(x))))
        target = torch.from_numpy(y)
        target = target if target.is_floating_point() else target.long()
        self.data = prepared.to(self.device), target.to(self.device)
        weights = load_file(Path(folder, "weights.safetensors"))
        self.model = reference.build(self.port.name).to(self.device)
        self.model.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in weights.items()})
        self.criterion = getattr(torch.nn, self.port.loss.func.__name__)(
            *self.port.loss.args, **self.port.loss.keywords
        )
        kinds = [{}, {"foreach": True}, {"fused": True}]
        variants = [(t, kind, False) for t in sorted({1, available_cores()}) for kind in kinds]
        self._choose(*variants[0])
        first = self.epoch(shuffle=False)
        best = min(variants, key=self._time)
        if compiled:
            forget_compiled()
            with suppress(RuntimeError):
                best = min(best, (*best[:2], True), key=self._time)
        self.epoch_s = self._time(best)
        threads, kind, is_compiled = best
        how = "torch.compile" if is_compiled else "eager"
        name = f"{how}, {next(iter(kind), 'plain')} optimiser, {threads} thread{'s'[: threads > 1]}"
        return {"loss": first, "variant": name}

    def _choose(self, threads: int, kind: dict[str, bool], compiled: bool) -> None:
        import torch

        torch.set_num_threads(threads)
        optimizer = getattr(torch.optim, self.port.optimizer.func.__name__)
        options = {**self.port.optimizer.keywords, **kind}
        self.optimizer = optimizer(self.model.parameters(), *self.port.optimizer.args, **options)

        def forward(x: Any, y: Any) -> Any:
            return self.criterion(self.model(x), y)

        self.forward = torch.compile(forward, dynamic=False) if compiled else forward

    def _time(self, variant: tuple[int, dict[str, bool], bool]) -> float:
        """Return the seconds of (at most 64 batches of) an epoch, the lesser of two."""
        self._choose(*variant)
        self.epoch(limit=4)
        times = []
        for _ in range(2):
            start = time.perf_counter()
            self.epoch(limit=64)
            times.append(time.perf_counter() - start)
        return min(times)

    def epoch(self, shuffle: bool = True, limit: int | None = None) -> float:
        """Train once over the examples (over `limit` batches), and return the mean loss."""
        import torch

        x, y = self.data
        size = self.port.batch_size or len(x)
        order = (torch.randperm if shuffle else torch.arange)(len(x), device=self.device)
        total = torch.zeros((), device=self.device)
        for index in order.split(size)[:limit]:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.forward(x[index], y[index])
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return float(total) / min(-(-len(x) // size), limit or len(x))

    def round(self, seconds: float) -> dict[str, Any]:
        count = epochs_for(seconds, self.epoch_s)
        start = time.perf_counter()
        for _ in range(count):
            self.epoch()
        self.epoch_s = (time.perf_counter() - start) / count
        return {"ms": 1000 * self.epoch_s}


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
