"""Whether a row of the table is true: both sides are run and compared."""

from __future__ import annotations

from itertools import starmap
from typing import Any

import numpy as np

from jaxport.parity.tolerances import FLOAT32_FACTOR, FLOAT32_FLOOR, FLOAT64_RTOL
from jaxport.rosetta import Row
from jaxport.rosetta.compare import compare, with_x64
from jaxport.rosetta.plain import Leaf, pairs
from jaxport.rosetta.run import Outcome, run_jax, run_torch

SAME_SIDE_RTOL = FLOAT32_FACTOR * FLOAT32_FLOOR


def findings(row: Row) -> list[str]:
    """Return what is not as the row says: outside jit in float32; then under jit, in float64 where the row has it."""
    torch, jax = run_torch(row), run_jax(row)
    exact = run_torch(row, double=True) if row.x64 and not row.drawn else None
    rtol = FLOAT32_FACTOR * (FLOAT32_FLOOR + (own_rounding(torch.value, exact.value) if exact else 0.0))
    found = [f"float32, {text}" for text in between(row, torch, jax, row.dtypes, rtol)]
    found += warned(row, jax)
    if exact:
        other = run_jax(row, double=True, jit=row.jit)
        if row.jit or not row.differs:  # what is refused under jit was seen outside
            other = other if row.jit else run_jax(row, double=True)
            found += [f"float64, {text}" for text in between(row, exact, other, with_x64(row.dtypes), FLOAT64_RTOL)]
    elif row.jit:
        found += [f"jit, {text}" for text in between(row, torch, run_jax(row, jit=True), row.dtypes, rtol)]
    return found


def between(row: Row, torch: Outcome, jax: Outcome, dtypes: str, rtol: float) -> list[str]:
    """Return what is wrong with two outcomes."""
    found = side("PyTorch", torch, row.torch_raises, row.torch_is) + side("JAX", jax, row.jax_raises, row.jax_is)
    if torch.error or jax.error:
        return found
    different = compare(torch.value, jax.value, "" if row.differs else dtypes, rtol, not row.drawn)
    if row.differs:
        return found if different else [*found, "the two sides do not differ"]
    return found + different


def side(name: str, outcome: Outcome, raises: str, value: str) -> list[str]:
    """Return what is wrong with one side alone: its error, or its value where the row gives it."""
    kinds = [kind.__name__ for kind in type(outcome.error).__mro__] if outcome.error else []
    if kinds or raises:
        return [] if raises in kinds else [f"{name} raised {outcome.error!r}, not {raises or 'nothing'}"]
    found = compare(outcome.expected, outcome.value, "", SAME_SIDE_RTOL) if value else []
    return [f"{name} gives something else: {text}" for text in found]


def warned(row: Row, jax: Outcome) -> list[str]:
    """Return the warnings of JAX's side that the row does not name, and the one that it names in vain."""
    other = [text for text in jax.warnings if not row.warns or row.warns not in text]
    return other + ([f"no warning with {row.warns!r}"] if row.warns and not jax.warnings else [])


def own_rounding(single: Any, double: Any) -> float:
    """Return PyTorch's own error in float32: the largest over all leaves, in units of the leaf's largest magnitude."""
    return max((0.0, *starmap(_rounding, ((one, two) for _, one, two in pairs(single, double)))))


def _rounding(single: Any, double: Any) -> float:
    both = isinstance(single, Leaf) and isinstance(double, Leaf)
    if not both or not all(isinstance(leaf.value, np.ndarray) for leaf in (single, double)):
        return 0.0
    one, two = single.value, double.value
    if one.shape != two.shape or not np.issubdtype(two.dtype, np.inexact) or not np.isfinite(two).any():
        return 0.0
    finite = np.isfinite(two) & np.isfinite(one)
    scale = np.abs(two[finite]).max(initial=0.0)
    return float(np.abs(one[finite] - two[finite]).max(initial=0.0) / scale) if scale else 0.0
