"""The IDX reader: every dtype comes back, and every kind of damage is named."""

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from data_files import IDX_CODES, idx_bytes, write_idx

from jaxport.data.idx import read_idx
from jaxport.errors import DataError

GOOD = idx_bytes(np.arange(6, dtype=np.int16).reshape(2, 3))
ZIPPED = gzip.compress(GOOD, mtime=0)
FLIPPED = ZIPPED[:-8] + bytes([ZIPPED[-8] ^ 1]) + ZIPPED[-7:]  # one bit of the checksum


def header(code: int, *shape: int) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)


@pytest.mark.parametrize("name", ["file", "file.gz"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 5), (1, 2, 3, 4, 5), (0, 28, 28)])
@pytest.mark.parametrize("dtype", IDX_CODES)
def test_reads_what_was_written(tmp_path: Path, dtype: str, shape: tuple[int, ...], name: str):
    values = np.random.default_rng(1).uniform(-100, 100, shape)
    array = np.abs(values).astype(dtype) if dtype == "uint8" else values.astype(dtype)
    result = read_idx(write_idx(tmp_path / name, np.asarray(array)))
    assert result.shape == shape
    assert result.dtype == np.dtype(dtype)
    assert result.dtype.isnative
    assert result.flags.writeable
    np.testing.assert_array_equal(result, array)


def test_bytes_are_big_endian(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(bytes.fromhex("00 00 0b 01 00 00 00 02 01 02 ff fe"))
    np.testing.assert_array_equal(read_idx(str(path)), [258, -2])


@pytest.mark.parametrize(("name", "content"), [("plain.gz", GOOD), ("zipped", ZIPPED)])
def test_gzip_is_told_by_content_not_by_name(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(read_idx(tmp_path / name), [[0, 1, 2], [3, 4, 5]])


BAD = {
    "empty": (b"", "is truncated: 0 bytes"),
    "half a magic number": (GOOD[:3], "is truncated: 3 bytes; an IDX file begins with a magic number of 4"),
    "half a header": (GOOD[:9], "is truncated: 9 bytes; a header of 2 axes has 12"),
    "truncated": (GOOD[:-1], r"is truncated: 11 bytes of values after the header; shape \(2, 3\) of int16 needs 12"),
    "trailing": (GOOD + b"\0", r"has trailing bytes: 13 bytes of values after the header; .* needs 12"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "magic number 89 50 4e 47 is not IDX's: 00 00, then one of 08, 09, 0b"),
    "unknown dtype": (b"\0\0\x0a" + GOOD[3:], "magic number 00 00 0a 02 is not IDX's"),
    "first byte": (b"\1" + GOOD[1:], "magic number 01 00 0b 02 is not IDX's"),
    "second byte": (b"\0\1" + GOOD[2:], "magic number 00 01 0b 02 is not IDX's"),
    "huge lengths": (header(0x0E, *[2**32 - 1] * 3), "3 axes of lengths .* cannot be an array"),
    "huge beside zero": (header(0x08, 0, *[2**32 - 1] * 3), "4 axes of lengths .* cannot be an array"),
    "too many axes": (header(0x08, *[1] * 65) + b"\0", "65 axes of lengths .* at most 64 axes"),
    "large lengths": (header(0x08, 2**32 - 1, 2), "is truncated: 0 bytes of values .* needs 8589934590"),
    "gzip, only the magic": (ZIPPED[:2], "gzip data end too early, after 2 bytes"),
    "gzip, truncated": (ZIPPED[:-9], "gzip data end too early"),
    "gzip, no trailer": (ZIPPED[:-4], "gzip data end too early"),
    "gzip, bad checksum": (FLIPPED, "gzip data are damaged .*CRC"),
    "gzip, bad method": (ZIPPED[:2] + b"\7" + ZIPPED[3:], "gzip data are damaged .*method"),
    "gzip, bad block": (ZIPPED[:10] + b"\xff" + ZIPPED[11:], "gzip data are damaged .*invalid block"),
    "gzip, bytes after it": (ZIPPED + b"more", "gzip data are damaged"),
    "gzip of a truncated file": (gzip.compress(GOOD[:-2]), "is truncated: 10 bytes of values"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_damage_is_named(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "some-images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(path)) + ": .*" + message):
        read_idx(path)


@pytest.mark.parametrize("content", [GOOD, ZIPPED], ids=["plain", "gzip"])
def test_no_prefix_of_a_file_is_read(tmp_path: Path, content: bytes):
    path = tmp_path / "file"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError):
            read_idx(path)


def test_any_damaged_byte_of_a_gzip_file_is_an_error_or_harmless(tmp_path: Path):
    path = tmp_path / "file"
    for at in range(len(ZIPPED)):
        path.write_bytes(ZIPPED[:at] + bytes([ZIPPED[at] ^ 0xFF]) + ZIPPED[at + 1 :])
        try:
            result = read_idx(path)
        except DataError:
            continue
        np.testing.assert_array_equal(result, [[0, 1, 2], [3, 4, 5]])  # the header's time, flags and system


@pytest.mark.parametrize(("name", "message"), [("absent", "absent: no such file"), (".", "cannot be read")])
def test_missing_file(tmp_path: Path, name: str, message: str):
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / name)
