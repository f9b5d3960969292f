"""What a row computes, and whether that is what the tutorial prints.

The rule for a number with d digits behind the point: our value may differ from the printed one by half a unit of the
last printed digit (10⁻ᵈ / 2) and by one rounding of its type (the distance between neighbouring float32 numbers there).
A number that PyTorch prints without digits ("3.") is whole, and must be equal. Sizes, counts, truth values and text are
compared exactly; in text, runs of spaces count as one.

A loss that follows from many float32 steps has no such rule: PyTorch 2.13's own last digits are not the printed ones.
It is judged as everything in float32 is here: ours may be four times as far from the float64 value as the printed one.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from jaxport import nn
from jaxport.data import DataLoader
from jaxport.nn import functional as F
from jaxport.parity.tolerances import FLOAT32_FACTOR, FLOAT32_FLOOR

from . import printed_draws, printed_models
from .printed_row import Printed

# What every row's expressions may name, beside the names of its own module.
COMMON = {
    **vars(printed_models),
    **vars(printed_draws),
    **{"jax": jax, "jnp": jnp, "np": np, "nn": nn, "nnx": nnx, "F": F, "torch": torch, "DataLoader": DataLoader},
}

# Without x64, JAX's whole numbers have 32 bits where PyTorch's have 64. No other type may differ.
JAX_DEFAULT = {"int64": "int32"}
INPUT_HALF_UNIT = 0.5e-4
_TOKEN = re.compile(r"(?<![\w.])-?\d+\.?(\d*)(?:e[+-]?\d+)?")


class Numbers(NamedTuple):
    """A printed tensor: its values, the most digits behind a point, and its type (empty: any)."""

    values: np.ndarray
    places: int
    dtype: str


def evaluate(module: ModuleType, row: Printed, folder: Any = None, which: str = "compute") -> Any:
    """Return what `row` of `module` computes; `which` is its expression: "compute", "torch" or "truth"."""
    names = {**COMMON, **vars(module), "folder": folder}
    with jax.enable_x64(row.x64 or which == "truth"):
        return eval(getattr(row, which), names)


def verdict(module: ModuleType, row: Printed, folder: Any = None) -> str:
    """Return how what `row` computes differs from what it prints; an empty string if it does not."""
    value = evaluate(module, row, folder)
    if row.kind != "float32":
        return difference(value, row.printed, row.x64, row.reach)
    truth, printed = evaluate(module, row, folder, "truth"), float(row.printed)
    # The printed one is a float32 result of the same steps: without this bound, a wrong truth would allow anything.
    if abs(printed - truth) > FLOAT32_FACTOR * np.finfo(np.float32).eps * abs(truth):
        return f"{printed}, which is printed, is farther from {truth} than float32's rounding"
    limit = FLOAT32_FACTOR * abs(printed - truth) + FLOAT32_FLOOR * abs(truth)
    return "" if abs(value - truth) <= limit else f"{value} is farther than {limit} from {truth}"


def given(text: str) -> jax.Array:
    """Return a printed tensor as the input of what the tutorial prints next."""
    numbers = read(text)
    assert numbers is not None
    return jnp.asarray(numbers.values, JAX_DEFAULT.get(numbers.dtype, numbers.dtype))


def read(text: str) -> Numbers | None:
    """Read a printed tensor, NumPy array or number; None if `text` is something else."""
    body = re.fullmatch(r"tensor\((.*?)(?:, (?:dtype|grad_fn|requires_grad|device)=.*)?\)", text, re.DOTALL)
    if body:
        dtype = re.search(r"dtype=torch\.(\w+)", text)
        return _read_tensor(body[1], dtype[1] if dtype else "")
    if re.fullmatch(r"\[[-\d. ]+\]", text):
        return Numbers(np.array(text[1:-1].split(), float), _places(text), "")
    if re.fullmatch(r"-?[\d,]+\.?\d*(e[+-]?\d+)?", text):
        return Numbers(np.array(float(text.replace(",", ""))), _places(text), "")
    return None


def _read_tensor(body: str, dtype: str) -> Numbers:
    values = np.array(eval(body, {"__builtins__": {}}, {"nan": np.nan, "inf": np.inf}))
    default = {"b": "bool", "i": "int64", "f": "float32", "c": "complex64"}[values.dtype.kind]
    return Numbers(values, _places(body), dtype or default)


def _places(text: str) -> int:
    return max(len(digits) for digits in _TOKEN.findall(text) or [""])


def difference(value: Any, text: str, x64: bool = False, reach: float = 0.0) -> str:
    """Return how `value` differs from the printed `text`; an empty string if it does not."""
    numbers = read(text)
    if numbers is None or isinstance(value, str):
        found, wanted = " ".join(as_text(value).split()), " ".join(text.split())
        if not x64 and isinstance(value, np.dtype):
            wanted = {f"torch.{long}": f"torch.{short}" for long, short in JAX_DEFAULT.items()}.get(wanted, wanted)
        return "" if found == wanted else f"{found!r} is not {wanted!r}"
    array = np.asarray(value)
    if array.shape != numbers.values.shape:
        return f"shape {array.shape} is not {numbers.values.shape}"
    names = {numbers.dtype, "" if x64 else JAX_DEFAULT.get(numbers.dtype, "")}
    if numbers.dtype and array.dtype.name not in names:
        return f"type {array.dtype.name} is not {numbers.dtype}"
    allowed = tolerance(numbers, array.dtype, reach)
    bad = ~np.isclose(array, numbers.values, rtol=0, atol=0, equal_nan=True)
    bad &= ~(np.abs(array.astype(complex) - numbers.values) <= allowed)
    return f"{as_text(value)} is not {text}" if bad.any() else ""


def tolerance(numbers: Numbers, dtype: np.dtype, reach: float = 0.0) -> np.ndarray:
    """Return how far each value may be from the printed one; see the rule above."""
    if not numbers.places and not reach:
        return np.zeros(numbers.values.shape)
    kept = np.float64 if dtype == np.float64 else np.float32
    rounding = np.spacing(np.abs(numbers.values).astype(kept)).astype(float)
    half_unit = 0.5 * 10.0**-numbers.places
    return np.nan_to_num(half_unit * (1 + 1e-9) + rounding + reach * INPUT_HALF_UNIT)


def as_text(value: Any) -> str:
    """Return a value as PyTorch prints it."""
    if isinstance(value, jax.Array | np.ndarray):
        return str(torch.from_numpy(np.array(value)))
    if isinstance(value, np.dtype | type) and (isinstance(value, np.dtype) or issubclass(value, np.generic)):
        return f"torch.{np.dtype(value).name}"
    if isinstance(value, tuple):
        return f"torch.Size({list(value)})"
    return str(value)
