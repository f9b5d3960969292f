"""CIFAR-10: colour pictures of ten kinds of things, 50,000 to train on and 10,000 to validate on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxport.data import cifar_pickle
from jaxport.data.archives import read_members
from jaxport.data.files import read_bytes
from jaxport.data.pictures import draw
from jaxport.data.splits import Arrays, Splits, synthetic_sizes
from jaxport.errors import DataError

SIDE = 32
PIXELS = 3 * SIDE * SIDE
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BINARY = ("cifar-10-batches-bin", "cifar-10-binary.tar.gz")  # folder, archive
PYTHON = ("cifar-10-batches-py", "cifar-10-python.tar.gz")
FILES = (f"{BINARY[1]} or {PYTHON[1]} or {BINARY[0]}/ or {PYTHON[0]}/",)
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = ("test_batch",)


def load(folder: str | Path) -> Splits:
    """Read the published files from `folder`: the binary or the Python version, its archive or what was in it.

    x: uint8 (N, 3, 32, 32), channels first. y: int32 (N,), 0 to 9. `test_batch` is the validation part.
    Archives are read in memory. Batches of another length than 10,000 are read as well.

    Raises:
        DataError: no version is there; a file is missing, damaged or holds something else.

    Source: A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html
    """
    read, suffix, parse = _version(Path(folder))
    contents = read([name + suffix for name in TRAIN + TEST])
    train, val = (_join([parse(*contents(name + suffix)) for name in names]) for names in (TRAIN, TEST))
    return Splits(train, val, CLASSES, str(folder))


def synthetic(n: int, rng: np.random.Generator) -> Splits:
    """Make `n` training and max(1, ⌊n/5⌋) validation images in the same format: ten noisy, shifted patterns.

    Raises:
        UsageError: n is less than 1.
    """
    train, val = (draw(size, len(CLASSES), SIDE, rng) for size in synthetic_sizes(n))
    return Splits(train, val, CLASSES, "synthetic")


Content = Callable[[str], tuple[Path, bytes]]


def _version(folder: Path) -> tuple[Callable[[list[str]], Content], str, Callable[[Path, bytes], Arrays]]:
    """Choose what is there: how it is read, what its files' names end in, and what is made of a file."""
    for (unpacked, archive), suffix, parse in ((BINARY, ".bin", parse_binary), (PYTHON, "", parse_python)):
        if (folder / unpacked).is_dir():
            return lambda names, place=folder / unpacked: _unpacked(place), suffix, parse
        if (folder / archive).is_file():
            return lambda names, place=folder / archive: _archived(place, names), suffix, parse
    raise DataError(f"{folder}: has no {FILES[0]}; put one of them there")


def _unpacked(folder: Path) -> Content:
    return lambda name: (folder / name, read_bytes(folder / name))


def _archived(path: Path, names: list[str]) -> Content:
    members = read_members(path, names)
    return lambda name: (path / name, members.pop(name))


def parse_binary(path: Path, content: bytes) -> Arrays:
    """Read a batch of the binary version: for each image one byte, its label, and 3072 of pixels.

    Raises:
        DataError: the length is no multiple of 3073 or is 0; a label is not from 0 to 9.
    """
    if not content or len(content) % (1 + PIXELS):
        raise DataError(f"{path}: has {len(content)} bytes; it must have {1 + PIXELS} for each image, and at least one")
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return _checked(path, rows[:, 1:], rows[:, 0])


def parse_python(path: Path, content: bytes) -> Arrays:
    """Read a batch of the Python version: a pickled dict of `data`, uint8 (N, 3072), and `labels`, a list.

    Raises:
        DataError: the pickle is damaged or holds anything but lists, text and bytes; the arrays do not fit.
    """
    batch = cifar_pickle.loads(path, content)
    if not isinstance(batch, dict):
        raise DataError(f"{path}: holds a {type(batch).__name__}; it must be a dict with data and labels")
    batch = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    data, labels = batch.get("data"), batch.get("labels")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != PIXELS or len(data) == 0:
        raise DataError(f"{path}: data is {_what(data)}; it must be uint8 of shape (N, {PIXELS})")
    if not isinstance(labels, list) or len(labels) != len(data) or any(type(label) is not int for label in labels):
        raise DataError(f"{path}: labels is {_what(labels)}; it must be a list of {len(data)} integers")
    return _checked(path, data, np.array([label if 0 <= label < 256 else 255 for label in labels]))


def _what(value: Any) -> str:
    shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
    return f"a {type(value).__name__}{shape}" + (f" of {len(value)}" if isinstance(value, list) else "")


def _checked(path: Path, pixels: np.ndarray, labels: np.ndarray) -> Arrays:
    wrong = np.flatnonzero(labels >= len(CLASSES))
    if wrong.size:
        at = int(wrong[0])
        raise DataError(f"{path}: label {labels[at]} at position {at}; labels are 0 to {len(CLASSES) - 1}")
    return Arrays(pixels.reshape(-1, 3, SIDE, SIDE), labels.astype(np.int32))


def _join(batches: list[Arrays]) -> Arrays:
    x, y = zip(*batches, strict=True)
    return Arrays(np.concatenate(x), np.concatenate(y))
