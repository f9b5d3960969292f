"""Archives (tar, tar.gz, zip) read with suspicion: nothing but plain files and folders, nothing outside, no bombs."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, BinaryIO

from jaxport.data.files import GZIP_MAGIC
from jaxport.errors import DataError

ZIP_MAGIC = b"PK"
BLOCK = 512  # of a tar file
CHUNK = 1 << 20
MAX_BYTES = 8 << 30  # of all files together, expanded
MAX_READ = 1 << 26  # at once: a header that asks for more is a bomb
Member = tuple[str, IO[bytes] | None]  # name, content (None: a folder)


def read_members(path: str | Path, names: Collection[str], max_bytes: int = MAX_BYTES) -> dict[str, bytes]:
    """Return the contents of the files `names` of an archive, without writing anything.

    A name stands for the file that is called so in whichever folder of the archive.

    Raises:
        DataError: as `extract`; a file is not in the archive, or there twice.
    """
    found: dict[str, bytes] = {}
    with _open(path, max_bytes) as members:
        for name, content in members:
            short = PurePosixPath(name).name
            if content is None or short not in names:
                continue
            if short in found:
                raise DataError(f"{path}: has {short} more than once; get the archive again")
            found[short] = content.read()
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{path}: has no {', '.join(missing)}; get the archive again")
    return found


def extract(path: str | Path, target: str | Path, max_bytes: int = MAX_BYTES) -> Path:
    """Unpack an archive into a new folder `target`, which appears only once everything is in it.

    Raises:
        DataError: the archive is missing, not a tar, tar.gz or zip, cut short or damaged; it holds an absolute path, a
            path with .., a link, a device, an encrypted file, a file twice, or more than `max_bytes`; `target` is there
            already or cannot be written.
    """
    target = Path(target)
    if os.path.lexists(target):
        raise DataError(f"target is {str(target)!r}, which is there already; move it away, or give another name")
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"))
    try:
        with _open(path, max_bytes) as members:
            for name, content in members:
                _write(path, temporary / name, content)
        with _writing(target):
            temporary.chmod(0o755)  # mkdtemp's own is 0o700
            os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _write(path: str | Path, place: Path, content: IO[bytes] | None) -> None:
    with _writing(place):
        (place if content is None else place.parent).mkdir(parents=True, exist_ok=True)
        if content is None:
            return
        try:
            file = place.open("xb", buffering=0)
        except FileExistsError:
            raise DataError(f"{path}: has {place.name!r} more than once; get the archive again") from None
    with file:
        while chunk := memoryview(content.read(CHUNK)):
            with _writing(place):
                while chunk:
                    chunk = chunk[file.write(chunk) :]


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{target}: cannot be written ({error.strerror or error}); make room, or give another"
        ) from error


@contextmanager
def _open(path: str | Path, max_bytes: int) -> Iterator[Iterator[Member]]:
    """Yield the members in the archive's order; each must be read before the next."""
    try:
        with open(path, "rb") as file, ExitStack() as stack:
            yield _members(path, file, stack, max_bytes)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (EOFError, tarfile.ReadError) as error:
        raise DataError(f"{path}: the archive ends too early or is damaged ({error}); get it again") from error
    except Exception as error:  # tarfile, zipfile, gzip and zlib raise dozens of kinds for damaged bytes
        raise DataError(f"{path}: the archive is damaged ({error}); get it again") from error


def _members(path: str | Path, file: BinaryIO, stack: ExitStack, max_bytes: int) -> Iterator[Member]:
    magic = file.read(2)
    file.seek(0)
    check = _Checks(path, max_bytes)
    if magic == ZIP_MAGIC:
        return _zip(stack.enter_context(zipfile.ZipFile(file)), check)
    stream = stack.enter_context(gzip.GzipFile(fileobj=file)) if magic == GZIP_MAGIC else file
    return _tar(_Bounded(path, stream), check)


class _Bounded:
    """A stream that refuses to read a huge piece at once, or backwards, as damaged headers ask for."""

    def __init__(self, path: str | Path, stream: Any) -> None:
        self.path, self.stream = path, stream
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise DataError(f"{self.path}: a header asks for {size} bytes; at most {MAX_READ} are read at once")
        return self.stream.read(size)

    def seek(self, place: int) -> int:
        if place < self.stream.tell() - BLOCK:
            raise DataError(f"{self.path}: a header points backwards; get the archive again")
        return self.stream.seek(place)


class _Checks:
    """What is asked of every member."""

    def __init__(self, path: str | Path, max_bytes: int) -> None:
        self.path, self.max_bytes, self.bytes = path, max_bytes, 0

    def name(self, name: str) -> str:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        outside = name.startswith(("/", "\\")) or PureWindowsPath(name).drive or ".." in parts or "\0" in name
        if outside or not parts:
            raise DataError(f"{self.path}: holds {name!r}; a path must lie below the archive's own folder: refused")
        return "/".join(parts)

    def kind(self, name: str, plain: bool, what: str) -> None:
        if not plain:
            raise DataError(f"{self.path}: holds {name!r}, which is {what}; only files and folders are taken: refused")

    def size(self, size: int) -> None:
        self.bytes += max(size, BLOCK)  # so that a million empty files are not nothing
        if size < 0 or self.bytes > self.max_bytes:
            raise DataError(f"{self.path}: expands to more than {self.max_bytes} bytes (max_bytes): refused")


def _tar(stream: Any, check: _Checks) -> Iterator[Member]:
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            check.kind(member.name, member.isdir() or (member.isreg() and not member.issparse()), "a link or a device")
            check.size(member.size)
            if name := _below(check, member.name, member.isdir()):
                yield name, None if member.isdir() else _content(archive, member)
        _check_end(stream, archive, check)


def _below(check: _Checks, name: str, is_folder: bool) -> str:
    """Return the checked name; "" for the archive's own folder, which many begin with."""
    return "" if is_folder and PurePosixPath(name) == PurePosixPath(".") else check.name(name)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    return _Exact(archive.extractfile(member), member.size)


class _Exact:
    """A file that must have as many bytes as its header says."""

    def __init__(self, stream: Any, size: int) -> None:
        self.stream, self.left = stream, size

    def read(self, size: int | None = None) -> bytes:
        parts = []
        wanted = self.left if size is None else min(size, self.left)
        while wanted > 0:
            part = self.stream.read(min(wanted, CHUNK))
            if not part:
                raise EOFError("a file is shorter than its header says")
            parts.append(part)
            wanted -= len(part)
            self.left -= len(part)
        return b"".join(parts)


def _check_end(stream: Any, archive: tarfile.TarFile, check: _Checks) -> None:
    """Ask for the block of zeros at the end, which a cut archive lacks, and read on to gzip's checksum."""
    stream.stream.seek(archive.offset)
    if stream.read(BLOCK) != bytes(BLOCK):
        raise EOFError("the mark of its end is missing")
    while chunk := stream.read(CHUNK):
        check.size(len(chunk))


def _zip(archive: zipfile.ZipFile, check: _Checks) -> Iterator[Member]:
    for member in archive.infolist():
        mode = member.external_attr >> 16
        plain = stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
        check.kind(member.filename, plain, "a link or a device")
        check.kind(member.filename, not member.flag_bits & 1, "encrypted")
        check.size(member.file_size)
        if name := _below(check, member.filename, member.is_dir()):
            yield name, None if member.is_dir() else _zipped(archive, member)


def _zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    return _Exact(archive.open(member), member.file_size)
