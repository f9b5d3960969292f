"""Examples made one batch, and batches of other libraries made arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from jaxport.errors import UsageError

from .prefetch import in_background


def stacked(examples: list[Any]) -> tuple[np.ndarray, ...]:
    """Stack the parts of examples: [(x, y), …] → (x (B, …), y (B, …)); whole numbers become int32, others float32.

    Raises:
        UsageError: parts of different shapes, or examples of different numbers of parts.
    """
    parts = [example if isinstance(example, (tuple, list)) else (example,) for example in examples]
    if len({len(part) for part in parts}) != 1:
        raise UsageError(f"examples have {sorted({len(part) for part in parts})} parts; all must have the same number")
    return tuple(_stack(number, column) for number, column in enumerate(zip(*parts, strict=True)))


def _stack(number: int, column: tuple[Any, ...]) -> np.ndarray:
    arrays = [np.asarray(value) for value in column]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        raise UsageError(
            f"part {number} of the examples has shapes {sorted(shapes)}; make them one shape, or give collate="
        )
    array = np.stack(arrays)
    if isinstance(column[0], (bool, int)):
        return array.astype(np.bool_ if isinstance(column[0], bool) else np.int32)
    return array.astype(np.float32) if isinstance(column[0], float) and not isinstance(column[0], np.generic) else array


class Batches:
    """Batches from elsewhere as tuples of arrays, sent to the device ahead in the background.

    source: torch's DataLoader, one of grain, or any iterable of batches: a tuple or list of arrays, one array, or a
    dict, of which `names` are taken in that order (all without `names`). Iterating again iterates `source` again.
    transform: applied to a batch of NumPy arrays, in the background.

    Raises:
        UsageError: `source` is not iterable, or a batch lacks a name or has none.
    """

    def __init__(
        self,
        source: Iterable[Any],
        names: tuple[str, ...] | None = None,
        *,
        transform: Callable[[tuple[Any, ...]], tuple[Any, ...]] | None = None,
        prefetch: int = 2,
        to_device: bool = True,
    ) -> None:
        if not hasattr(source, "__iter__"):
            raise UsageError(f"source is {source!r}; it must be an iterable of batches")
        self.source, self.names, self.transform = source, names, transform
        self.prefetch, self.to_device = prefetch, to_device

    def __len__(self) -> int:
        """Return the number of batches, if the source has one."""
        return len(self.source)  # pyright: ignore[reportArgumentType]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Give out the source's batches once."""
        batches = iter(self.source)

        def following(_: int) -> tuple[Any, ...] | None:
            try:
                return self._made(next(batches))
            except StopIteration:
                return None

        for batch in in_background(following, _forever(), 1, self.prefetch):
            if batch is None:
                return
            yield batch

    def _made(self, batch: Any) -> tuple[Any, ...]:
        parts = tuple(np.asarray(part) for part in self._parts(batch))
        parts = parts if self.transform is None else self.transform(parts)
        return jax.device_put(parts) if self.to_device else parts

    def _parts(self, batch: Any) -> tuple[Any, ...]:
        if isinstance(batch, dict):
            names = tuple(batch) if self.names is None else self.names
            missing = [name for name in names if name not in batch]
            if missing:
                raise UsageError(f"names has {missing}; a batch of the source has {list(batch)}")
            return tuple(batch[name] for name in names)
        if self.names is not None:
            raise UsageError(f"names is {self.names}; the source's batches are {type(batch).__name__}, without names")
        return tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)


def _forever() -> Iterator[int]:
    while True:
        yield 0
