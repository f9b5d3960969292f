"""Time loading: examples a second of jaxport's DataLoader, torch's and grain's, on the same arrays.

    python benchmarks/loading.py [--data DIR] [--rounds 5] [--markdown]

Shuffled batches of the tutorials' sizes, pixels made floats in [0, 1]; labels beside them. Each loader has a process of
its own; they take turns, an epoch each after one to warm up. "device" keeps the arrays on the device, "stream" reads
them from the host. torch's loader is timed as usually written (TensorDataset, 0 and 2 workers; the transform on the
batch) and with a sampler of whole batches. grain is left out where it is not installed.
The last column is what a training step of the tutorial's network consumes, which no loader should be slower than.
Without --data (or JAXPORT_DATA) the arrays are made up, in the same shapes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jaxport import data
from jaxport.bench.process import Worker, environment
from jaxport.bench.worker import private_output

LOADERS = ("device", "stream", "torch, 0 workers", "torch, 2 workers", "torch, whole batches", "grain")
SETS = {"mnist": 128, "cifar2": 50, "imdb": 20}  # and their batch sizes
TIMEOUT_S = 300.0
Epoch = Callable[[], int]


def arrays(name: str, folder: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and labels of a data set, real if they are found, else made up."""
    if data.find(name, folder) is None:
        sets = data.DATASETS[name].synthetic(20_000, np.random.default_rng(0))
        return sets.train.x, sets.train.y
    return data.load(name, folder).train


def jax_epoch(x: np.ndarray, y: np.ndarray, batch: int, stream: bool) -> Epoch:
    """Return a function that loads one epoch and waits for its last batch."""
    import jax

    from jaxport.data import loader

    if stream:
        loader._RESIDENT_PART = 0.0
    transform = data.transforms.ToFloat() if x.dtype == np.uint8 else None
    made = loader.DataLoader((x, y), batch, shuffle=True, transform=transform)

    def epoch() -> int:
        count, last = 0, None
        for last in made:
            count += len(last[0])
        jax.block_until_ready(last)
        return count

    return epoch


def torch_epoch(x: np.ndarray, y: np.ndarray, batch: int, workers: int, whole: bool) -> Epoch:
    """Return a function that loads one epoch with torch."""
    import torch
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

    tensors = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    sampler = BatchSampler(RandomSampler(tensors), batch, drop_last=False)
    if whole:
        made = DataLoader(tensors, batch_size=None, sampler=sampler)
    else:
        made = DataLoader(tensors, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0)

    def epoch() -> int:
        count = 0
        for images, _ in made:
            count += len(images.float() / 255 if x.dtype == np.uint8 else images)
        return count

    return epoch


def grain_epoch(x: np.ndarray, y: np.ndarray, batch: int) -> Epoch:
    """Return a function that loads one epoch with grain, its threads as they are by default."""
    import grain.python as grain  # pyright: ignore[reportMissingImports]

    pixels = x.dtype == np.uint8
    source = grain.MapDataset.range(len(x)).shuffle(seed=0).map(lambda i: (x[i], y[i]))
    made = source.to_iter_dataset().batch(batch).map(lambda b: (b[0].astype(np.float32) / 255, b[1]) if pixels else b)
    return lambda: sum(len(images) for images, _ in made)


def make(loader: str, x: np.ndarray, y: np.ndarray, batch: int) -> Epoch:
    """Return the epoch of a loader by its name."""
    if loader in ("device", "stream"):
        return jax_epoch(x, y, batch, loader == "stream")
    if loader == "grain":
        return grain_epoch(x, y, batch)
    return torch_epoch(x, y, batch, 2 if "2" in loader else 0, "whole" in loader)


def network(name: str) -> tuple[Any, Any, Any]:
    """Return the tutorial's network for a data set, its loss and its optimiser."""
    from flax import nnx

    from jaxport import nn, optim
    from jaxport.models import mnist_cnn

    class Swap(nn.Module):
        def __call__(self, x: Any) -> Any:
            return x.swapaxes(1, 2)  # (N, length, channels) → (N, channels, length)

    rngs = nnx.Rngs(0)
    if name == "mnist":
        return mnist_cnn.build(rngs=rngs), nn.CrossEntropyLoss(), optim.Adam(lr=0.01)
    if name == "cifar2":
        layers = [nn.Conv2d(3, 32, 3, rngs=rngs), nn.MaxPool2d(2, 2), nn.Conv2d(32, 64, 5, rngs=rngs)]
        layers += [nn.MaxPool2d(2, 2), nn.Dropout2d(0.1, rngs=rngs), nn.AdaptiveMaxPool2d((1, 1)), nn.Flatten()]
        layers += [nn.Linear(64, 32, rngs=rngs), nn.ReLU(), nn.Linear(32, 1, rngs=rngs), nn.Sigmoid()]
        return nn.Sequential(*layers), nn.BCELoss(), optim.SGD(lr=0.01)
    layers = [nn.Embedding(10_000, 3, padding_idx=1, rngs=rngs), Swap()]
    layers += [nn.Conv1d(3, 16, 5, rngs=rngs), nn.MaxPool1d(2)]
    layers += [nn.ReLU(), nn.Conv1d(16, 128, 2, rngs=rngs), nn.MaxPool1d(2), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(6144, 1, rngs=rngs), nn.Sigmoid()), nn.BCELoss(), optim.Adagrad(lr=0.02)


def step_rate(name: str, x: np.ndarray, y: np.ndarray) -> float:
    """Return how many examples a second training consumes, compilation apart, data on the device."""
    from jaxport import data, fit

    net, loss, optimizer = network(name)
    size = min(len(x), 100 * SETS[name])
    y = y[:size] if name == "mnist" else y[:size].reshape(-1, 1).astype(np.float32)
    prepare = data.to_float if x.dtype == np.uint8 else (lambda x: x)
    done = fit(net, (x[:size], y), loss=loss, optimizer=optimizer, epochs=2, batch_size=SETS[name], prepare=prepare)
    return 2 * size / done.train_seconds


def serve(loader: str, folder: str | None) -> None:
    """Answer {"set": name} with the number of examples and {"time": true} with examples a second."""
    answer, ready = private_output(), []
    for line in sys.stdin:
        request = json.loads(line)
        if "set" in request:
            chosen = arrays(request["set"], folder)
            ready[:] = [make(loader, *chosen, SETS[request["set"]])]
            answer({"examples": ready[0]()})
        elif "step" in request:
            answer({"rate": step_rate(request["step"], *arrays(request["step"], folder))})
        else:
            start = time.perf_counter()
            count = ready[0]()
            answer({"rate": count / (time.perf_counter() - start)})


def measure(names: list[str], rounds: int, folder: str | None) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Yield each set's name, its size and the median examples a second of each loader."""
    present = [name for name in LOADERS if name != "grain" or importlib.util.find_spec("grain")]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, ExitStack() as stack:
        command = [sys.executable, __file__, *(["--data", folder] if folder else []), "--serve"]
        workers = {name: stack.enter_context(Worker([*command, name], environment(place))) for name in present}
        for name in names:
            sizes = {worker.ask({"set": name}, TIMEOUT_S)["examples"] for worker in workers.values()}
            if len(sizes) != 1:
                raise SystemExit(f"{name}: the loaders gave {sorted(sizes)} examples; they must give the same")
            turns = [
                {loader: worker.ask({"time": True}, TIMEOUT_S)["rate"] for loader, worker in workers.items()}
                for _ in range(rounds)
            ]
            rates = {loader: median(turn[loader] for turn in turns) for loader in workers}
            rates["step"] = workers["device"].ask({"step": name}, TIMEOUT_S)["rate"]
            yield name, sizes.pop(), rates


def row(name: str, size: int, rates: dict[str, float]) -> list[str]:
    """Return a line of the table: rates in thousands a second, and ours over torch's."""
    usual = max(rates["torch, 0 workers"], rates["torch, 2 workers"])
    best = max(usual, rates["torch, whole batches"])
    cells = [f"{rates[loader] / 1000:.3g}" if loader in rates else "" for loader in LOADERS]
    ratios = [f"{rates['device'] / usual:.1f}", f"{rates['device'] / best:.1f}"]
    return [f"{name} ({size:,})", *cells, *ratios, f"{rates['step'] / 1000:.3g}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("JAXPORT_DATA"), help="folder of the real data sets")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=SETS)
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--serve", choices=LOADERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.data)
    names = [options.only] if options.only else list(SETS)
    rows = [row(*found) for found in measure(names, max(1, options.rounds), options.data)]
    header = ["1,000 examples a second", *LOADERS, "device × torch as usual", "device × torch's best", "step"]
    if options.markdown:
        print(*("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows)), sep="\n")
        return None
    shown = Table(*header)
    for line in rows:
        shown.add_row(*line)
    Console().print(shown)
    return None


if __name__ == "__main__":
    main()
