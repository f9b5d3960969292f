"""Data files as bytes: found with or without `.gz`, decompressed by what they hold; written whole or not at all."""

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from jaxport.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"


def candidates(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the two paths that file `name` can have in `folder`: plain, then with `.gz`."""
    return folder / name, folder / f"{name}.gz"


def is_present(folder: Path, name: str) -> bool:
    """Tell whether `folder` holds file `name`, plain or with `.gz`.

    A name that ends in / is a folder's; of "this or that", one is enough.
    """
    return any(_is_one_present(folder, choice) for choice in name.split(" or "))


def _is_one_present(folder: Path, name: str) -> bool:
    if name.endswith("/"):
        return (folder / name).is_dir()
    return any(path.is_file() for path in candidates(folder, name))


def locate(folder: str | Path, name: str) -> Path:
    """Return the path of file `name` in `folder`: the plain file if it is there, else the one with `.gz`.

    Raises:
        DataError: neither is there.
    """
    for path in candidates(Path(folder), name):
        if path.is_file():
            return path
    raise DataError(f"{Path(folder) / name}: no such file, nor {name}.gz; put one of the two there")


def read_bytes(path: str | Path) -> bytes:
    """Return a file's content, decompressed if it begins with gzip's two magic bytes (1f 8b, RFC 1952).

    Raises:
        DataError: the file is missing or unreadable, or its gzip stream is cut short or damaged.
    """
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); a readable file is needed") from error
    if not raw.startswith(GZIP_MAGIC):
        return raw
    try:
        return gzip.decompress(raw)
    except EOFError:
        raise DataError(f"{path}: the gzip data end too early, after {len(raw)} bytes; get the file again") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the gzip data are damaged ({error}); get the file again") from error


def cache_folder() -> Path:
    """Return where decoded images are kept between starts: `jaxport/images` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxport" / "images"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, which becomes `path` once all is written; after an error it is removed.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a crash could leave the new name on an empty file
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
