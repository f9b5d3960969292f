"""Data sets of examples by number, as in torch.utils.data: arrays, concatenations, parts."""

from __future__ import annotations

import bisect
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxport.errors import DataError, UsageError
from jaxport.random import Generator

from .array_file import ArrayFile


class MapDataset:
    """A data set whose example i is ``dataset[i]``; ``first + second`` joins two.

    A subclass defines `__len__` and `__getitem__`, which takes an integer from 0 to len - 1.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Dataset
    """

    def __len__(self) -> int:
        """Return the number of examples."""
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __getitem__(self, index: int) -> Any:
        """Return one example, a tuple of arrays or numbers."""
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def __add__(self, other: MapDataset) -> ConcatDataset:
        """Return both, one after the other."""
        return ConcatDataset([self, other])

    def place(self, index: Any) -> int:
        """Return `index` as a number from 0 to len - 1; negative ones count from the end.

        Raises:
            IndexError: there is no such example.
        """
        number, size = operator.index(index), len(self)
        if not -size <= number < size:
            raise IndexError(f"index is {number}; {type(self).__name__} has examples 0 to {size - 1}")
        return number % size


class ArrayDataset(MapDataset):
    """Arrays of one length, example i being row i of each (torch's TensorDataset).

    arrays: each (N, ...), NumPy's or JAX's. Example: a tuple of rows.

    Raises:
        DataError: no array, one without axes, or arrays of different lengths.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.TensorDataset
    """

    def __init__(self, *arrays: Any) -> None:
        shapes = [np.shape(array) for array in arrays]
        if not arrays or not all(shapes) or len({shape[0] for shape in shapes}) != 1:
            raise DataError(f"arrays have shapes {shapes}; at least one is needed, all with the same first axis")
        as_they_are = [isinstance(a, ArrayFile) or hasattr(a, "__array_namespace__") for a in arrays]
        self.arrays = tuple(a if keep else np.asarray(a) for a, keep in zip(arrays, as_they_are, strict=True))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return one row of each array."""
        number = self.place(index)
        return tuple(array[number] for array in self.arrays)


class ConcatDataset(MapDataset):
    """Data sets one after the other.

    Raises:
        DataError: there is none.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.ConcatDataset
    """

    def __init__(self, datasets: Sequence[MapDataset]) -> None:
        self.datasets = tuple(datasets)
        if not self.datasets:
            raise DataError("datasets is empty; at least one data set is needed")
        self.ends = np.cumsum([len(dataset) for dataset in self.datasets]).tolist()

    def __len__(self) -> int:
        """Return the sum of the lengths."""
        return self.ends[-1]

    def __getitem__(self, index: int) -> Any:
        """Return one example of the data set that holds it."""
        number = self.place(index)
        which = bisect.bisect_right(self.ends, number)
        return self.datasets[which][number - (self.ends[which - 1] if which else 0)]


class Subset(MapDataset):
    """The examples `indices` of a data set, in that order.

    Raises:
        IndexError: an index is outside the data set.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Subset
    """

    def __init__(self, dataset: MapDataset, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        wrong = self.indices[(self.indices < 0) | (self.indices >= len(dataset))]
        if len(wrong):
            raise IndexError(f"indices has {wrong[0]}; the data set has examples 0 to {len(dataset) - 1}")

    def __len__(self) -> int:
        """Return the number of indices."""
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        """Return the example that the index stands for."""
        return self.dataset[int(self.indices[self.place(index)])]


def stored_arrays(dataset: Any) -> tuple[tuple[Any, ...] | None, np.ndarray | None]:
    """Return the arrays that hold a data set's examples, and which of their rows; None, None if arrays do not hold it.

    Rows None: all of them, in order. A concatenation of arrays in memory is made one.
    """
    if isinstance(dataset, ArrayDataset):
        return dataset.arrays, None
    if isinstance(dataset, Subset):
        arrays, rows = stored_arrays(dataset.dataset)
        return arrays, dataset.indices if rows is None else rows[dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [stored_arrays(part) for part in dataset.datasets]
        columns = [arrays if rows is None else _rows_of(arrays, rows) for arrays, rows in parts if arrays is not None]
        if len(columns) == len(parts) and len({len(arrays) for arrays in columns}) == 1 and not _on_disk(columns):
            return tuple(np.concatenate([np.asarray(a) for a in same]) for same in zip(*columns, strict=True)), None
    return None, None


def _rows_of(arrays: tuple[Any, ...], rows: np.ndarray) -> tuple[Any, ...]:
    return arrays if _on_disk([arrays]) else tuple(array[rows] for array in arrays)


def _on_disk(columns: list[tuple[Any, ...]]) -> bool:
    return any(isinstance(a, (ArrayFile, np.memmap)) for arrays in columns for a in arrays)


def random_split(dataset: MapDataset, lengths: Sequence[int | float], seed: int = 0) -> list[Subset]:
    """Cut a data set at random into parts that do not overlap.

    lengths: how many examples each part gets; or fractions that sum to 1: part k gets ⌊fraction · N⌋, and what is left
    over goes one by one to the first parts. The order is that of torch's generator seeded with `seed`.

    Raises:
        UsageError: the lengths do not sum to the data set's.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.random_split
    """
    sizes = _sizes(lengths, len(dataset))
    order = Generator(seed).randperm(len(dataset))
    ends = np.cumsum(sizes)
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _sizes(lengths: Sequence[int | float], total: int) -> list[int]:
    if math.isclose(sum(lengths), 1.0) and all(0 <= length <= 1 for length in lengths):
        sizes = [int(np.floor(total * length)) for length in lengths]
        for extra in range(total - sum(sizes)):
            sizes[extra % len(sizes)] += 1
        return sizes
    if any(length != int(length) or length < 0 for length in lengths) or sum(lengths) != total:
        raise UsageError(
            f"lengths is {list(lengths)}; it must be whole numbers that sum to {total}, or fractions that sum to 1"
        )
    return [int(length) for length in lengths]
