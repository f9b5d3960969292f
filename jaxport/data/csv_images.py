"""Images whose names and labels stand in a CSV file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxport.data.dataset import MapDataset
from jaxport.data.files import read_bytes
from jaxport.data.image_folder import Transform, check_on_error, named, readable
from jaxport.data.images import load_image
from jaxport.errors import DataError, UsageError

Row = tuple[int, str, str]  # line, file name, label


class CsvImageDataset(MapDataset):
    """The images that `annotations_file` names, a CSV file of the two columns file name and label.

    Example i: (image, label), an image being uint8 (3, H, W) and a label an int, unless transformed. The first line is
    left out if its label is not a number (a header); the tutorial's `read_csv` leaves it out always. Further columns
    are not looked at, nor are spaces around a value.

    img_dir: the folder of the images. transform, target_transform: applied to the image and to the label.
    on_error: what missing and damaged images do: "raise" an error (a missing one at the start, a damaged one where it
    is read), or "skip": all are decoded once at the start, and those that cannot be are left out and listed in
    `skipped`. num_classes: labels must be less. encoding: the CSV file's.

    samples: (path, label) of each example. skipped: what was left out, and why.

    Raises:
        DataError: the CSV file is missing, empty, in another encoding or not CSV; a row has fewer than two values or an
            empty name; a label is no integer, negative or not below `num_classes`; `img_dir` is no folder; images are
            missing; no image is left.
        UsageError: on_error is neither of the two, or there is no such encoding; Pillow is not installed.

    Source: https://docs.pytorch.org/tutorials/beginner/basics/data_tutorial.html
    """

    def __init__(
        self,
        annotations_file: str | Path,
        img_dir: str | Path,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        on_error: str = "raise",
        num_classes: int | None = None,
        encoding: str = "utf-8-sig",
    ) -> None:
        check_on_error(on_error)
        if not os.path.isdir(img_dir):
            raise DataError(f"img_dir is {str(img_dir)!r}, which is not a folder; it must hold the images")
        self.transform, self.target_transform = transform, target_transform
        rows = _without_header(annotations_file, list(_rows(annotations_file, encoding)))
        labels = [_label(annotations_file, line, label, num_classes) for line, _, label in rows]
        paths = [os.path.join(img_dir, name) for _, name, _ in rows]
        self.samples = list(zip(paths, labels, strict=True))
        self.skipped: list[str] = []
        if on_error == "skip":
            self.samples, self.skipped = readable(self.samples, load_image)
        elif missing := [name for path, (_, name, _) in zip(paths, rows, strict=True) if not os.path.isfile(path)]:
            raise DataError(
                f"{annotations_file}: {len(missing)} of {len(rows)} images are not in {img_dir}: {named(missing)}"
            )
        if not self.samples:
            raise DataError(f"{annotations_file}: no image can be read: {named(self.skipped)}")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return one image and its label."""
        path, label = self.samples[self.place(index)]
        image = load_image(path)
        return (
            image if self.transform is None else self.transform(image),
            label if self.target_transform is None else self.target_transform(label),
        )


def _rows(path: str | Path, encoding: str) -> Iterator[Row]:
    """Yield the rows that are not blank."""
    reader = csv.reader(io.StringIO(_decode(path, encoding), newline=""), strict=True, skipinitialspace=True)
    line = 1
    try:
        for row in reader:
            if row:
                yield _row(path, line, [value.strip() for value in row])
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {line}: is not CSV ({error}); quote values as RFC 4180 does") from error


def _row(path: str | Path, line: int, row: list[str]) -> Row:
    if len(row) < 2:
        raise DataError(f"{path}, line {line}: has {len(row)} value; it must have a file name and a label")
    if not row[0] or "\0" in row[0]:
        raise DataError(f"{path}, line {line}: the file name is {row[0]!r}; it must be a name in img_dir")
    return line, row[0], row[1]


def _decode(path: str | Path, encoding: str) -> str:
    try:
        return read_bytes(path).decode(encoding)
    except LookupError:
        raise UsageError(f"encoding is {encoding!r}, which Python does not know; utf-8-sig is the default") from None
    except UnicodeDecodeError as error:
        bad = f"byte {error.object[error.start]:02x} at position {error.start}"
        raise DataError(f"{path}: is not {encoding} text ({bad}); give its encoding (encoding=)") from error
    except UnicodeError as error:
        raise DataError(f"{path}: is not {encoding} text ({error}); give its encoding (encoding=)") from error


def _without_header(path: str | Path, rows: list[Row]) -> list[Row]:
    if rows and not _is_integer(rows[0][2]):
        rows = rows[1:]
    if not rows:
        raise DataError(f"{path}: has no row; at least one is needed, of a file name and a label")
    return rows


def _label(path: str | Path, line: int, text: str, num_classes: int | None) -> int:
    wanted = "an integer from 0" + ("" if num_classes is None else f" to {num_classes - 1}")
    label = int(text) if _is_integer(text) else -1
    if label < 0 or (num_classes is not None and label >= num_classes):
        raise DataError(f"{path}, line {line}: the label is {text!r}; it must be {wanted}")
    return label


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19  # int64's, with room
