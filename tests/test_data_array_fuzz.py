"""Damaged files of arrays, IDX and .npy: an error that is documented, or harmless; never another one, never a hang."""

import gzip
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_data_image_fuzz import VARIANTS, damaged, limited

from jaxport.data import fashion_mnist, mnist
from jaxport.data.array_file import ArrayFile
from jaxport.data.idx import read_idx
from jaxport.data.idx_images import FILES
from jaxport.errors import DataError


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


IMAGES = np.arange(5 * 28 * 28).reshape(5, 28, 28)


def read_file(path: Path) -> Any:
    rows = ArrayFile(path)
    return rows[np.arange(min(len(rows), 50))]


def read_set(load: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Read a data set of which one file is damaged."""

    def read(path: Path) -> Any:
        for name in FILES:
            whole = idx(IMAGES) if "images" in name else idx(np.arange(5))
            (path.parent / name).write_bytes(path.read_bytes() if name == FILES[0] else whole)
        return load(path.parent)

    return read


FORMATS: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
    "idx images": (idx(IMAGES), read_idx),
    "idx labels": (idx(np.arange(200)), read_idx),
    "idx, gzip": (gzip.compress(idx(IMAGES), mtime=0), read_idx),
    "mnist": (idx(IMAGES), read_set(mnist.load)),
    "fashion_mnist, gzip": (gzip.compress(idx(IMAGES), mtime=0), read_set(fashion_mnist.load)),
    "npy": (npy(IMAGES.astype(np.uint8)), read_file),
    "npy of floats": (npy(np.linspace(0, 1, 60, dtype=np.float32).reshape(20, 3)), read_file),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_is_an_error_of_ours_or_none(kind, tmp_path):
    content, read = FORMATS[kind]
    rng = np.random.default_rng(0)
    path, refused = tmp_path / "damaged", 0
    path.write_bytes(content)
    read(path)
    for number in range(VARIANTS):
        path.write_bytes(damaged(content, rng))
        try:
            with limited():
                read(path)
        except DataError:
            refused += 1
        except BaseException as error:
            pytest.fail(f"variant {number}: {type(error).__name__}: {error}")
    assert refused > VARIANTS // 10
