# %% [markdown]
# # TensorBoard
#
# Chapter 5-4 of the 20-day tutorial in JAX, with the pieces of 2-2 (the least value of a function) and 2-3 (the graph)
# that belong to it: graph, scalars, histograms, pictures and figures are written, and then read back and counted.
#
# - Command: `python examples/tensorboard.py --data DIR`, where DIR holds `cifar2/` (default: `$JAXPORT_DATA`); without
#   it, and with `--smoke`, the pictures are made up. `tensorboard --logdir runs/examples/tensorboard/logs` shows what
#   was written (`pip install tensorboard`; writing needs `jaxport[viz]` alone).
# - Time: about 22 s on two CPU cores.
# - Score: x = 1.0000 and y = 0 after 500 steps, as the tutorial prints, and the number of everything that is read back.
#   The exit status is 1 if one is missed.

# %%
from __future__ import annotations

import io
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import optax
from flax import nnx
from matplotlib.figure import Figure
from tensorboardX.proto import event_pb2

import jaxport
from jaxport import chapter, data, metrics, nn, optim, viz
from jaxport.engine.callbacks import TensorBoard
from jaxport.engine.callbacks.tensorboard_graph import add_graph
from jaxport.models import cifar2

# %% [markdown]
# ## 1. The graph
#
# PyTorch runs the net once on an example and records what happens. JAX traces it, and for that a shape is enough: no
# number is computed. Each layer is a box that opens on a double click; in it are XLA's operations, not PyTorch's. The
# net is that of 1-2 in evaluation mode, where dropout does nothing and has no box. That of 2-3, a product and a sum,
# would be written by the same call.


# %%
def write_graph(board: TensorBoard, net: cifar2.Net) -> None:
    print(net, jaxport.summary(net, (3, 32, 32)), sep="\n")
    add_graph(board.writer, net.eval(), (1, 3, 32, 32))


# %% [markdown]
# ## 2. Scalars
#
# The least value of f(x) = x² - 2x + 1 by gradient descent. The tutorial calls `x.item()` and `add_scalar` in every
# step. In JAX reading a number makes the program wait for the device, and a compiled loop cannot write to a file: so
# `lax.scan` takes the 500 steps and returns all values of x and y, and they are written afterwards. As there, x is
# the value after the step and y the one before.


# %%
def write_scalars(board: TensorBoard, steps: int = 500) -> None:
    optimizer = optim.SGD(lr=0.01)

    def f(x: jax.Array) -> jax.Array:
        return x**2 - 2 * x + 1

    def step(carry: tuple[jax.Array, Any], _: None) -> Any:
        x, state = carry
        y, gradient = jax.value_and_grad(f)(x)
        update, state = optimizer.update(gradient, state, x)
        x = optax.apply_updates(x, update)
        return (x, state), (x, y)

    x = jnp.float32(0.0)
    (x, _), (xs, ys) = jax.lax.scan(step, (x, optimizer.init(x)), length=steps)
    for i, (each_x, each_y) in enumerate(zip(xs.tolist(), ys.tolist(), strict=True)):
        board.writer.add_scalar("x", each_x, i)
        board.writer.add_scalar("y", each_y, i)
    print(f"y = {f(x):.4f}; x = {x:.4f}")


# %% [markdown]
# ## 3. Histograms
#
# Twenty steps of a matrix whose values wander from -10 to 9. JAX's random numbers come from a key, and each step has
# its own: the same key would give the same matrix.


# %%
def write_histograms(board: TensorBoard) -> None:
    for step, mean in enumerate(range(-10, 10)):
        w = mean + jax.random.normal(jax.random.key(step), (100, 20))
        board.writer.add_histogram("w", np.asarray(w), step)


# %% [markdown]
# ## 4. Pictures
#
# One, a batch, and a grid of the batch with black lines between. A picture is bytes (C, H, W) as they are in the file;
# floats would have to lie in [0, 1].


# %%
def read(folder: str | None, smoke: bool) -> data.Splits:
    if smoke or data.find("cifar2", folder) is None:
        return data.DATASETS["cifar2"].synthetic(100, np.random.default_rng(0))
    return data.load("cifar2", folder)


def make_grid(images: np.ndarray, across: int = 8, line: int = 2) -> np.ndarray:
    images = np.pad(images, ((0, -len(images) % across), (0, 0), (line, 0), (line, 0)))
    n, channels, height, width = images.shape
    rows = images.reshape(n // across, across, channels, height, width).transpose(2, 0, 3, 1, 4)
    return np.pad(rows.reshape(channels, n // across * height, across * width), ((0, 0), (0, line), (0, line)))


def write_images(board: TensorBoard, images: np.ndarray) -> None:
    board.add_image("image", images[0])
    board.add_image("image_grid", make_grid(images))
    board.add_images("images", images, step=0)


# %% [markdown]
# ## 5. A figure
#
# Anything that matplotlib draws. `show_samples` draws the tutorial's nine pictures with their labels.


# %%
def write_figure(board: TensorBoard, splits: data.Splits, path: Path) -> None:
    figure = viz.show_samples(splits.train, 9, path, classes=splits.classes)
    board.add_figure("figure", figure, step=0)


# %% [markdown]
# ## 6. A training run
#
# The tutorial writes these by hand. As a callback of `fit`, `TensorBoard` writes the history's columns, the graph, and
# with `histograms=1` all parameters after each epoch.


# %%
def train(net: cifar2.Net, splits: data.Splits, folder: Path, epochs: int) -> None:
    model = jaxport.Model(net)
    model.compile(nn.BCELoss(), optim.SGD(lr=0.01), [metrics.BinaryAUC()], prepare=data.to_float)
    some = slice(None, None, 5)  # the airplanes come first
    x, y = splits.train.x[some], splits.train.y[some, None].astype(np.float32)
    model.fit((x, y), epochs, callbacks=[TensorBoard(folder, histograms=1)], batch_size=50, verbose=0)


# %% [markdown]
# ## 7. What is in the files
#
# A file of TensorBoard is a list of messages: 8 bytes of length and 4 of checksum, the message, 4 of checksum. A
# histogram comes back as counts between limits, a picture as PNG.


# %%
def events(folder: Path) -> Iterator[Any]:
    for path in sorted(folder.glob("events.*")):
        content, start = path.read_bytes(), 0
        while start < len(content):
            (length,) = struct.unpack_from("<Q", content, start)
            message = event_pb2.Event  # pyright: ignore[reportAttributeAccessIssue]
            yield message.FromString(content[start + 12 : start + 12 + length])
            start += length + 16


def read_back(folder: Path) -> tuple[dict[str, list[Any]], str]:
    found, graph = {}, b""
    for event in events(folder):
        graph += event.graph_def
        for value in event.summary.value:
            kind = value.WhichOneof("value")
            found.setdefault(value.tag, []).append(getattr(value, kind))
    return found, graph.decode("latin-1")


def draw(found: dict[str, list[Any]], out: Path) -> None:
    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    for axes, tag in zip(figure.subplots(1, 2), "xy", strict=True):
        axes.plot(found[tag], color="#0072b2")
        axes.set(title=tag, xlabel="step")
    figure.savefig(out / "scalars.png")
    figure = Figure(figsize=(6, 6), dpi=120, layout="constrained")
    axes, grid = figure.subplots(), np.linspace(-14, 14, 57)
    for step, histogram in enumerate(found["w"]):
        share = np.interp(grid, histogram.bucket_limit, np.cumsum(histogram.bucket) / histogram.num)
        axes.fill_between(grid[1:], step, step - 15 * np.diff(share), color="#56b4e9", edgecolor="white", zorder=step)
    axes.set(title="w", xlabel="value", ylabel="step", ylim=(20, -4))
    figure.savefig(out / "histograms.png")


# %% [markdown]
# ## All steps
#
# Each run gets a folder of its own, so that TensorBoard shows them beside each other.


# %%
@chapter.command(
    "TensorBoard: chapter 5-4 in JAX.",
    expected={
        "x": (0.9999, 1.0001),
        "y": (0, 1e-7),
        "scalars": (1000, 1000),
        "histograms": (20, 20),
        "mean_error": (0, 0.1),
        "image_error": (0, 0),
        "boxes": (9, 9),
    },
)
def main(options: chapter.Options) -> dict[str, float]:
    logs = options.out / "logs" / time.strftime("%Y%m%d-%H%M%S")
    splits = read(options.data, options.smoke)
    board, images, net = TensorBoard(logs), splits.train.x[:: len(splits.train.x) // 50], cifar2.build(rngs=nnx.Rngs(0))
    write_graph(board, net)
    write_scalars(board)
    write_histograms(board)
    write_images(board, images)
    write_figure(board, splits, options.out / "figure.png")
    board.close()
    train(net, splits, logs / "training", 1 if options.smoke else 5)
    found, graph = read_back(logs)
    draw(found, options.out)
    print({tag: len(values) for tag, values in found.items()})
    print({tag: len(values) for tag, values in read_back(logs / "training")[0].items()})
    image = matplotlib.image.imread(io.BytesIO(found["image"][0].encoded_image_string)).transpose(2, 0, 1)
    means = [histogram.sum / histogram.num for histogram in found["w"]]
    return {
        "x": found["x"][-1],
        "y": found["y"][-1],
        "scalars": len(found["x"]) + len(found["y"]),
        "histograms": len(found["w"]),
        "mean_error": float(np.abs(means - np.arange(-10.0, len(means) - 10)).max()),
        "image_error": float(np.abs(image * 255 - images[0]).max()),
        "boxes": sum(f"[{name}]" in graph for name, _ in net.named_children()),
    }


# %%
main.start(__name__)
