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
        self.arrays = tuple(np.asarray(a) if not hasattr(a, "__array_namespace__") else a for a in arrays)

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
