"""Data sets that tensorflow-datasets prepared (format array_record), read without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxport.errors import DataError, UsageError

from .dataset import MapDataset
from .splits import Arrays, Splits

PREFIX = "tfds:"
# What sets call the part that is only measured.
VALIDATION = ("test", "validation", "valid")
# Examples that are decoded together.
_CHUNK = 1024


class TfdsDataset(MapDataset):
    """One split of a prepared data set; example: its `keys`, images channels first.

    Raises:
        UsageError: tensorflow-datasets is not installed, or there is no such split or key.
        DataError: the folder holds no prepared data set, or not in the format array_record.

    Source: https://www.tensorflow.org/datasets/data_source
    """

    def __init__(self, folder: str | Path, split: str, keys: Sequence[str] | None = None) -> None:
        builder = _builder(Path(folder))
        if split not in builder.info.splits:
            raise UsageError(f"split is {split!r}; {folder} has {', '.join(builder.info.splits)}")
        features = builder.info.features
        keys = tuple(keys or builder.info.supervised_keys or features)
        missing = [key for key in keys if key not in features]
        if missing:
            raise UsageError(f"keys has {missing}; {folder} has {', '.join(features)}")
        self.keys, self.folder = keys, Path(folder)
        self.classes = tuple(getattr(features[keys[-1]], "names", None) or ())
        try:
            self.source = builder.as_data_source(split=split)
        except (NotImplementedError, ValueError, OSError) as error:
            raise DataError(
                f"{folder}: not in the format array_record ({str(error).partition(chr(10))[0]}); prepare it with "
                "file_format='array_record'"
            ) from error

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return one example."""
        return self._parts(self.source[self.place(index)])

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return all examples, an array for each key.

        Raises:
            DataError: examples of different shapes.
        """
        chunks = []
        for start in range(0, len(self), _CHUNK):
            rows = self.source.__getitems__(list(range(start, min(start + _CHUNK, len(self)))))
            columns = zip(*(self._parts(row) for row in rows), strict=True)
            chunks.append([self._stack(key, column) for key, column in zip(self.keys, columns, strict=True)])
        return tuple(np.concatenate(column) for column in zip(*chunks, strict=True))

    def _parts(self, example: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(_channels_first(np.asarray(example[key])) for key in self.keys)

    def _stack(self, key: str, column: tuple[np.ndarray, ...]) -> np.ndarray:
        shapes = {array.shape for array in column}
        if len(shapes) != 1:
            raise DataError(
                f"{self.folder}: {key} has shapes {sorted(shapes)[:3]}; one shape is needed: read it example-wise"
            )
        array = np.stack(column)
        return array.astype(np.int32) if array.dtype == np.int64 else array


def load(name: str, folder: str | Path) -> Splits:
    """Read a prepared data set whole: "tfds:mnist" from `folder`, which holds `mnist/VERSION` or is that folder.

    x: the set's input, images uint8 (N, C, H, W); y: its label, int32 (N,). val: its test or validation split.

    Raises:
        UsageError: tensorflow-datasets is not installed.
        DataError: nothing prepared is found, it has no training or no test split, or not one input and one label.
    """
    place = find(name.removeprefix(PREFIX), Path(folder))
    splits = _builder(place).info.splits
    val = next((split for split in VALIDATION if split in splits), None)
    if "train" not in splits or val is None:
        raise DataError(
            f"{place}: has the splits {', '.join(splits)}; train and one of {', '.join(VALIDATION)} are needed"
        )
    parts = [TfdsDataset(place, split) for split in ("train", val)]
    if len(parts[0].keys) != 2:
        raise DataError(f"{place}: an example is {', '.join(parts[0].keys)}; one input and one label are needed")
    train, test = (Arrays(*part.arrays()) for part in parts)
    return Splits(train, test, parts[0].classes, str(place))


def find(name: str, folder: Path) -> Path:
    """Return the newest version of a prepared data set under `folder`, its name "mnist" or "imdb_reviews/plain_text".

    Raises:
        DataError: there is none.
    """
    for place in (folder / name, folder):
        versions = [path.parent for path in place.glob("*/dataset_info.json")]
        if (place / "dataset_info.json").is_file():
            versions = [place]
        if versions:
            return max(versions, key=lambda path: [int(part) for part in path.name.split(".") if part.isdigit()])
    raise DataError(
        f"tfds:{name} is not found: no {name}/VERSION/dataset_info.json in {folder}\n"
        f"Prepare it there: tfds.builder('{name}', data_dir={str(folder)!r}, file_format='array_record')"
        ".download_and_prepare()"
    )


def _builder(folder: Path) -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UsageError("data sets of tensorflow-datasets need it: pip install 'jaxport[data]'") from error
    try:
        return tfds.builder_from_directory(str(folder))
    except Exception as error:  # it raises whatever its parsers raise
        raise DataError(
            f"{folder}: no data set that tensorflow-datasets prepared ({str(error).partition(chr(10))[0]})"
        ) from error


def _channels_first(array: np.ndarray) -> np.ndarray:
    image = array.ndim == 3 and array.dtype == np.uint8 and array.shape[-1] in (1, 3, 4)
    return np.ascontiguousarray(np.moveaxis(array, -1, 0)) if image else array
