"""What every framework is given: the same weights, batches and dropout masks, in one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxport.interop import load_file, save_file
from jaxport.port import Port

FILE = "inputs.safetensors"
# Steps in a timed pass: enough to time, and few enough that rounding has not grown into chaos.
STEPS = {"digits": 30, "mnist_cnn": 24, "fashion_mnist": 50, "titanic": 250, "linreg_matrix": 2_000}
DEFAULT_STEPS = 30
# Different batches; the steps go round them.
DISTINCT = 16
# Examples of a full-batch port whose data set is not there to be counted.
FULL_BATCH = 256


@dataclass(frozen=True)
class Inputs:
    """Weights, batches and masks.

    Attributes:
        weights: the state_dict that training starts from.
        x: inputs as the model takes them, float32 (distinct batches, examples, …).
        y: targets, (distinct batches, examples, …).
        masks: dropout layer's path → keep masks, bool (steps, …), in the order of the calls.
        steps: how many.
    """

    weights: dict[str, np.ndarray]
    x: np.ndarray
    y: np.ndarray
    masks: dict[str, np.ndarray]
    steps: int


def make_inputs(port: Port, steps: int | None = None, seed: int = 0) -> Inputs:
    """Draw a port's inputs: weights as it initialises them, synthetic batches, masks at each layer's rate."""
    import jax.numpy as jnp

    from jaxport.interop.state_dict import state_dict

    steps = STEPS.get(port.name, DEFAULT_STEPS) if steps is None else steps
    size = port.batch_size or _full_batch(port)
    count = 1 if port.batch_size is None else min(DISTINCT, steps)
    train = port.synthetic(size * count, seed).train
    prepared = np.array(port.prepare(jnp.asarray(train.x)))
    x, y = (array.reshape(count, size, *array.shape[1:]) for array in (prepared, train.y))
    rng = np.random.default_rng(seed)
    masks = {
        path: rng.random((steps, *shape)) >= p for path, p, shape in dropout_calls(port.build(seed), jnp.asarray(x[0]))
    }
    return Inputs(state_dict(port.build(seed)), x, y, masks, steps)


def _full_batch(port: Port) -> int:
    from jaxport.errors import DataError

    try:
        return len(port.load().train.x)
    except DataError:
        return FULL_BATCH


def dropout_calls(module: Any, x: Any) -> list[tuple[str, float, tuple[int, ...]]]:
    """Return (path, rate, shape of the mask) of every dropout call in a training pass; `module` is used up by it."""
    from jaxport import nn

    calls: list[tuple[str, float, tuple[int, ...]]] = []

    def recorder(path: str, layer: Any, channels: bool) -> Any:
        def forward(input: Any) -> Any:
            ones = (1,) * (input.ndim - 2)
            if 0 < layer.p < 1:
                calls.append((path, layer.p, (*input.shape[:2], *ones) if channels else input.shape))
            return input

        return forward

    for path, part in module.named_modules():
        if isinstance(part, (nn.Dropout, nn.Dropout2d)):
            part.forward = recorder(path, part, isinstance(part, nn.Dropout2d))
    module(x)
    paths = [path for path, _, _ in calls]
    if len(set(paths)) < len(paths):
        raise NotImplementedError(f"a dropout layer is called twice in a pass, which the benchmark cannot do: {paths}")
    return calls


def save_inputs(inputs: Inputs, folder: str | Path) -> None:
    """Write the inputs into `folder`."""
    arrays = {"x": inputs.x, "y": inputs.y, "steps": np.array(inputs.steps)}
    arrays |= {f"weights/{key}": value for key, value in inputs.weights.items()}
    arrays |= {f"masks/{i:04d}/{path}": value for i, (path, value) in enumerate(inputs.masks.items())}
    save_file(arrays, Path(folder) / FILE)


def load_inputs(folder: str | Path) -> Inputs:
    """Read what `save_inputs` wrote."""
    arrays = load_file(Path(folder) / FILE)
    weights = {key.removeprefix("weights/"): arrays[key] for key in arrays if key.startswith("weights/")}
    masks = {key.split("/", 2)[2]: arrays[key] for key in sorted(arrays) if key.startswith("masks/")}
    return Inputs(weights, arrays["x"], arrays["y"], masks, int(arrays["steps"]))
