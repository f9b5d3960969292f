"""Images by an annotations file: labels, headers, encodings, and every kind of mistake named."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import image_bytes, picture

from jaxport.data.csv_images import CsvImageDataset
from jaxport.errors import DataError, UsageError

pytest.importorskip("PIL")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images a.png, b.png, "c, d.png", é.png and a damaged bad.png."""
    for number, name in enumerate(("a.png", "b.png", "c, d.png", "é.png")):
        (tmp_path / name).write_bytes(image_bytes(picture(number, 4 + number, 5)))
    (tmp_path / "bad.png").write_bytes(b"?")
    return tmp_path


def read(folder: Path, text: str | bytes, **options: Any) -> CsvImageDataset:
    file = folder / "labels.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return CsvImageDataset(file, folder, **options)


GOOD: dict[str, tuple[str | bytes, dict[str, Any], list[tuple[str, int]]]] = {
    "no header": ("a.png,3\nb.png,0\n", {}, [("a.png", 3), ("b.png", 0)]),
    "header": ("file,label\nb.png,1\n", {}, [("b.png", 1)]),
    "spaces": ("a.png, 3\r\n b.png ,0", {}, [("a.png", 3), ("b.png", 0)]),
    "quotes": ('"c, d.png","2"\n', {}, [("c, d.png", 2)]),
    "blank lines": ("\na.png,1\n\n", {}, [("a.png", 1)]),
    "more columns": ("a.png,1,x\n", {}, [("a.png", 1)]),
    "byte order mark": (b"\xef\xbb\xbfa.png,1\n", {}, [("a.png", 1)]),
    "another encoding": ("é.png,1\n".encode("latin1"), {"encoding": "latin1"}, [("é.png", 1)]),
    "classes": ("a.png,1\n", {"num_classes": 2}, [("a.png", 1)]),
    "skip": ("a.png,1\nbad.png,2\nnone.png,3\nb.png,4\n", {"on_error": "skip"}, [("a.png", 1), ("b.png", 4)]),
}


@pytest.mark.parametrize(("text", "options", "wanted"), GOOD.values(), ids=GOOD.keys())
def test_good(folder: Path, text: str | bytes, options: dict[str, Any], wanted: list[tuple[str, int]]) -> None:
    dataset = read(folder, text, **options)
    assert [(Path(path).name, label) for path, label in dataset.samples] == wanted
    assert [label for _, label in dataset] == [label for _, label in wanted]
    assert len(dataset) == len(wanted)
    if options.get("on_error"):
        assert len(dataset.skipped) == 2
        assert "bad.png" in dataset.skipped[0]
        assert "none.png: no such file" in dataset.skipped[1]


def test_transforms(folder: Path) -> None:
    dataset = read(folder, "b.png,7\n", transform=lambda x: x / 255, target_transform=str)
    image, label = dataset[0]
    np.testing.assert_array_equal(image, picture(1, 5, 5).transpose(2, 0, 1) / 255)
    assert label == "7"
    assert len(dataset + dataset) == 2


MISSING = "".join(f"{n}.png,0\n" for n in range(9))
BAD: dict[str, tuple[str | bytes, dict[str, Any], type[Exception], str]] = {
    "missing": ("a.png,1\n" + MISSING, {}, DataError, r"9 of 10 images are not in .*: 0\.png, .*, 4\.png and 4 more"),
    "range": ("a.png,1\nb.png,2\n", {"num_classes": 2}, DataError, "line 2: the label is '2'; .* from 0 to 1"),
    "negative": ("a.png,-1\n", {}, DataError, "line 1: the label is '-1'; it must be an integer from 0"),
    "no number": ("a.png,1\nb.png,cat\n", {}, DataError, "line 2: the label is 'cat'"),
    "fraction": ("a.png,1\nb.png,1.0\n", {}, DataError, "line 2: the label is '1.0'"),
    "huge": ("a.png,1\nb.png,99999999999999999999\n", {}, DataError, "line 2: the label is '9"),
    "one column": ("a.png\n", {}, DataError, "line 1: has 1 value; it must have a file name and a label"),
    "no name": ("a.png,1\n,2\n", {}, DataError, "line 2: the file name is ''"),
    "quote": ('a.png,1\n"b.png,2\n', {}, DataError, "line 2: is not CSV .*; quote values as RFC 4180 does"),
    "encoding": (b"\xe9.png,1\n", {}, DataError, r"is not utf-8-sig text \(byte e9 at position 0\)"),
    "utf-16": (b"a,1", {"encoding": "utf-16"}, DataError, "is not utf-16 text"),
    "no encoding": ("a.png,1\n", {"encoding": "utf-99"}, UsageError, "encoding is 'utf-99'"),
    "empty": ("", {}, DataError, "has no row"),
    "only a header": ("file,label\n", {}, DataError, "has no row"),
    "all skipped": ("bad.png,1\n", {"on_error": "skip"}, DataError, r"no image can be read: .*bad\.png"),
    "on_error": ("a.png,1\n", {"on_error": "ignore"}, UsageError, "on_error is 'ignore'"),
}


@pytest.mark.parametrize(("text", "options", "error", "message"), BAD.values(), ids=BAD.keys())
def test_bad(folder: Path, text: str | bytes, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(folder, text, **options)


def test_damaged_and_missing_paths(folder: Path) -> None:
    with pytest.raises(DataError, match=r"bad\.png: cannot be decoded"):
        read(folder, "bad.png,1\n")[0]
    with pytest.raises(DataError, match=re.escape(str(folder / "no.csv")) + ": no such file"):
        CsvImageDataset(folder / "no.csv", folder)
    with pytest.raises(DataError, match=r"img_dir is .*none', which is not a folder"):
        CsvImageDataset(folder / "labels.csv", folder / "none")
