"""The sides of benchmarks/training.py: one network trained by jaxport, by hand, by Keras, torchkeras and PyTorch.

A side is a function: fit(epochs) → the mean training loss of each epoch. It starts from the weights that it is given,
takes the examples in their order, and a second call goes on from the first.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Fit = Callable[[int], list[float]]


@dataclass(frozen=True)
class Case:
    """What is trained: the data set, a model's name, the batch and steps of an epoch, the optimiser and its rate."""

    dataset: str
    model: str
    batch: int
    steps: int
    optimizer: str
    lr: float

    @property
    def convolutional(self) -> bool:
        """Whether steps are called one by one."""
        return self.model == "mnist_cnn"


CASES = {
    "two layers": Case("circles", "circles", 10, 400, "Adam", 1e-3),
    "MLP": Case("fashion_mnist", "fashion_mnist", 64, 300, "SGD", 1e-3),
    "convolutional": Case("mnist", "mnist_cnn", 128, 50, "Adam", 1e-3),
}


@dataclass(frozen=True)
class Inputs:
    """Examples x and y, channels first, and the initial weights in PyTorch's order and layouts."""

    x: np.ndarray
    y: np.ndarray
    weights: list[np.ndarray]


def make_inputs(case: Case, folder: str | None, steps: int) -> Inputs:
    """Return the examples of `steps` steps, real if they are found, and new weights."""
    from jaxport import data, interop

    count = steps * case.batch
    if data.DATASETS[case.dataset].embedded or data.find(case.dataset, folder) is None:
        x, y = data.DATASETS[case.dataset].synthetic(count, np.random.default_rng(0)).train
    else:
        x, y = data.load(case.dataset, folder).train
    x = x[:count].astype(np.float32) / (255 if x.dtype == np.uint8 else 1)
    weights = [np.asarray(array) for array in interop.state_dict(jaxport_module(case)).values()]
    return Inputs(x, y[:count], weights)


# ---------------------------------------------------------------------------------------------------------------- JAX


def jaxport_module(case: Case) -> Any:
    """Return the network, without dropout: every framework draws other masks."""
    from flax import nnx

    from jaxport import nn

    module = importlib.import_module(f"jaxport.models.{case.model}").build(rngs=nnx.Rngs(0))
    if case.convolutional:
        module.dropout = nn.Identity()
    return module


def _jaxport_parts(case: Case, inputs: Inputs) -> tuple[Any, Any, Any]:
    """Return the module with its weights, the loss and the optimiser."""
    from jaxport import interop, nn, optim

    module = jaxport_module(case)
    names = interop.state_dict(module)
    interop.load_state_dict(module, dict(zip(names, inputs.weights, strict=True)))
    loss = nn.BCELoss() if case.dataset == "circles" else nn.CrossEntropyLoss()
    return module, loss, getattr(optim, case.optimizer)(lr=case.lr)


def jaxport_side(case: Case, inputs: Inputs) -> Fit:
    """`Model.fit` as it is."""
    from jaxport.engine import Model

    module, loss, optimizer = _jaxport_parts(case, inputs)
    model = Model(module)
    model.compile(loss, optimizer)

    def fit(epochs: int) -> list[float]:
        data = inputs.x, inputs.y
        return model.fit(data, epochs, batch_size=case.batch, shuffle=False, verbose=0)["loss"]

    return fit


def hand_side(case: Case, inputs: Inputs) -> Fit:
    """The pure step in a loop of one's own: `lax.scan` over an epoch, or a call a step where there are convolutions."""
    import jax
    import jax.numpy as jnp

    from jaxport.engine import Batch, compile_function, create_state, make_task, take_step

    module, loss, optimizer = _jaxport_parts(case, inputs)
    task = make_task(module, loss, optimizer)
    x, y = (jnp.asarray(array.reshape(-1, case.batch, *array.shape[1:])) for array in (inputs.x, inputs.y))

    def step(state: Any, batch: Any) -> tuple[Any, Any]:
        state, logs = take_step(task, state, Batch(*batch))
        return state, logs["loss"]

    def scan(state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        return jax.lax.scan(step, state, (x, y))

    batches = list(zip(x, y, strict=True)) if case.convolutional else []
    held: list[Any] = [create_state(module, optimizer)]
    called: list[Any] = []  # compiled in the first call of `fit`, so that its time is that of a first epoch

    def epoch() -> float:
        if not case.convolutional:
            called[:] = called or [compile_function(scan, held[0], x, y, donate=(0,))[0]]
            held[0], losses = called[0](held[0], x, y)
            return float(np.asarray(losses).mean())
        called[:] = called or [compile_function(step, held[0], batches[0], donate=(0,))[0]]
        losses = []
        for batch in batches:
            held[0], value = called[0](held[0], batch)
            losses.append(value)
        return float(np.mean(jax.device_get(losses)))

    return lambda epochs: [epoch() for _ in range(epochs)]


# -------------------------------------------------------------------------------------------------------------- Keras


def keras_side(case: Case, inputs: Inputs, steps_per_execution: int) -> Fit:
    """Keras 3 on JAX, channels last; the same numbers in its Adam (ε as in PyTorch)."""
    import keras  # pyright: ignore[reportMissingImports]

    layers = keras.layers
    stacks = {
        "circles": [layers.Dense(4, "relu"), layers.Dense(8, "relu"), layers.Dense(1, "sigmoid")],
        "fashion_mnist": [layers.Flatten(), *(layers.Dense(512, "relu") for _ in "12"), layers.Dense(10)],
        "mnist_cnn": [
            *(layers.Conv2D(32, 3), layers.MaxPool2D(), layers.Conv2D(64, 5), layers.MaxPool2D()),
            *(layers.GlobalMaxPool2D(), layers.Dense(32, "relu"), layers.Dense(10)),
        ],
    }
    x = inputs.x if inputs.x.ndim == 2 else np.ascontiguousarray(inputs.x.transpose(0, 2, 3, 1))
    model = keras.Sequential([keras.Input(x.shape[1:]), *stacks[case.model]])
    model.set_weights([array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T for array in inputs.weights])
    losses = keras.losses
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"epsilon": 1e-8} if case.optimizer == "Adam" else {}
    model.compile(
        getattr(keras.optimizers, case.optimizer)(case.lr, **options),
        losses.BinaryCrossentropy() if case.dataset == "circles" else loss,
        jit_compile=True,  # pyright: ignore[reportArgumentType]
        steps_per_execution=steps_per_execution,
    )

    def fit(epochs: int) -> list[float]:
        return model.fit(x, inputs.y, case.batch, epochs, shuffle=False, verbose=0).history["loss"]  # pyright: ignore[reportArgumentType]

    return fit


# ------------------------------------------------------------------------------------------------------------ PyTorch


def _torch_parts(case: Case, inputs: Inputs) -> tuple[Any, Any, Any, Any]:
    """Return the network, the loss, the optimiser and the DataLoader of the tutorials."""
    import torch
    from torch import nn

    stacks: dict[str, list[Any]] = {
        "circles": [nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid()],
        "fashion_mnist": [
            *(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
        ],
        "mnist_cnn": [
            *(nn.Conv2d(1, 32, 3), nn.MaxPool2d(2, 2), nn.Conv2d(32, 64, 5), nn.MaxPool2d(2, 2)),
            *(nn.AdaptiveMaxPool2d((1, 1)), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)),
        ],
    }
    net = nn.Sequential(*stacks[case.model])
    with torch.no_grad():
        for parameter, array in zip(net.parameters(), inputs.weights, strict=True):
            parameter.copy_(torch.from_numpy(array))
    circles = case.dataset == "circles"
    y = torch.from_numpy(inputs.y if circles else inputs.y.astype(np.int64))
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.from_numpy(inputs.x), y), batch_size=case.batch, shuffle=False
    )
    optimizer = getattr(torch.optim, case.optimizer)(net.parameters(), lr=case.lr)
    return net, nn.BCELoss() if circles else nn.CrossEntropyLoss(), optimizer, loader


def torch_side(case: Case, inputs: Inputs) -> Fit:
    """The loop of PyTorch's tutorials."""
    net, loss_of, optimizer, loader = _torch_parts(case, inputs)

    def epoch() -> float:
        net.train()
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_of(net(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / len(loader)

    return lambda epochs: [epoch() for _ in range(epochs)]


def torchkeras_side(case: Case, inputs: Inputs) -> Fit:
    """`KerasModel.fit` without its plot; its clipping of gradients is at an infinite norm, since nobody else clips."""
    import accelerate  # pyright: ignore[reportMissingImports]
    import torchkeras  # pyright: ignore[reportMissingImports]

    net, loss, optimizer, loader = _torch_parts(case, inputs)
    clip = accelerate.Accelerator.clip_grad_norm_
    accelerate.Accelerator.clip_grad_norm_ = lambda self, parameters, norm: clip(self, parameters, float("inf"))
    model = torchkeras.KerasModel(net, loss_fn=loss, optimizer=optimizer)

    def fit(epochs: int) -> list[float]:
        model.from_scratch = True  # a second call would begin with an epoch without an optimiser
        with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
            history = model.fit(
                loader, epochs=epochs, ckpt_path="torchkeras.pt", monitor="train_loss", patience=10**9, plot=False,
                cpu=True,
            )  # fmt: skip
        return list(history["train_loss"])

    return fit


SIDES: dict[str, Callable[[Case, Inputs], Fit]] = {
    "jaxport": jaxport_side,
    "by hand": hand_side,
    "keras": lambda case, inputs: keras_side(case, inputs, 1),
    "keras, 64 steps": lambda case, inputs: keras_side(case, inputs, 64),
    "torchkeras": torchkeras_side,
    "torch": torch_side,
}
# Which package each needs; all are imported before memory is counted.
PACKAGES = {
    "jaxport": ("jaxport.engine", "jaxport.nn", "jaxport.optim"),
    "by hand": ("jaxport.engine", "jaxport.nn", "jaxport.optim"),
    "keras": ("keras",),
    "keras, 64 steps": ("keras",),
    "torchkeras": ("torchkeras", "accelerate"),
    "torch": ("torch",),
}
