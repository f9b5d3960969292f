"""The arrays that rows share: PyTorch gets them as tensors, JAX as arrays. No two axes of one are of equal length."""

from __future__ import annotations

import numpy as np

SQUARE = ("a",)
"""The one matrix whose axes have one length; it is not symmetric."""

REPEATED = ("ties", "bits", "mask", "words", "labels", "batch_labels", "scores", "pixels")
"""Arrays in which values repeat on purpose, or cannot but repeat."""


def _spread(*shape: int, step: float, start: float) -> np.ndarray:
    """Return numbers of both signs, none twice, in an order that no reversal or transposition keeps."""
    size = int(np.prod(shape))
    return (start + step * ((np.arange(size) * 11 + 3) % size)).round(4).reshape(shape)


INPUTS: dict[str, np.ndarray] = {
    "x": np.array([[1.7, -2.3, 0.4], [-0.6, 3.1, 2.9]]),
    "y": np.array([[0.9, 1.3, 2.2], [0.35, 1.9, 0.6]]),
    "v": np.array([0.3, -1.2, 2.1]),
    "m": np.array([[0.5, -1.5, 2.5, 0.2], [1.1, 0.7, -0.9, 3.3], [-2.2, 0.1, 1.6, -0.4]]),
    "a": np.array([[2.0, 1.0, -0.5], [0.5, 3.0, 1.5], [-1.0, 0.3, 4.0]]),
    "t": _spread(2, 3, 4, step=0.37, start=-4.1),
    "one": np.array([[[0.8], [-1.4], [2.6]]]),
    "s": np.array(0.7),
    "n": np.array([[7, -8, 5], [-3, 11, 4]]),
    "k": np.array([[2, 3, -2], [-5, -4, 9]]),
    "i": np.array([2, 0]),
    "size": np.array(3),
    "mask": np.array([[True, False, True], [False, False, True]]),
    "ties": np.array([2.0, 5.0, 1.0, 5.0, 1.0]),
    "holes": np.array([1.5, np.nan, -3.5, 2.5]),
    "scores": np.array([(37 * j + 11) % 97 for j in range(4 * 5 * 7)]).reshape(4, 5, 7),
    "pictures": _spread(2, 3, 7, 5, step=0.031, start=-3.2),
    "signal": _spread(2, 3, 8, step=0.11, start=-2.5),
    "cubes": _spread(1, 2, 4, 5, 6, step=0.021, start=-2.1),
    "pixels": ((np.arange(5 * 4 * 3) * 89) % 256).astype(np.uint8).reshape(5, 4, 3),
    "words": np.array([[1, 4, 2, 0], [3, 3, 5, 1]]),
    "steps": _spread(5, 2, 3, step=0.13, start=-1.9),
    "logits": np.array([[2.0, -1.0, 0.5], [0.3, 0.1, -0.7], [-1.2, 1.4, 0.9], [0.6, 2.2, -0.2]]),
    "labels": np.array([2, 0, 1, 1]),
    "target": np.array([[0.1, 0.9, 0.4], [0.6, 0.3, 0.8], [0.7, 0.25, 0.5], [0.15, 0.95, 0.05]]),
    "bits": np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]),
    "batch": _spread(10, 4, step=0.17, start=-3.1),
    "batch_labels": np.array([0, 1, 2, 1, 0, 2, 2, 1, 0, 1]),
}
"""By name. Floats are float32 or, in a proof in float64, that; integers are int64 (in JAX without x64: int32)."""
