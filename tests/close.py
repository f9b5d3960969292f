"""The rule of proof for float64, and the tolerances of the parity package, which itself needs torch."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np

import jaxport

TOLERANCES = runpy.run_path(str(Path(jaxport.__file__).with_name("parity") / "tolerances.py"))
FLOAT64_RTOL: float = TOLERANCES["FLOAT64_RTOL"]
FLOAT32_FACTOR: float = TOLERANCES["FLOAT32_FACTOR"]
FLOAT32_FLOOR: float = TOLERANCES["FLOAT32_FLOOR"]


def worst(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference."""
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))


def scale(a: np.ndarray) -> float:
    """Return the largest magnitude."""
    return float(np.abs(a).max(initial=0.0))


def assert_close(found: Any, wanted: Any) -> None:
    """Compare shape and dtype, then values: floats must be float64, and agree to its tolerance."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    assert found.dtype == np.float64 or found.dtype.kind != "f"
    assert worst(found, wanted) <= FLOAT64_RTOL * scale(wanted), f"off by {worst(found, wanted)} at {scale(wanted)}"
