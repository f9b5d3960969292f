"""Whole epochs from data in memory, in JAX and in PyTorch, for benchmarks/scaling.py."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scaling_points import DEVICE_STEPS, Point, port_of

from jaxport.interop import load_file, save_file

MOST_EPOCHS = 200


def forget_compiled() -> None:
    """Forget what torch.compile made of other points: after eight programs of one function it gives up."""
    import torch

    torch._dynamo.reset()


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

    The inputs are floats before the clock starts. Threads, optimiser and compilation are the fastest that were found at
    the first size of a series: the others have the same batches, only more of them.
    """

    found: ClassVar[dict[tuple[str, int], tuple[int, dict[str, bool], bool]]] = {}

    def prepare(self, point: Point, folder: str, compiled: bool = False) -> dict[str, Any]:
        import jax.numpy as jnp
        import torch

        from jaxport import reference
        from jaxport.bench.cores import available_cores
        from jaxport.bench.torch_model import device

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
        if compiled:
            forget_compiled()
        self._choose(available_cores(), {}, False)
        first = self.epoch(shuffle=False)
        key = point.series, point.batch
        best = self.found[key] = self.found.get(key) or self._fastest(compiled)
        self.epoch_s = self._time(*best)
        threads, kind, is_compiled = best
        how = "torch.compile" if is_compiled else "eager"
        name = f"{how}, {next(iter(kind), 'plain')} optimiser, {threads} thread{'s'[: threads > 1]}"
        return {"loss": first, "variant": name}

    def _fastest(self, compiled: bool) -> tuple[int, dict[str, bool], bool]:
        """Return the fastest (threads, optimiser, compilation)."""
        from jaxport.bench.cores import available_cores

        kinds = [{}, {"foreach": True}, {"fused": True}]
        variants = [(t, kind, False) for t in sorted({1, available_cores()}) for kind in kinds]
        times = {self._time(*variant): variant for variant in variants}
        best = times[min(times)]
        if compiled:
            with suppress(RuntimeError):
                times[self._time(*best[:2], True)] = *best[:2], True
        return times[min(times)]

    def _choose(self, threads: int, kind: dict[str, bool], compiled: bool) -> None:
        import torch

        torch.set_num_threads(threads)
        optimizer = getattr(torch.optim, self.port.optimizer.func.__name__)
        options = {**self.port.optimizer.keywords, **kind}
        self.optimizer = optimizer(self.model.parameters(), *self.port.optimizer.args, **options)

        def forward(x: Any, y: Any) -> Any:
            return self.criterion(self.model(x), y)

        self.forward = torch.compile(forward, dynamic=False) if compiled else forward
        self.chosen = threads, kind, compiled

    def _time(self, *variant: Any) -> float:
        """Return the seconds of (at most 64 batches of) an epoch, the lesser of two."""
        if variant != self.chosen:  # choosing again would compile again
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
