"""Generator: the numbers of ``torch.Generator`` on the CPU."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from jaxport.errors import UsageError

from . import box_muller
from .engine import Engine
from .permutation import exchanged

Shape = int | Sequence[int]
_WIDE_RANGE = 2**28  # PyTorch takes 64 bits from here on, to keep the remainder's bias small
_INTEGERS = {
    kind: (int(np.iinfo(kind).min), int(np.iinfo(kind).max)) for kind in ("int64", "int32", "int16", "int8", "uint8")
}
_WIDE_PERMUTATION = (2**32 - 1) // 20


class Generator:
    """PyTorch's CPU generator: mt19937, and PyTorch's ways from its words to numbers.

    After ``Generator(seed)`` the methods return what PyTorch's functions of the same name return with
    ``generator=torch.Generator().manual_seed(seed)``, or after ``torch.manual_seed(seed)``.

    Args:
        seed: from -2⁶³ to 2⁶⁴ - 1; as in PyTorch, only its low 32 bits count.

    Raises:
        UsageError: `seed` is no such integer.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Generator.html
    """

    def __init__(self, seed: int = 67280421310721) -> None:  # PyTorch's default seed
        self._engine = Engine(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`, and return self."""
        self._engine = Engine(seed)
        return self

    def initial_seed(self) -> int:
        """Return the seed, from 0 to 2⁶⁴ - 1."""
        return self._engine.seed

    def get_state(self) -> np.ndarray:
        """Return the state, uint8 (5056,): the bytes of ``torch.Generator.get_state``."""
        return self._engine.get_state()

    def set_state(self, state: np.ndarray) -> None:
        """Go on from a state that `get_state` returned, or ``torch.Generator.get_state().numpy()``.

        Raises:
            UsageError: it is no such state.
        """
        self._engine.set_state(state)

    def random(self, n: int) -> np.ndarray:
        """Return the next `n` words of the generator, uint32 (n,)."""
        return self._engine.draw32(_count(n)).astype(np.uint32)

    def random64(self, n: int) -> np.ndarray:
        """Return the next `n` pairs of words, uint64 (n,)."""
        return self._engine.draw64(_count(n))

    def random63(self) -> int:
        """Return one integer from 0 to 2⁶³ - 1: ``torch.empty((), dtype=torch.int64).random_()``."""
        return int(self._engine.draw64(1)[0] & np.uint64(2**63 - 1))

    def rand(self, *shape: int, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Return `shape` of `dtype` from U[0, 1); see `uniform`."""
        return self.uniform(0.0, 1.0, shape, dtype)

    def randn(self, *shape: int, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Return `shape` of `dtype` from N(0, 1); see `normal`."""
        return self.normal(0.0, 1.0, shape, dtype)

    def uniform(self, low: float, high: float, shape: Shape, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Return `shape` of `dtype` from U[low, high): u · (high - low) + low, rounded once; ``Tensor.uniform_``.

        Raises:
            UsageError: `low` is above `high`, or `dtype` is not floating.
        """
        kind, sizes = _floating(dtype), _sizes(shape)
        if not low <= high:
            raise UsageError(f"low is {low} and high {high}; low must not be above high")
        n = math.prod(sizes)
        if kind == np.float64:
            values = box_muller.fused(box_muller.uniform64(self._engine, n), high - low, low)
        else:
            span = float(np.float32(high) - np.float32(low))
            values = box_muller.fused32(box_muller.uniform32(self._engine, n), span, low)
        values = values.astype(kind, copy=False)
        end = np.asarray(high).astype(kind)
        return np.where(values == end, np.asarray(low).astype(kind), values).reshape(sizes)

    def normal(self, mean: float, std: float, shape: Shape, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Return `shape` of `dtype` from N(mean, std²); ``Tensor.normal_``.

        Raises:
            UsageError: `std` is negative, or `dtype` is not floating.
        """
        kind, sizes = _floating(dtype), _sizes(shape)
        if not std >= 0.0:
            raise UsageError(f"std is {std}; it must not be negative")
        return box_muller.normals(self._engine, math.prod(sizes), float(mean), float(std), kind).reshape(sizes)

    def randint(self, low: int, high: int, shape: Shape, dtype: DTypeLike = np.int64) -> np.ndarray:
        """Return `shape` of `dtype`, integers from `low` to `high` - 1: low + (word mod (high - low)).

        The word has 32 bits, or 64 where high - low is 2²⁸ or more.

        Raises:
            UsageError: `low` is not below `high`, or `dtype` cannot hold them.
        """
        kind, sizes = np.dtype(dtype), _sizes(shape)
        if kind.name not in _INTEGERS:
            raise UsageError(f"dtype is {kind}; it must be one of {', '.join(_INTEGERS)}")
        least, most = _INTEGERS[kind.name]
        if not least <= low < high <= most + 1:
            raise UsageError(f"low is {low} and high {high}; they must ascend, from {least} to {most + 1} for {kind}")
        size, n = high - low, math.prod(sizes)
        words = self._engine.draw64(n) if size >= _WIDE_RANGE else self._engine.draw32(n)
        values = (words % np.uint64(size)).view(np.int64) + np.int64(low)
        return values.astype(kind).reshape(sizes)

    def randperm(self, n: int) -> np.ndarray:
        """Return the numbers 0 to n - 1 in random order, int64 (n,): element i is exchanged with i + word mod (n - i).

        Raises:
            UsageError: `n` is negative or no integer.
        """
        partners = np.arange(_count(n))
        steps = max(n - 1, 0)  # the last element has no partner left
        words = self._engine.draw32(steps) if n < _WIDE_PERMUTATION else self._engine.draw64(steps)
        partners[:steps] += (words % np.arange(n, 1, -1, dtype=np.uint64)).view(np.int64)
        return exchanged(partners)

    def bernoulli(self, p: ArrayLike, shape: Shape | None = None, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Return ones with probability `p` and zeros else, in `dtype`.

        With a number `p` and a `shape`: ``torch.empty(shape).bernoulli_(p)``, u < p with u in float64; so PyTorch does
        but on Intel processors, where MKL draws. With an array `p` alone: ``torch.bernoulli(p)``, u in p's own
        precision (float64, or else float32).

        Raises:
            UsageError: a probability is outside [0, 1], or a `shape` with an array of probabilities.
        """
        probability = np.asarray(p)
        if shape is not None and probability.ndim:
            raise UsageError(f"p has shape {probability.shape}; with shape={shape} it must be a number")
        if not np.all((probability >= 0) & (probability <= 1)):
            raise UsageError(f"p is {p}; probabilities must be from 0 to 1")
        sizes = _sizes(shape) if shape is not None else probability.shape
        double = shape is not None or probability.dtype == np.float64
        uniform = box_muller.uniform64 if double else box_muller.uniform32
        return (uniform(self._engine, math.prod(sizes)).reshape(sizes) < probability).astype(dtype)


def _count(n: int) -> int:
    try:
        number = operator.index(n)
    except TypeError:
        raise UsageError(f"n is {n!r}; it must be an integer") from None
    if number < 0:
        raise UsageError(f"n is {number}; it must be at least 0")
    return number


def _sizes(shape: Shape) -> tuple[int, ...]:
    sizes = (shape,) if isinstance(shape, int) else tuple(operator.index(size) for size in shape)
    if any(size < 0 for size in sizes):
        raise UsageError(f"shape is {sizes}; no size may be negative")
    return sizes


def _floating(dtype: DTypeLike) -> np.dtype:
    kind = np.dtype(dtype)
    if kind.name not in ("float64", "float32", "float16", "bfloat16"):
        raise UsageError(f"dtype is {kind}; it must be float64, float32, float16 or bfloat16")
    return kind
