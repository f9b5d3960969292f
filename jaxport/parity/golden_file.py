"""The file of a golden: .safetensors, with a manifest in its metadata that says what each array is and its hash."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from jaxport.errors import DataError, UsageError
from jaxport.interop.files import SAFETENSORS_DTYPES, replacing

FORMAT = 1
"""Version of the manifest, in its key "format"."""

_KEY, _HASH = "jaxport_golden", "jaxport_golden_sha256"
_DTYPES = {dtype: name for name, dtype in SAFETENSORS_DTYPES.items()}
_CHUNK = 1 << 24


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> None:
    """Write arrays and a manifest, all or nothing; arrays of the same bits are stored once,
    weights (``state/…``) only where they are the same object.

    The same arrays and manifest give the same file. Arrays may be mapped from disk: one is in memory at a time.

    Args:
        path: ends in .safetensors.
        arrays: by name.
        manifest: what JSON can hold.

    Raises:
        UsageError: the suffix is another one, or the format has no such dtype (complex128).
        WeightsError: it cannot be written.
    """
    if Path(path).suffix != ".safetensors":
        raise UsageError(f"path={str(path)!r}: a golden's name ends in .safetensors")
    if wrong := [f"{name}: {array.dtype}" for name, array in arrays.items() if _native(array) not in _DTYPES]:
        raise UsageError(f"a .safetensors file cannot hold {', '.join(wrong)}")
    rows = {name: _row(array) for name, array in arrays.items()}
    first: dict[Any, str] = {}
    for name, row in rows.items():
        # Of weights that are equal only tied ones are one: readers tell them by their memory.
        content = row["sha256"], row["dtype"], tuple(row["shape"])
        row["stored"] = first.setdefault(id(arrays[name]) if name.startswith("state/") else content, name)
    # The widest first, so that every array is aligned in the file.
    stored = sorted(first.values(), key=lambda name: (-arrays[name].dtype.itemsize, name))
    header = _header(stored, arrays, rows, manifest)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name in stored:
            file.write(_bytes(arrays[name]))


def _row(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": str(_native(array)), "shape": list(array.shape), "sha256": sha256(_bytes(array)).hexdigest()}


def _native(array: np.ndarray) -> np.dtype:
    return array.dtype.newbyteorder("=")


def _bytes(array: np.ndarray) -> Any:
    little = np.asarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _header(
    stored: list[str], arrays: Mapping[str, np.ndarray], rows: Mapping[str, Any], manifest: Mapping[str, Any]
) -> bytes:
    text = json.dumps({"format": FORMAT, "tensors": rows, **manifest}, sort_keys=True)
    entries: dict[str, Any] = {"__metadata__": {_KEY: text, _HASH: sha256(text.encode()).hexdigest()}}
    start = 0
    for name in stored:
        end = start + arrays[name].nbytes
        entries[name] = {
            "dtype": _DTYPES[_native(arrays[name])],
            "shape": list(arrays[name].shape),
            "data_offsets": [start, end],
        }
        start = end
    header = json.dumps(entries).encode()
    return header + b" " * (-len(header) % 8)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the manifest and the arrays, read-only and mapped from disk, every one checked against its hash.

    Raises:
        DataError: the file is missing, cut short, damaged, no golden, or one of another version.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= size - 8:
                _fail(path, f"is cut short or no .safetensors file: {size} bytes")
            header = file.read(length)
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DataError(f"path={str(path)!r} cannot be read: {error.strerror or error}") from error
    entries = _parsed(path, header)
    manifest = _manifest(path, entries.pop("__metadata__", None))
    stored = dict(_stored(path, entries, data, 8 + length, size))
    return manifest, {name: _checked(path, name, row, stored) for name, row in manifest["tensors"].items()}


def _fail(path: Path, what: str) -> NoReturn:
    raise DataError(f"path={str(path)!r} {what}; record it again or fetch it again")


def _parsed(path: Path, header: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(header)
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        _fail(path, "is damaged or no .safetensors file: its header is no JSON")
    return entries


def _manifest(path: Path, metadata: Any) -> dict[str, Any]:
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        _fail(path, "is no golden: it has no manifest, which `jaxport parity record` writes")
    text = metadata[_KEY]
    if sha256(text.encode()).hexdigest() != metadata.get(_HASH):
        _fail(path, "is damaged: its manifest does not have its hash")
    manifest = json.loads(text)
    if manifest.get("format") != FORMAT:
        _fail(path, f"is a golden of format {manifest.get('format')}, and this version of jaxport reads {FORMAT}")
    return manifest


def _stored(
    path: Path, entries: dict[str, Any], data: mmap.mmap, start: int, size: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays that are in the file."""
    try:
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        if start + end != size:
            _fail(path, f"is cut short or damaged: {size} bytes, its header says {start + end}")
        for name, entry in entries.items():
            dtype, shape = SAFETENSORS_DTYPES[entry["dtype"]], tuple(entry["shape"])
            begin, stop = entry["data_offsets"]
            count = int(np.prod(shape, dtype=np.int64))
            if stop - begin != count * dtype.itemsize:
                _fail(path, f"is damaged: {name!r} has {stop - begin} bytes, and its shape is {shape}")
            yield name, np.frombuffer(data, dtype, count, start + begin).reshape(shape)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        _fail(path, f"is damaged: its header makes no sense ({type(error).__name__}: {error})")


def _checked(path: Path, name: str, row: Mapping[str, Any], stored: Mapping[str, np.ndarray]) -> np.ndarray:
    array = stored.get(row["stored"])
    if array is None:
        _fail(path, f"is damaged: the array {name!r} is missing")
    if [str(array.dtype), list(array.shape)] != [row["dtype"], row["shape"]]:
        _fail(path, f"is damaged: {name!r} is {array.dtype} {array.shape}, the manifest says {row['dtype']}")
    if name == row["stored"] and _hash(array) != row["sha256"]:
        _fail(path, f"is damaged: the array {name!r} does not have its hash")
    return array


def _hash(array: np.ndarray) -> str:
    digest, data = sha256(), _bytes(array)
    for start in range(0, len(data), _CHUNK):
        digest.update(data[start : start + _CHUNK])
    return digest.hexdigest()
