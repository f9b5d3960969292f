"""What every framework is given: the same weights, examples and dropout masks, in one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxport.port import Port

FILE = "inputs.safetensors"
# Steps in a timed pass. `fit` has whole epochs in one program, and several of them: so where steps are tiny, as many
# as take JAX five to ten milliseconds, which is most of such a port's recipe. Where the whole recipe is shorter, that:
# linreg_points trains for 32 steps, linreg_note for 60, quadratic for 500. Of the largest ports a few.
STEPS = {
    **{"linreg_plane": 5_600, "linreg_matrix": 5_000, "linreg_points": 32, "linreg_note": 60, "quadratic": 500},
    **{"circles": 900, "circles_focal": 900, "titanic": 800, "two_clusters": 500, "three_clusters": 60},
    **{"mnist_logistic": 100, "fashion_mnist": 50, "mnist_cnn": 24, "unet": 6, "resnet": 4},
}
DEFAULT_STEPS = 30
# Calls in a timed pass of inference.
CALLS = {"infer-1": 100, "infer-256": 10}
# Different batches; the steps go round them.
DISTINCT = 16
# Examples of a full-batch port whose data set is not there to be counted.
FULL_BATCH = 256


@dataclass(frozen=True)
class Inputs:
    """Weights, examples and masks of one task in one precision.

    Attributes:
        weights: the state_dict that everything starts from.
        x: inputs. Of "step" and inference as the model takes them (distinct batches, examples, …); of "epoch" as the
            data set holds them (examples, …), bytes where it holds bytes.
        y: targets, (distinct batches, examples, …) or (examples, …).
        masks: dropout layer's path → keep masks, bool (steps, …), in the order of the calls; of "step" alone.
        steps: in a timed pass: optimiser steps, epochs of "epoch", calls of inference.
        task: of `TASKS`.
        dtype: of `DTYPES`.
        order: of "epoch", the rows of each epoch of the gate's short run, int32 (epochs, rows); row i is x[i].
        batch: of "epoch", examples in a step.
        source: of "epoch", where the examples are from.
    """

    weights: dict[str, np.ndarray]
    x: np.ndarray
    y: np.ndarray
    masks: dict[str, np.ndarray]
    steps: int
    task: str = "step"
    dtype: str = "float32"
    order: np.ndarray | None = None
    batch: int = 0
    source: str = ""


def make_inputs(
    port: Port, steps: int | None = None, seed: int = 0, task: str = "step", dtype: str = "float32"
) -> Inputs:
    """Draw a port's inputs: weights as it initialises them, examples, masks at each layer's rate."""
    if task == "epoch":
        from .epoch_inputs import make_epoch_inputs

        return make_epoch_inputs(port, steps, seed, dtype)
    if task != "step":
        return _inference_inputs(port, steps, seed, task, dtype)
    import jax.numpy as jnp

    from jaxport.interop.state_dict import state_dict

    steps = STEPS.get(port.name, DEFAULT_STEPS) if steps is None else steps
    size = port.batch_size or _full_batch(port)
    count = 1 if port.batch_size is None else min(DISTINCT, steps)
    x, y = (array.reshape(count, size, *array.shape[1:]) for array in _prepared(port, size * count, seed))
    rng = np.random.default_rng(seed)
    masks = {
        path: rng.random((steps, *shape)) >= p for path, p, shape in dropout_calls(port.build(seed), jnp.asarray(x[0]))
    }
    return Inputs(state_dict(port.build(seed)), x, y, masks, steps, task, dtype)


def _inference_inputs(port: Port, steps: int | None, seed: int, task: str, dtype: str) -> Inputs:
    from jaxport.interop.state_dict import state_dict

    rows = int(task.removeprefix("infer-"))
    x, y = (array[None, :rows] for array in _prepared(port, max(rows, 8), seed))
    return Inputs(state_dict(port.build(seed)), x, y, {}, steps or CALLS[task], task, dtype)


def _prepared(port: Port, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return made-up examples as the model takes them."""
    import jax.numpy as jnp

    train = port.synthetic(n, seed).train
    x, y = np.array(port.prepare(jnp.asarray(train.x))), train.y
    if len(x) < n:  # a data set of one size, whatever is asked for
        repeats = -(-n // len(x))
        x, y = (np.concatenate([array] * repeats) for array in (x, y))
    return x[:n], y[:n]


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


_SINGLE = ("steps", "batch")
_TEXTS = ("task", "dtype", "source")


def save_inputs(inputs: Inputs, folder: str | Path) -> None:
    """Write the inputs into `folder`."""
    from safetensors.numpy import save_file

    arrays = {"x": inputs.x, "y": inputs.y, **{name: np.array(getattr(inputs, name)) for name in _SINGLE}}
    arrays |= {} if inputs.order is None else {"order": inputs.order}
    arrays |= {f"weights/{key}": value for key, value in inputs.weights.items()}
    arrays |= {f"masks/{i:04d}/{path}": value for i, (path, value) in enumerate(inputs.masks.items())}
    # The format keeps no strides: what is not contiguous would come back in another order.
    contiguous = {key: np.asarray(value, order="C") for key, value in arrays.items()}
    save_file(contiguous, Path(folder, FILE), {name: getattr(inputs, name) for name in _TEXTS})


def load_inputs(folder: str | Path) -> Inputs:
    """Read what `save_inputs` wrote; imports neither framework."""
    from safetensors import safe_open

    with safe_open(Path(folder, FILE), "numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dictionary
        texts = file.metadata() or {}
    weights = {key.removeprefix("weights/"): arrays[key] for key in arrays if key.startswith("weights/")}
    masks = {key.split("/", 2)[2]: arrays[key] for key in sorted(arrays) if key.startswith("masks/")}
    steps, batch = (int(arrays[name]) for name in _SINGLE)
    return Inputs(
        weights, arrays["x"], arrays["y"], masks, steps, order=arrays.get("order"), batch=batch,
        **{name: texts[name] for name in _TEXTS},
    )  # fmt: skip
