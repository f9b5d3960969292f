"""One of several processes that train a model together; it prints what came out, as JSON.

    python tests/host_training.py CASES [HOST:PORT COUNT INDEX] [--kill PROCESS STEP SIGNAL]

A program of its own because a process joins the others before JAX computes anything.
"""

import argparse
import json
import os
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxport import Model, interop, metrics, nn, optim
from jaxport.data import DataLoader
from jaxport.engine import Checkpoint, distributed
from jaxport.engine.callbacks import Callback

N = 37


class Kill(Callback):
    """Kills, or stops, the process behind a step."""

    every_steps = 1

    def __init__(self, index: int, step: int, number: int) -> None:
        self.index, self.step, self.number = index, step, number

    def on_steps_end(self, training: Any) -> None:
        if jax.process_index() == self.index and training.step == self.step:
            os.kill(os.getpid(), self.number)


class Start(Callback):
    """Notes at which step a run begins."""

    step = 0

    def on_train_begin(self, training: Any) -> None:
        self.step = training.step


def network() -> nn.Module:
    rngs = nnx.Rngs(0)
    return nn.Sequential(
        nn.Linear(6, 256, bias=False, rngs=rngs), nn.BatchNorm1d(256), nn.Tanh(), nn.Dropout(0.2, rngs=rngs),
        nn.Linear(256, 3, rngs=rngs),
    ).double()  # fmt: skip


def examples(n: int = N) -> tuple[np.ndarray, np.ndarray]:
    x = 0.5 + np.random.default_rng(0).standard_normal((n, 6))
    return x, (x.sum(1) * 1.3).astype(np.int32) % 3


def train(case: str, callbacks: list[Callback]) -> dict[str, Any]:
    """Return everything that a run gives."""
    model = Model(network())
    shard: Any = "fsdp" if case == "fsdp" and jax.process_count() > 1 else None
    model.compile(nn.CrossEntropyLoss(), optim.Adam(lr=0.02), (metrics.Accuracy(),), shard=shard)
    data: Any = examples()
    options: dict[str, Any] = {"dispatch": "scan"}
    if case == "loader":
        process = jax.process_index(), jax.process_count()
        data = DataLoader(examples(), 8, shuffle=True, drop_last=True, seed=1, process=process)
        options = {"dispatch": "chunks"}
    resuming = any(isinstance(callback, Checkpoint) for callback in callbacks)
    epochs = 500 if callbacks and not resuming else 2
    start = Start()
    history = model.fit(
        data, epochs, examples(9), [*callbacks, start] if resuming else callbacks, batch_size=8, verbose=0, **options
    )
    return {
        "resumed at": start.step,
        "history": {name: column for name, column in history.columns.items() if name != "seconds"},
        "measured": model.evaluate(examples(), batch_size=10),
        "predicted": model.predict(examples(5)[0]).tolist(),
        "weights": {name: np.asarray(value).tolist() for name, value in interop.state_dict(model.module).items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases")
    parser.add_argument("hosts", nargs="*")
    parser.add_argument("--kill", nargs=3, type=int, help="process, step, signal")
    parser.add_argument("--checkpoint")
    parser.add_argument("--heartbeat", type=int, default=10)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if options.hosts:
        coordinator, count, index = options.hosts
        distributed.initialize(
            coordinator, int(count), int(index), start_timeout=60, heartbeat_timeout=options.heartbeat
        )
    callbacks: list[Callback] = [Kill(*options.kill or (0, -1, 0))] if options.kill or options.checkpoint else []
    if options.checkpoint:
        callbacks.append(Checkpoint(options.checkpoint, every_steps=4))
    found = {case: train(case, callbacks) for case in options.cases.split(",")}
    print(json.dumps({"process": jax.process_index(), "devices": len(jax.devices()), "found": found}))


if __name__ == "__main__":
    main()
