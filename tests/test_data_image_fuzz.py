"""Damaged files of every image format: an error that is documented, or harmless; never another one, never a hang.

JAXPORT_FUZZ sets how many variants of each format are tried.
"""

import os
import signal
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import (
    cifar10_binary,
    cifar10_python,
    image_bytes,
    picture,
    python2_pickle,
    tar_bytes,
    write_folder,
    zip_bytes,
)

from jaxport.data import cifar10
from jaxport.data.archives import extract, read_members
from jaxport.data.csv_images import CsvImageDataset
from jaxport.data.decoded import decode_folder
from jaxport.data.images import load_image
from jaxport.data.sources import parse_table
from jaxport.errors import DataError

VARIANTS = int(os.environ.get("JAXPORT_FUZZ") or 300)
SECONDS = 20  # for one variant
IMAGES = ("jpeg", "png", "bmp", "tiff", "webp", "ppm")
FILES = {f"set/{n}.bin": picture(n, 8, 8).tobytes() for n in range(4)}


class Hang(BaseException):
    """Nothing catches it."""


@contextmanager
def limited() -> Iterator[None]:
    def hang(signum: int, frame: types.FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, flip, insert, remove, repeat, or make everything up; half of the time near the beginning."""
    reach = len(content) if rng.random() < 0.5 else min(len(content), 200)
    at = int(rng.integers(0, max(reach, 1)))
    some = rng.bytes(int(rng.integers(1, 9)))
    match int(rng.integers(0, 7)):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + some + content[at:]
        case 2:
            return content[:at] + content[at + len(some) :]
        case 3:
            return content[:at] + content[at // 2 :]
        case 4:
            return rng.bytes(at)
    changed = bytearray(content)
    for place in rng.integers(0, max(reach, 1), len(some)):
        changed[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, *some))
    return bytes(changed)


def read_image(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, which some damage brings
        assert load_image(path).dtype == np.uint8


def read_archive(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    read_members(path, [f"{n}.bin" for n in range(4)], 1_000_000)


def unpack(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    import shutil

    try:
        extract(path, path.parent / "out", 1_000_000)
    finally:
        shutil.rmtree(path.parent / "out", ignore_errors=True)
        assert [file.name for file in path.parent.iterdir()] == [path.name]


def read_csv(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    CsvImageDataset(path, path.parent, num_classes=10)


def read_cache(path: Path, content: bytes) -> None:
    root, cache = path.parent / "pictures", path.parent / "cache"
    if not root.exists():
        write_folder(root, {"a": 2, "b": 1}, side=6)
        decode_folder(root, cache)
    (file,) = cache.iterdir()
    file.write_bytes(content)
    result = decode_folder(root, cache)
    assert result.images.shape == (len(result.labels), 3, *result.images.shape[2:])
    assert set(result.labels.tolist()) <= {0, 1}


def cache_content(folder: Path) -> bytes:
    decode_folder(write_folder(folder / "first", {"a": 2, "b": 1}, side=6), folder / "kept")
    (file,) = (folder / "kept").iterdir()
    return file.read_bytes()


Read = Callable[[Path, bytes], Any]
FORMATS: dict[str, tuple[Callable[[Path], bytes], Read]] = {
    **{kind: (lambda _, kind=kind: image_bytes(picture(1), kind), read_image) for kind in IMAGES},
    "tar": (lambda _: tar_bytes(FILES, compress=False), read_archive),
    "tar.gz": (lambda _: tar_bytes(FILES), read_archive),
    "zip": (lambda _: zip_bytes(FILES), read_archive),
    "tar, unpacked": (lambda _: tar_bytes(FILES, compress=False), unpack),
    "zip, unpacked": (lambda _: zip_bytes(FILES), unpack),
    "cifar10 binary": (lambda _: cifar10_binary()["test_batch.bin"], cifar10.parse_binary),
    "cifar10 pickle": (lambda _: cifar10_python()["test_batch"], cifar10.parse_python),
    "cifar10 pickle, protocol 4": (lambda _: cifar10_python(protocol=4)["test_batch"], cifar10.parse_python),
    "cifar10 pickle of Python 2": (
        lambda _: python2_pickle(picture(1, 2, 3072, 1), np.array([1, 2])),
        cifar10.parse_python,
    ),
    "csv": (lambda _: b'file,label\n"x.png",1\nx.png, 9\n', read_csv),
    "cache": (cache_content, read_cache),
    "checksum table": (
        lambda _: f"http://h/f\t1\t{'0' * 64}\n".encode(),
        lambda _, content: parse_table(content.decode(errors="replace")),
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_an_error_of_ours_or_harmless(tmp_path: Path, name: str) -> None:
    make, read = FORMATS[name]
    if name in (*IMAGES, "cache"):
        pytest.importorskip("PIL")
    good = make(tmp_path)
    folder = tmp_path / "here"
    folder.mkdir()
    if name == "csv":
        (folder / "x.png").touch()
    read(folder / "x", good)
    rng, refused = np.random.default_rng(list(name.encode())), 0
    for number in range(VARIANTS):
        content = damaged(good, rng)
        try:
            with limited():
                read(folder / "x", content)
        except DataError:
            refused += 1
        except BaseException as error:
            pytest.fail(f"variant {number} of {name}: {error!r} from {content[:2_000]!r}")
    assert refused > VARIANTS // 10 or name in ("cache", "checksum table")
