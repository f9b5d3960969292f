"""Weights in a file: `.safetensors` here, PyTorch's own files through `torch_file`, both as NumPy arrays by name."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as to_safetensors

from jaxport.errors import WeightsError

TORCH_SUFFIXES = (".pt", ".pth", ".pkl")
SUFFIXES = (".safetensors", *TORCH_SUFFIXES)

# The format's name of each dtype; safetensors' own NumPy reader has only some of them.
SAFETENSORS_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "U16": np.dtype(np.uint16),
    "U32": np.dtype(np.uint32),
    "U64": np.dtype(np.uint64),
    "I8": np.dtype(np.int8),
    "I16": np.dtype(np.int16),
    "I32": np.dtype(np.int32),
    "I64": np.dtype(np.int64),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64),
}


def save_file(mapping: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> None:
    """Write named arrays to `path`, all of them or nothing: the file appears under its name only when it is complete.

    Args:
        mapping: {name: NumPy array of any shape}. The file holds the bits of every array: float64/32/16, bfloat16,
            float8, integers, bool, complex64; a PyTorch file also complex128. Arrays need not be contiguous.
        path: ends in `.safetensors`, or in `.pt`, `.pth`, `.pkl` (read by `torch.load`; needs PyTorch). A PyTorch
            file keeps the order of the names; `.safetensors` sorts them by dtype, then by name.

    Raises:
        WeightsError: the suffix is another one, the folder is missing or not writable, a name is not a string, or a
            value is not an array or has a dtype that the format cannot store (all such names are listed).

    Source: https://github.com/huggingface/safetensors#format
    """
    check_suffix(path)
    with replacing(path) as temporary:
        write(mapping, temporary)


def load_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the named arrays of a `.safetensors`, `.pt`, `.pth` or `.pkl` file: {name: array}, bits as they were saved.

    The arrays are writable and share no memory. bfloat16 and float8 come as `ml_dtypes` arrays. PyTorch's files are
    read by `load_torch`, which runs no code that they contain.

    Raises:
        WeightsError: the file is missing, damaged, truncated or not what its suffix says, or the suffix is another one.

    Source: https://github.com/huggingface/safetensors#format
    """
    path = check_suffix(path)
    if path.suffix.lower() in TORCH_SUFFIXES:
        from .torch_file import load_torch

        return load_torch(path)
    try:
        tensors = deserialize(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"path={str(path)!r} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise WeightsError(f"path={str(path)!r} is not a whole .safetensors file ({error}); fetch it again") from error
    return {name: _from_bytes(path, name, tensor) for name, tensor in tensors}


def write(mapping: Mapping[str, np.ndarray], path: Path) -> None:
    """Write `mapping` straight to `path` in the format of its suffix; `save_file` is this, made atomic."""
    if path.suffix.lower() in TORCH_SUFFIXES:
        from .torch_file import write_torch

        return write_torch(mapping, path)
    arrays = native_arrays(mapping, set(SAFETENSORS_DTYPES.values()), "a .safetensors file")
    if "__metadata__" in arrays:
        raise WeightsError("mapping has the name '__metadata__', which the .safetensors format reserves; rename it")
    try:
        path.write_bytes(to_safetensors(arrays))
    except SafetensorError as error:  # a dtype newer than the installed safetensors
        raise WeightsError(f"mapping cannot be written as .safetensors: {error}") from error


def native_arrays(mapping: Mapping[str, np.ndarray], dtypes: set[np.dtype], where: str) -> dict[str, np.ndarray]:
    """Return the arrays C-contiguous and in native byte order, having checked every name, type and dtype.

    safetensors saves the memory behind an array as it lies: without this a transposed array comes back scrambled.
    `np.asarray(order="C")` rather than `np.ascontiguousarray`, which turns a 0-d array into a 1-d one.

    Raises:
        WeightsError: names every item that `where` cannot hold, and what is wrong with it.
    """
    problems = [problem for name, value in mapping.items() if (problem := _problem(name, value, dtypes))]
    if problems:
        stored = ", ".join(sorted(dtype.name for dtype in dtypes))
        raise WeightsError(f"{where} cannot hold {'; '.join(problems)}. It holds NumPy arrays of {stored}")
    return {name: np.asarray(a, dtype=a.dtype.newbyteorder("="), order="C") for name, a in mapping.items()}


def check_suffix(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a Path if its suffix names a weight format, else raise `WeightsError` naming those that do."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise WeightsError(f"path={str(path)!r} has the suffix {path.suffix!r}; one of {', '.join(SUFFIXES)} is needed")
    return path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the place of `path` if the body succeeds, and vanishes if not.

    The temporary file lies in a folder of its own, so that the body creates it with the user's usual permissions.

    Raises:
        WeightsError: the folder is missing or cannot be written, the disk is full, or `path` is a folder.
    """
    path = Path(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(f"path={str(path)!r} cannot be written: {reason}; a writable folder is needed") from error


def _problem(name: object, value: object, dtypes: set[np.dtype]) -> str | None:
    if not isinstance(name, str):
        return f"the name {name!r}, which is a {type(name).__name__} and not a string"
    if not isinstance(value, np.ndarray | np.generic):
        return f"{name!r}, which is a {type(value).__name__} (np.asarray makes an array of it)"
    if value.dtype.newbyteorder("=") not in dtypes:
        return f"{name!r}, whose dtype is {value.dtype}"
    return None


def _from_bytes(path: Path, name: str, tensor: Mapping) -> np.ndarray:
    dtype = SAFETENSORS_DTYPES.get(tensor["dtype"])
    if dtype is None:
        raise WeightsError(f"path={str(path)!r}: {name!r} has dtype {tensor['dtype']}, which no NumPy array can hold")
    return np.frombuffer(bytearray(tensor["data"]), dtype).reshape(tensor["shape"])
