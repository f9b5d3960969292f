"""Rows of a .npy file that is larger than memory, read when they are asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxport.errors import DataError


class ArrayFile:
    """An array in a .npy file, of which only the rows asked for are read; nothing is mapped into memory.

    ``file[3]`` is a row, ``file[[5, 2]]`` an array of rows. Rows that lie together are read in one go.

    Raises:
        DataError: the file is missing, cut short or not a .npy file of plain numbers in C order.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with open(self.path, "rb") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                self.shape, fortran, self.dtype = read(file)
                self._start = file.tell()
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); a .npy file is needed") from error
        except Exception as error:  # NumPy reads the header as Python and raises what Python's tokenizer and parser do
            raise DataError(f"{path}: not a .npy file ({str(error).partition(chr(10))[0]})") from error
        if fortran or self.dtype.hasobject or not self.shape or min(self.shape) < 0:
            raise DataError(f"{path}: holds {self.dtype} {self.shape}; plain numbers in C order, with rows, are needed")
        self._row = math.prod(self.shape[1:]) * self.dtype.itemsize
        needed = self._start + self.nbytes
        if size < needed:
            raise DataError(f"{path}: ends after {size} bytes; {self.shape[0]} rows need {needed}; get the file again")

    @property
    def nbytes(self) -> int:
        """Size of the whole array in bytes."""
        return self._row * self.shape[0]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return one row, or the rows of an array of indices.

        Raises:
            IndexError: there is no such row.
            DataError: the file changed and ends before it.
        """
        rows = np.asarray(index)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"index is {index}; {self.path} has rows 0 to {len(self) - 1}")
        order = np.argsort(rows, axis=None, kind="stable")
        wanted = rows.reshape(-1)[order]
        found = np.empty((rows.size, *self.shape[1:]), self.dtype)
        # Rows that follow each other in the file and in `found` are one read.
        breaks = np.flatnonzero((np.diff(wanted) != 1) | (np.diff(order) != 1)) + 1
        with self._opened() as descriptor:
            for part in np.split(np.arange(rows.size), breaks) if rows.size else []:
                target = found[order[part[0]] : order[part[0]] + len(part)]
                self._fill(descriptor, target, int(wanted[part[0]]))
        return found.reshape(rows.shape + self.shape[1:])

    def _fill(self, descriptor: int, target: np.ndarray, first: int) -> None:
        view, at = target.reshape(-1).view(np.uint8).data, self._start + first * self._row
        while len(view):
            count = os.preadv(descriptor, [view], at)
            if count == 0:
                raise DataError(f"{self.path}: ends before row {first}; the file has changed since it was opened")
            view, at = view[count:], at + count

    @contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
