"""Inputs that hide nothing: continuous, odd sizes, non-zero means, no kink within float32's rounding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxport.errors import JaxportError
from jaxport.port import Port, as_they_are

from .record import Example
from .tolerances import KINK_MARGIN

BATCH = 7
"""Examples in a batch of the proof: prime, and no other axis of a port is as long."""

SCALES = {"covid19": 1e-3}
"""Factors of a port's inputs and targets in the proof.

Thousands of people a day drive an LSTM's gates to 0 or 1, where a gradient is nothing but rounding; Adagrad divides it
by its own size and makes a whole step of it, in either framework another.
"""

_MOST_DRAWS = 200


class KinksEverywhere(JaxportError, RuntimeError):
    """No batch was found that keeps every kink away."""


Margin = Callable[[Example], float]
Masks = Callable[[np.ndarray], tuple[np.ndarray, ...]]
Source = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""Draws the inputs and targets of a batch."""


def made_up(port: Port) -> Source:
    """Return a source of examples of a port's proof, or of synthetic ones.

    Pictures are half structure and half noise, so that no two elements of a pooling window are equal; tables are as
    their data set's synthetic ones.
    """

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x, y = port.proof_examples(BATCH, int(rng.integers(2**31)))
        if port.prepare is not as_they_are and x.dtype.kind == "f":  # pixels
            x = 0.5 * x + 0.5 * rng.random(x.shape)
        return _scaled(port, x, y)

    return draw


def from_data(port: Port, folder: str | Path | None) -> Source:
    """Return a source of examples of the real training set, as they are.

    Where the proof's pictures are smaller than the data set's, every second (third, …) pixel is taken.

    Raises:
        DataError: the data is not there, or damaged.
    """
    part = port.load(folder).train
    rows = min(BATCH, len(part.x))

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        chosen = rng.choice(len(part.x), rows, replace=False)
        x, y = np.asarray(port.prepare(jnp.asarray(part.x[chosen]))), part.y[chosen]
        if port.proof is not None:
            step = x.shape[-1] // port.proof(1, 0).x.shape[-1]
            x, y = (array[..., ::step, ::step] if array.ndim == 4 else array for array in (x, y))
        return _scaled(port, x, y)

    return draw


def _scaled(port: Port, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    factor = SCALES.get(port.name)
    return (x, y) if factor is None else (factor * x, factor * y)


def draw_example(
    port: Port,
    source: Source,
    rng: np.random.Generator,
    output_shape: tuple[int, ...],
    masks: Masks,
    margin: Margin,
    least: float = KINK_MARGIN,
    draws: int = _MOST_DRAWS,
) -> Example:
    """Return a batch in float64 whose values are exact in float32 too.

    It is drawn again while `margin` is below `least`.

    Raises:
        KinksEverywhere: `draws` batches have a kink nearer than that.
    """
    for _ in range(draws):
        x, y = source(rng)
        x, y = (a.astype(np.float32).astype(np.float64) if a.dtype.kind == "f" else a for a in (x, y))
        cotangent = rng.standard_normal((len(x), *output_shape)).astype(np.float32).astype(np.float64)
        example = Example(x, y, cotangent, masks(x))
        if least == 0.0 or margin(example) >= least:
            return example
    raise KinksEverywhere(f"{port.name}: no batch in {draws} keeps every kink {least:g} of scale away")
