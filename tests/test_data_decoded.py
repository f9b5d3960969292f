"""Image folders decoded into one array: what is kept between starts, what a change or a full disk does to it."""

import os
from pathlib import Path

import numpy as np
import pytest
from image_files import image_bytes, picture, write_folder

from jaxport.data import decoded
from jaxport.data.decoded import decode_folder
from jaxport.data.image_folder import ImageFolder
from jaxport.data.images import load_image
from jaxport.errors import DataError

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes of 3, 1 and 2 images."""
    return write_folder(tmp_path / "pictures", {"cat": 3, "ant": 1, "bee": 2})


@pytest.mark.parametrize("workers", [1, 3, None])
def test_decode_folder(root: Path, tmp_path: Path, workers: int | None) -> None:
    result = decode_folder(root, workers=workers)
    dataset = ImageFolder(root)
    np.testing.assert_array_equal(result.images, [image for image, _ in dataset])
    np.testing.assert_array_equal(result.labels, dataset.targets)
    assert (result.images.dtype, result.labels.dtype, result.classes) == (np.uint8, np.int32, tuple(dataset.classes))
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_images_of_another_size(root: Path) -> None:
    (root / "bee" / "2.png").write_bytes(image_bytes(picture(1, 5, 7)))
    with pytest.raises(DataError, match=r"bee/2\.png: has 7 × 5 pixels; all must have 32 × 32"):
        decode_folder(root)
    assert decode_folder(root, on_error="skip").labels.tolist() == [0, 1, 1, 2, 2, 2]


class Counter:
    """Counts what is decoded."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, path: str) -> np.ndarray:
        self.count += 1
        return load_image(path)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter()
    monkeypatch.setattr(decoded, "load_image", counter)
    return counter


def test_the_second_start_decodes_nothing(root: Path, tmp_path: Path, counter: Counter) -> None:
    (root / "bee" / "2.png").write_bytes(b"?")
    first = decode_folder(root, tmp_path / "cache", on_error="skip")
    counter.count = 0
    second = decode_folder(root, tmp_path / "cache", on_error="skip")
    assert counter.count == 0
    assert isinstance(second.images, np.memmap)
    assert not second.images.flags.writeable
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.skipped == second.skipped
    assert len(list((tmp_path / "cache").iterdir())) == 1


def _rewrite_with_old_time(root: Path) -> None:
    path = root / "cat" / "0.png"
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = {
    "one more": lambda root: (root / "cat" / "7.png").write_bytes(image_bytes(picture(7))),
    "one less": lambda root: (root / "cat" / "1.png").unlink(),
    "another name": lambda root: (root / "cat" / "1.png").rename(root / "cat" / "8.png"),
    "another class": lambda root: (root / "cat" / "1.png").rename(root / "bee" / "8.png"),
    "another class's name": lambda root: (root / "cat").rename(root / "zebra"),
    "other pixels": lambda root: (root / "cat" / "1.png").write_bytes(image_bytes(picture(7))),
    "same length and time": _rewrite_with_old_time,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_cache_notices_a_change(root: Path, tmp_path: Path, counter: Counter, change) -> None:
    decode_folder(root, tmp_path / "cache")
    counter.count = 0
    change(root)
    result = decode_folder(root, tmp_path / "cache")
    assert counter.count
    assert len(list((tmp_path / "cache").iterdir())) == 1  # the old one is gone
    np.testing.assert_array_equal(result.images, [image for image, _ in ImageFolder(root)])


@pytest.mark.parametrize("at", [0, 5, 100, 128, 200, -60, -1])
def test_a_damaged_cache_is_written_anew(root: Path, tmp_path: Path, counter: Counter, at: int) -> None:
    decode_folder(root, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:at])
    counter.count = 0
    decode_folder(root, tmp_path / "cache")
    assert counter.count == 7  # the first one twice, for its size
    assert file.read_bytes() == content


def _full(*_) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["np.save", "fsync", "file", "folder"])
def test_a_full_disk_costs_the_cache_only(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    cache = tmp_path / "cache"
    if step == "np.save":
        monkeypatch.setattr(np, "save", _full)
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", _full)
    elif step == "folder":
        cache.touch()
    else:
        resource = pytest.importorskip("resource")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, before[1]))
    try:
        with pytest.warns(RuntimeWarning, match="decoded images are not kept in .*: make room"):
            result = decode_folder(root, cache)
    finally:
        if step == "file":
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    np.testing.assert_array_equal(result.images, [image for image, _ in ImageFolder(root)])
    assert cache.is_file() or list(cache.iterdir()) == []


def test_ctrl_c_leaves_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decode_folder(root, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
