"""What `jaxport predict` is given, as a port's inputs: pictures, rows of tables, texts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import data
from .data import imdb, titanic
from .data.csv_table import read_table
from .data.files import read_bytes
from .data.images import EXTENSIONS, load_image
from .data.text_folder import decode, natural
from .errors import DataError, UsageError
from .port import Port

VOCABULARY = "vocabulary.json"
"""The file beside the weights that `jaxport run imdb` writes the words' numbers to."""

_LUMA = np.array([19595, 38470, 7471], np.uint32)[:, None, None]  # ITU-R 601-2 in 1/65536, as Pillow rounds it


class Inputs(NamedTuple):
    """Examples to predict.

    Attributes:
        names: of each, as it is shown.
        load: (first, end) → the inputs of these examples, as `Port.prepare` takes them.
    """

    names: list[str]
    load: Callable[[int, int], np.ndarray]


def read_inputs(
    port: Port,
    sources: Sequence[str],
    *,
    texts: Sequence[str] = (),
    vocabulary: str | Path | None = None,
    weights: str | Path | None = None,
    invert: bool = False,
) -> Inputs:
    """Read what a port predicts.

    Args:
        port: whose inputs.
        sources: paths, by the port: images and folders of images; CSV files with a header, a row an example; text
            files, a file an example, and "-" for standard input.
        texts: texts themselves (`imdb`).
        vocabulary: the file with the words' numbers; None: the one beside `weights`.
        weights: the file of the weights.
        invert: whether pictures are dark on light, where the data set's are light on dark.

    Raises:
        UsageError: an option that is not for this port, or nothing to predict.
        DataError: a file is missing, damaged or not what the port takes.
    """
    if len(port.input_shape) not in (1, 3):
        raise UsageError(f"{port.name} takes no INPUT; it goes on from its data set")
    pictures, words = len(port.input_shape) == 3, port.dataset.startswith("imdb")
    if invert and not pictures:
        raise UsageError(f"--invert is for pictures; {port.name} takes none")
    if (texts or vocabulary) and not words:
        raise UsageError(f"--text and --vocabulary are for reviews; {port.name} takes none")
    if not sources and not texts:
        wanted = "images or folders of images" if pictures else "texts" if words else "CSV files"
        raise UsageError(f"INPUT is missing; {port.name} takes {wanted}")
    if pictures:
        return _pictures(port, sources, invert)
    if words:
        return _texts(port, sources, texts, _vocabulary_path(vocabulary, weights))
    return _tables(port, sources)


# -------------------------------------------------------------------------------------------------------- pictures


def _pictures(port: Port, sources: Sequence[str], invert: bool) -> Inputs:
    paths = [path for source in sources for path in _image_paths(source)]

    def load(first: int, end: int) -> np.ndarray:
        return np.stack([as_picture(load_image(path), port.input_shape, invert) for path in paths[first:end]])

    return Inputs(paths, load)


def _image_paths(source: str) -> list[str]:
    """Return the images in a folder, 2.png before 10.png, or the one file."""
    if not os.path.isdir(source):
        return [source]
    images = (entry for entry in os.scandir(source) if entry.name.lower().endswith(EXTENSIONS))
    found = [entry.path for entry in sorted(images, key=lambda entry: natural(entry.name))]
    if not found:
        raise DataError(f"{source}: has no image; a file that ends in {', '.join(EXTENSIONS)} is needed")
    return found


def as_picture(image: np.ndarray, shape: tuple[int, ...], invert: bool = False) -> np.ndarray:
    """Bring an image, uint8 (3, H, W), to uint8 `shape`: (1, h, w) is grey; another size is interpolated."""
    if shape[0] == 1:
        image = ((image * _LUMA).sum(0, keepdims=True, dtype=np.uint32) + 0x8000 >> 16).astype(np.uint8)
    if image.shape[1:] != shape[1:]:
        image = data.transforms.Resize((shape[1], shape[2]))(image)
    return 255 - image if invert else image


# ---------------------------------------------------------------------------------------------------------- tables


def _tables(port: Port, sources: Sequence[str]) -> Inputs:
    read = titanic.read_passengers if port.dataset == "titanic" else lambda path: _numbers(port, path)
    parts = [(source, *read(source)) for source in sources]
    names = [f"{source}, line {line}" for source, _, lines in parts for line in lines]
    x = np.concatenate([rows for _, rows, _ in parts])
    return Inputs(names, lambda first, end: x[first:end])


def _numbers(port: Port, path: str) -> tuple[np.ndarray, tuple[int, ...]]:
    """Read columns x1, x2, … of numbers."""
    columns = tuple(f"x{i + 1}" for i in range(port.input_shape[0]))
    table = read_table(path, columns)
    return np.column_stack([table.numbers(name) for name in columns]).astype(np.float32), table.lines


# ----------------------------------------------------------------------------------------------------------- texts


def _texts(port: Port, sources: Sequence[str], texts: Sequence[str], vocabulary: Path) -> Inputs:
    words = data.Vocabulary.load(vocabulary)
    largest = imdb.NUM_WORDS
    if len(words) > largest:
        raise DataError(f"{vocabulary}: has {len(words)} words; {port.name} has vectors for {largest}")
    named = [(_shown(text), text) for text in texts] + [(source, _read_text(source)) for source in sources]
    # In the training set every text ends in a line feed, which the vocabulary knows.
    x = words.encode_batch([text.rstrip("\n") + "\n" for _, text in named], port.input_shape[0])
    return Inputs([name for name, _ in named], lambda first, end: x[first:end])


def _read_text(source: str) -> str:
    if source == "-":
        return decode("standard input", sys.stdin.buffer.read())
    return decode(source, read_bytes(source))


def _shown(text: str, most: int = 40) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _vocabulary_path(vocabulary: str | Path | None, weights: str | Path | None) -> Path:
    if vocabulary is not None:
        return Path(vocabulary)
    beside = Path(weights or ".").parent / VOCABULARY
    if not beside.is_file():
        raise DataError(
            f"{beside}: no such file; `jaxport run imdb` writes it beside the weights, --vocabulary names another"
        )
    return beside
