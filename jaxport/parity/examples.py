"""Inputs that hide nothing: continuous, odd sizes, non-zero means, no kink within float32's rounding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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

Margin = Callable[[Example], float]
Masks = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def draw_example(
    port: Port, rng: np.random.Generator, output_shape: tuple[int, ...], masks: Masks, margin: Margin
) -> Example:
    """Return a batch in float64 whose values are exact in float32 too.

    Pictures are half structure and half noise, so that no two elements of a pooling window are equal; tables are as
    their data set's synthetic ones. The batch is drawn again while `margin` is below KINK_MARGIN.

    Raises:
        RuntimeError: no such batch was found, which would say that the model has a kink everywhere.
    """
    for _ in range(_MOST_DRAWS):
        x, y = port.proof_examples(BATCH, int(rng.integers(2**31)))
        if port.prepare is not as_they_are and x.dtype.kind == "f":  # pixels
            x = 0.5 * x + 0.5 * rng.random(x.shape)
        if port.name in SCALES:
            x, y = (SCALES[port.name] * array for array in (x, y))
        x, y = (a.astype(np.float32).astype(np.float64) if a.dtype.kind == "f" else a for a in (x, y))
        cotangent = rng.standard_normal((BATCH, *output_shape)).astype(np.float32).astype(np.float64)
        example = Example(x, y, cotangent, masks(x))
        if margin(example) >= KINK_MARGIN:
            return example
    raise RuntimeError(f"{port.name}: no batch in {_MOST_DRAWS} keeps every kink {KINK_MARGIN:g} of scale away")
