"""Functions of a batch that run where the batch is: NumPy's arrays and JAX's alike, inside `jax.jit` too."""

from typing import Any

import numpy as np


def to_float(x: Any, dtype: Any = np.float32) -> Any:
    """Bring pixels from 0..255 to [0, 1], as PyTorch's `ToTensor` does; an array of floats passes unchanged.

    y = x / 255, correctly rounded in `dtype`

    x: uint8 of any shape, or floats. dtype: a float dtype.

    Raises:
        TypeError: x is neither uint8 nor of a float dtype, or `dtype` is not one.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.ToTensor.html.
    """
    xp = x.__array_namespace__()
    if xp.isdtype(x.dtype, "real floating"):
        return x
    if x.dtype != np.uint8:
        raise TypeError(f"x is of dtype {x.dtype}; it must be uint8 (0 to 255) or a float dtype")
    # Looked up, not divided: XLA compiles x / 255 into x · (1/255), which differs in float32's last bit for 126 of
    # the 256 values.
    return xp.take(xp.asarray(_quotients(np.dtype(dtype)), dtype=dtype), x, mode="clip")


def _quotients(dtype: np.dtype) -> np.ndarray:
    table = np.arange(256).astype(dtype) / np.asarray(255, dtype)
    if table.dtype != dtype:  # integers divide into float64
        raise TypeError(f"dtype is {dtype}; it must be a float dtype")
    return table
