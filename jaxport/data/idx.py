"""The IDX format of MNIST and its relatives: one array of any dtype and number of axes in one file."""

import math
import struct
import sys
from pathlib import Path

import numpy as np

from jaxport.data.files import read_bytes
from jaxport.errors import DataError

# The third byte of the file, and how its values are stored: big-endian always.
DTYPES = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
MAX_AXES = 64  # NumPy's limit; the format's own is 255


def read_idx(path: str | Path) -> np.ndarray:
    """Read an IDX file, gzip or plain, into an array of the file's shape and dtype, in native byte order.

    The file is `00 00 dtype ndim`, then ndim axis lengths (unsigned, 32 bits each), then the values in C order; all of
    it big-endian.

    Raises:
        DataError: the file is missing, cut short, damaged, longer than its header says, or not IDX.

    Source: http://yann.lecun.com/exdb/mnist/ ("The IDX file format").
    """
    content = read_bytes(path)
    dtype, shape = _read_header(path, content)
    start = 4 + 4 * len(shape)
    found, needed = len(content) - start, math.prod(shape) * dtype.itemsize
    if found != needed:
        problem = "is truncated" if found < needed else "has trailing bytes"
        raise DataError(
            f"{path}: {problem}: {found} bytes of values after the header; shape {shape} of {dtype.name} needs {needed}"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _read_header(path: str | Path, content: bytes) -> tuple[np.dtype, tuple[int, ...]]:
    magic = content[:4]
    if len(magic) < 4:
        raise DataError(f"{path}: is truncated: {len(content)} bytes; an IDX file begins with a magic number of 4")
    if magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        known = ", ".join(f"{code:02x}" for code in DTYPES)
        raise DataError(
            f"{path}: magic number {magic.hex(' ')} is not IDX's: 00 00, then one of {known}, then the number of axes"
        )
    dtype, ndim = DTYPES[magic[2]], magic[3]
    if len(content) < 4 + 4 * ndim:
        raise DataError(f"{path}: is truncated: {len(content)} bytes; a header of {ndim} axes has {4 + 4 * ndim}")
    shape = struct.unpack_from(f">{ndim}I", content, 4)
    # Axes of length 0 count as 1: NumPy refuses (0, 2³²−1, 2³²−1) too, although it holds nothing.
    if ndim > MAX_AXES or math.prod(max(n, 1) for n in shape) * dtype.itemsize > sys.maxsize:
        raise DataError(
            f"{path}: {ndim} axes of lengths {shape[:8]} cannot be an array; "
            f"at most {MAX_AXES} axes and {sys.maxsize} bytes can"
        )
    return dtype, shape
