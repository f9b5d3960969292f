"""Data sets by name: where their files are looked for, and one reader each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxport.errors import DataError, UsageError

from . import (
    cifar2,
    cifar10,
    covid,
    digits,
    fashion_mnist,
    fifteen,
    files,
    generated,
    imdb,
    mnist,
    points,
    shapes,
    tfds,
    titanic,
)
from .array_file import ArrayFile as ArrayFile
from .csv_images import CsvImageDataset as CsvImageDataset
from .dataset import ArrayDataset as ArrayDataset
from .dataset import ConcatDataset as ConcatDataset
from .dataset import MapDataset as MapDataset
from .dataset import Subset as Subset
from .dataset import random_split as random_split
from .decoded import decode_folder as decode_folder
from .image_folder import ImageFolder as ImageFolder
from .pixels import to_float as to_float
from .splits import Arrays as Arrays
from .splits import Splits as Splits
from .table import read_table as read_table
from .text import Vocabulary as Vocabulary
from .text_folder import TextFolder as TextFolder

if TYPE_CHECKING:
    from . import transforms as transforms
    from .collate import Batches as Batches
    from .loader import DataLoader as DataLoader

ENVIRONMENT_VARIABLE = "JAXPORT_DATA"
# What needs JAX is imported when it is first used: reading a file does not.
_LAZY = {"Batches": "collate", "DataLoader": "loader", "transforms": ""}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LAZY[name] or name}")
    return getattr(module, name) if _LAZY[name] else module


@dataclass(frozen=True)
class Dataset:
    """What is known about a data set before it is read.

    name: as the command line spells it, and the name of its folder. description: one line.
    files: the names of the files it needs, without `.gz`. embedded: it needs none.
    load: folder → Splits (an embedded set ignores the folder).
    synthetic: (n, rng) → Splits of made-up data with the same shapes and dtypes.
    folder: the name of its folder where that is another set's, "" for its own.
    """

    name: str
    description: str
    files: tuple[str, ...]
    embedded: bool
    load: Callable[..., Splits]
    synthetic: Callable[[int, np.random.Generator], Splits]
    folder: str = ""


def _generated(name: str, description: str, drawn: generated.Generated) -> Dataset:
    return Dataset(name, description, (), True, drawn.load, drawn.synthetic)


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset("digits", "1,797 handwritten digits, embedded", (), True, digits.load, digits.synthetic),
        Dataset("points", "the five points of a line, embedded", (), True, points.load, points.synthetic),
        Dataset("mnist", "70,000 handwritten digits", mnist.FILES, False, mnist.load, mnist.synthetic),
        Dataset(
            "fashion_mnist",
            "70,000 pictures of clothes",
            fashion_mnist.FILES,
            False,
            fashion_mnist.load,
            fashion_mnist.synthetic,
        ),
        Dataset("cifar2", "12,000 pictures of airplanes and cars", cifar2.FILES, False, cifar2.load, cifar2.synthetic),
        Dataset("cifar10", "60,000 pictures of ten things", cifar10.FILES, False, cifar10.load, cifar10.synthetic),
        Dataset("titanic", "891 passengers of the Titanic", titanic.FILES, False, titanic.load, titanic.synthetic),
        Dataset("imdb", "25,000 film reviews", imdb.EITHER, False, imdb.load, imdb.synthetic),
        Dataset(
            "imdb_torchtext",
            "25,000 film reviews, numbered as torchtext does",
            imdb.EITHER,
            False,
            partial(imdb.load, vocabulary="torchtext"),
            imdb.synthetic,
            folder="imdb",
        ),
        Dataset("covid", "47 days of COVID-19 in China", covid.FILES, False, covid.load, covid.synthetic),
        Dataset("fifteen", "the fifteen points of a line, embedded", (), True, fifteen.load, fifteen.synthetic),
        _generated("plane", "400 points about a plane, embedded", generated.PLANE),
        _generated("whole_plane", "the same 400 points, all trained on, embedded", generated.WHOLE_PLANE),
        _generated("million", "1,000,000 points about a plane, embedded", generated.MILLION),
        _generated("line", "100,000 points about a line, embedded", generated.LINE),
        _generated("quadratic", "the coefficients of x² - 2x + 1, embedded", generated.QUADRATIC),
        _generated("noise", "a picture and a target of noise, embedded", generated.NOISE),
        Dataset("shapes", "640 pictures of shapes and their masks, embedded", (), True, shapes.load, shapes.synthetic),
        _generated("cubic", "10,000 points about a cubic curve, embedded", generated.CUBIC),
        _generated("circles", "4,000 points on two rings, embedded", generated.CIRCLES),
        _generated("whole_circles", "the same 4,000 points, all trained on, embedded", generated.WHOLE_CIRCLES),
        _generated("rare_circles", "6,200 points on two rings, 200 on the inner one, embedded", generated.RARE_CIRCLES),
        _generated("two_clusters", "1,000 points in two clusters, embedded", generated.TWO_CLUSTERS),
        _generated("three_clusters", "1,500 points in three clusters, embedded", generated.THREE_CLUSTERS),
    )
}


def load(name: str, data: str | Path | None = None) -> Splits:
    """Read data set `name`, from the folder that `find` finds; an embedded set needs none.

    "tfds:mnist" is a set that tensorflow-datasets prepared, in `data` or in the folder that JAXPORT_DATA names.

    Raises:
        UsageError: there is no data set `name`.
        DataError: `data` is not a folder, the set's files are not found, or they are not what they should be.
    """
    if name.startswith(tfds.PREFIX):
        return tfds.load(name, _root(name, data))
    dataset = _get(name)
    folder = find(name, data)
    if folder is None and not dataset.embedded:
        raise DataError(_not_found(dataset, data))
    return dataset.load(folder)


def find(name: str, data: str | Path | None = None) -> Path | None:
    """Return the first folder that holds all files of data set `name`, or None; None for an embedded set.

    Searched are `data`, then the environment variable JAXPORT_DATA; in each DIR first `DIR/name`, then DIR itself,
    unless DIR is called like another data set (MNIST and Fashion-MNIST have the same file names).

    Raises:
        UsageError: there is no data set `name`.
        DataError: `data` is given and is not a folder.
    """
    dataset = _get(name)
    found = (folder for folder in _places(name, data) if not _missing(dataset, folder))
    return None if dataset.embedded else next(found, None)


def _root(name: str, data: str | Path | None) -> Path:
    root = data or os.environ.get(ENVIRONMENT_VARIABLE)
    if not root:
        raise DataError(f"{name}: neither --data (data=) nor ${ENVIRONMENT_VARIABLE} names the folder that holds it")
    return Path(root).expanduser()


def _get(name: str) -> Dataset:
    if name not in DATASETS:
        raise UsageError(f"name is {name!r}; the data sets are {', '.join(DATASETS)}")
    return DATASETS[name]


def _places(name: str, data: str | Path | None) -> list[Path]:
    """List the folders to search, in order."""
    roots = [Path(root).expanduser() for root in (data, os.environ.get(ENVIRONMENT_VARIABLE)) if root]
    if data and not roots[0].is_dir():
        raise DataError(f"data is {str(data)!r}, which is not a folder; it must be the folder that holds the data sets")
    return [place for root in roots for place in _places_in(root, DATASETS[name].folder or name)]


def _places_in(root: Path, name: str) -> Iterator[Path]:
    yield root / name
    if root.resolve().name not in DATASETS.keys() - {name}:
        yield root


def _missing(dataset: Dataset, folder: Path) -> list[str]:
    return [file for file in dataset.files if not files.is_present(folder, file)]


def _not_found(dataset: Dataset, data: str | Path | None) -> str:
    """Say in two lines what was looked for where, and what to do."""
    places = _places(dataset.name, data)
    folder = dataset.folder or dataset.name
    target = str(places[0]) if places else f"DIR/{folder} and give --data DIR, or set {ENVIRONMENT_VARIABLE}=DIR"
    problem = f"not found in {', '.join(map(str, places))}"
    if not places:
        problem = f"not found: neither --data (data=) nor ${ENVIRONMENT_VARIABLE} names a folder to look in"
    for place in places:
        if len(missing := _missing(dataset, place)) < len(dataset.files):
            target, problem = str(place), f"incomplete in {place}: missing {', '.join(missing)}"
            break
    plain = all("/" not in file and " or " not in file for file in dataset.files)
    wanted = ", ".join(dataset.files) + (" (or each with .gz)" if plain else "")
    return f"data set {dataset.name!r} is {problem}\nPut {wanted} in {target}; `jaxport run digits` needs no files."
