"""The points that benchmarks/scaling.py measures: along which axis, of which series, at which size."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from flax import nnx

from jaxport import nn, ports
from jaxport.port import Port

AXES = ("batch", "depth", "data", "devices", "ports")
WIDTH, DEEP_BATCH, DEVICE_BATCH, DEVICE_STEPS = 128, 64, 256, 8
# Ports whose weights alone take a minute to draw: `jaxport bench` times them.
NOT_TIMED = ("resnet", "unet")

FULL: dict[str, dict[str, tuple[int, ...]]] = {
    "batch": {
        "titanic": (1, 16, 256, 4096),
        "mnist_mlp": (1, 16, 256, 4096),
        "mnist_cnn": (1, 8, 64, 256),
    },
    "depth": {"MLP": (2, 4, 8, 16)},
    "data": {"titanic": (128, 1024, 8192, 32768), "mnist_mlp": (100, 800, 6400, 25600)},
    "devices": {"mnist_mlp": (1, 2, 4, 8), "mnist_cnn": (1, 2, 4, 8)},
}
QUICK: dict[str, dict[str, tuple[int, ...]]] = {
    "batch": {"titanic": (1, 64, 4096), "mnist_mlp": (1, 64, 1024), "mnist_cnn": (1, 16, 128)},
    "depth": {"MLP": (2, 4, 8)},
    "data": {"titanic": (128, 1024, 8192)},
    "devices": {"mnist_mlp": (1, 2, 4)},
}
QUICK_PORTS = ("linreg_plane", "titanic", "digits", "resnet")
# Steps in a timed pass: (most, examples in all of them): long enough to time, short enough for rounding and patience.
# In float32 mnist_cnn's losses, at batch 64, are 4e-6 from those in float64 after 4 steps, 2e-4 after 6, 4e-2 after 24.
STEPS = {"titanic": (250, 64_000), "mnist_mlp": (50, 16_000), "mnist_cnn": (6, 2_000), "MLP": (50, 3_200)}
LEAST_STEPS = 4


class Point(NamedTuple):
    """One size of one series along one axis."""

    axis: str
    series: str
    n: int

    @property
    def key(self) -> str:
        """Its name in the stored results."""
        return f"{self.axis}/{self.series}/{self.n}"

    @property
    def batch(self) -> int:
        """Examples in a step."""
        if self.axis in ("batch", "ports"):
            return self.n
        return {"depth": DEEP_BATCH, "devices": DEVICE_BATCH}.get(self.axis) or ports.get(self.series).batch_size or 0

    @property
    def timed(self) -> bool:
        """Whether it is timed, and not only counted."""
        return self.axis != "ports" or self.series not in NOT_TIMED

    @property
    def steps(self) -> int | None:
        """Steps in a timed pass; None leaves them to the benchmark."""
        if self.axis == "ports":
            return None
        most, examples = STEPS[self.series]
        return max(LEAST_STEPS, min(most, examples // self.batch))


def points(axes: tuple[str, ...], quick: bool) -> list[Point]:
    """Return all points of these axes, those of a series in a row."""
    table = dict(QUICK if quick else FULL)
    named = QUICK_PORTS if quick else ports.names()
    table["ports"] = {name: (ports.get(name).batch_size or 0,) for name in named}
    return [Point(axis, series, n) for axis in axes for series, sizes in table.get(axis, {}).items() for n in sizes]


def port_of(point: Point) -> Port:
    """Return the port that is trained: the recipe with another batch, or an MLP with so many layers."""
    if point.axis == "ports":
        return ports.get(point.series)
    if point.axis == "depth":
        name = f"mnist_mlp-deep{point.n}"
        model = partial(deep, point.n)
        return replace(ports.get("mnist_mlp"), name=name, model=model, batch_size=point.batch)
    return replace(ports.get(point.series), batch_size=point.batch)


def widths(layers: int) -> list[int]:
    """Return the widths of an MLP on MNIST: 784-128-…-128-10."""
    return [784, *[WIDTH] * (layers - 1), 10]


def deep(layers: int, *, rngs: nnx.Rngs) -> nn.Sequential:
    """Return an MLP of so many linear layers, with ReLU between them."""
    parts: list[Any] = [nn.Flatten()]
    sizes = widths(layers)
    for i in range(layers):
        parts += [nn.Linear(sizes[i], sizes[i + 1], rngs=rngs), *([nn.ReLU()] if i < layers - 1 else [])]
    return nn.Sequential(*parts)


def deep_torch(layers: int) -> Any:
    """Return its twin in PyTorch."""
    import torch

    parts: list[Any] = [torch.nn.Flatten()]
    sizes = widths(layers)
    for i in range(layers):
        parts += [torch.nn.Linear(sizes[i], sizes[i + 1]), *([torch.nn.ReLU()] if i < layers - 1 else [])]
    return torch.nn.Sequential(*parts)


def register(point: Point) -> None:
    """Let the PyTorch side find an MLP's twin, as it finds a variant of a port."""
    from jaxport.reference import mnist_mlp

    if point.axis == "depth":
        setattr(mnist_mlp, f"build_deep{point.n}", partial(deep_torch, point.n))
