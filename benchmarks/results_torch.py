"""One port trained by its recipe in PyTorch, for results.py: weights, order and masks from PyTorch's own generator.

    python benchmarks/results_torch.py NAME SEED [DATA]

Prints one JSON line: the last epoch's mean training loss, the validation's loss and metrics, seconds of training with
the validation after each epoch. The validation's numbers are those of jaxport's loss and metrics on PyTorch's
predictions: one ruler for both. PyTorch runs as it is, eagerly, on all cores; the arrays are in memory and a batch is
an index into them, so no loader slows it down.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch

from jaxport import ports, reference
from jaxport.port import Port

_PART = 1_000  # pictures that are made floats at once


def tensors(port: Port, part: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return prepared inputs and targets, class numbers as PyTorch wants them."""
    parts = [np.asarray(port.prepare(jnp.asarray(part.x[i : i + _PART]))) for i in range(0, len(part.x), _PART)]
    x, y = torch.from_numpy(np.concatenate(parts)), torch.from_numpy(np.array(part.y))
    return tuple(t if t.is_floating_point() else t.long() for t in (x, y))  # type: ignore[return-value]


def predict(model: torch.nn.Module, x: torch.Tensor, batch: int) -> torch.Tensor:
    """Return the model's predictions in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(part) for part in x.split(batch)])


def train(port: Port, model: torch.nn.Module, data: tuple[torch.Tensor, ...], val: tuple[torch.Tensor, ...]) -> float:
    """Train by the recipe, validating after each epoch, and return the last epoch's mean loss."""
    file, (name, kind) = reference.find(port.name), (port.loss.func.__name__, port.optimizer.func.__name__)
    loss = (getattr(file, name, None) or getattr(torch.nn, name))(*port.loss.args, **port.loss.keywords)
    make = getattr(file, kind, None) or getattr(torch.optim, kind)
    optimizer = make(model.parameters(), *port.optimizer.args, **port.optimizer.keywords)
    n = len(data[0])
    batch, total = port.batch_size or n, torch.zeros(())
    for _ in range(port.epochs):
        model.train()
        order, total = torch.randperm(n) if port.shuffle else torch.arange(n), torch.zeros(())
        for rows in order.split(batch):
            x, y = (t if batch >= n else t[rows] for t in data)
            optimizer.zero_grad()
            error = loss(model(x), y)
            error.backward()
            optimizer.step()
            total += error.detach() * len(x)
        loss(predict(model, val[0], max(batch, 256)), val[1])
    return float(total / n)


def measure(port: Port, predictions: torch.Tensor, val: Any) -> dict[str, float]:
    """Return val_loss and the metrics of PyTorch's predictions."""
    p, y = jnp.asarray(predictions.numpy()), jnp.asarray(val.y)
    values = {"val_loss": float(port.loss()(p, y))}
    for metric in port.metrics:
        state: Any = metric.init(len(p)) if getattr(metric, "collects", False) else metric.init()  # pyright: ignore
        values[f"val_{metric.name}"] = float(metric.compute(metric.update(state, p, y)))
    return values


def main(name: str, seed: str, folder: str | None = None) -> None:
    """Train and print the result."""
    port = ports.get(name)
    splits = port.load(folder)
    data, val = tensors(port, splits.train), tensors(port, splits.val)
    torch.manual_seed(int(seed))
    model = reference.build(name)
    start = time.perf_counter()
    loss = train(port, model, data, val)
    seconds = time.perf_counter() - start
    values = measure(port, predict(model, val[0], 256), splits.val)
    print(json.dumps({"loss": loss, **values, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
