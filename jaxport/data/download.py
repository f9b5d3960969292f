"""Published data sets fetched: with progress, resumed where they stopped, checked, there only once they are whole."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from jaxport.data.archives import extract
from jaxport.data.sources import SOURCES, UNPACKED, Source, sources
from jaxport.errors import DataError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

CHUNK = 1 << 18
TIMEOUT = 30  # seconds without a byte
ATTEMPTS = 4  # connections in a row that bring nothing new
Advance = Callable[[int], None]


class _Broken(Exception):
    """The connection failed; `again`: another one may do better."""

    def __init__(self, reason: object, again: bool) -> None:
        super().__init__(str(getattr(reason, "reason", None) or reason or type(reason).__name__))
        self.again = again


def download(name: str, folder: str | Path, console: Console | None = None) -> list[Path]:
    """Fetch the published files of data set `name` into `folder` and return their paths.

    A file that is there and right is left alone. What is being fetched is in `FILE.part`, where a later call goes on;
    it gets its name once its size and sha256 are right. An archive whose files are read is unpacked beside it.

    Raises:
        UsageError: no published files of `name` are known.
        DataError: a host cannot be reached or stops (the `.part` file is kept); what comes, or what is there, is not
            the published file; the folder cannot be written (the `.part` file is removed).
    """
    folder, files = Path(folder).expanduser(), sources(name)
    paths = []
    for source in files:
        try:
            paths.append(_fetch(source, folder / source.file, console))
        except _Broken as error:
            raise DataError(_offline(source, files, folder, error)) from error
    if name in UNPACKED and not (folder / UNPACKED[name]).exists():
        paths.append(_unpack(paths[0], folder, UNPACKED[name]))
    return paths


def target(name: str, data: str | Path | None) -> Path:
    """Return the folder that `download` should fill: `data/name`, or `$JAXPORT_DATA/name`.

    Raises:
        UsageError: neither names a folder; data set `name` needs no files, is not published, or there is none.
    """
    from jaxport.data import DATASETS, ENVIRONMENT_VARIABLE

    root = data or os.environ.get(ENVIRONMENT_VARIABLE)
    folder = Path(root or "DIR").expanduser() / name
    if name not in SOURCES and name in DATASETS:
        files = ", ".join(DATASETS[name].files)
        how = (
            f"is not published in this form: put {files} in {folder}"
            if files
            else "is part of jaxport: it needs no files"
        )
        raise UsageError(f"data set {name!r} {how}; fetched are {', '.join(SOURCES)}")
    if name in SOURCES and not root:
        raise UsageError(f"no folder for data set {name!r}: give --data DIR, or set {ENVIRONMENT_VARIABLE}=DIR")
    return folder


def _fetch(source: Source, path: Path, console: Console | None) -> Path:
    if path.exists():
        if problem := _problem(path, source):
            raise DataError(f"{path}: {problem}; move it away to fetch the published file")
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        with _progress(source, console) as advance:
            _fill(source, part, advance)
        if problem := _problem(part, source):
            part.unlink()
            raise DataError(f"{source.url}: {problem}; it was thrown away: try again later")
        os.replace(part, path)
    except OSError as error:  # the disk's: the network's are _Broken
        if part.is_file():
            part.unlink()
        raise DataError(f"{path}: cannot be written ({error.strerror or error}); make room, or give another") from error
    return path


def _problem(path: Path, source: Source) -> str:
    """Say what is wrong with a file, or nothing."""
    if (size := path.stat().st_size) != source.size:
        return f"has {size} bytes; the published file has {source.size}"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if found == source.sha256 else f"has sha256 {found}; the published file has {source.sha256}"


def _fill(source: Source, part: Path, advance: Advance) -> None:
    """Connect, and connect again where the connection broke, until the file is as long as it must be."""
    failures = best = 0
    while (size := _size(part)) != source.size:
        if size > source.size:
            part.unlink()  # not a piece of this file
            continue
        try:
            _continue(source, part, size, advance)
        except _Broken as error:
            if not error.again or failures + 1 >= ATTEMPTS:
                raise
        # A host that cannot resume begins at 0 again: only more than ever before is a step forward.
        failures = 0 if _size(part) > max(best, size) else failures + 1
        best = max(best, size, _size(part))
        if failures >= ATTEMPTS:
            raise _Broken(f"the connection ended {ATTEMPTS} times without a new byte", again=False)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _continue(source: Source, part: Path, size: int, advance: Advance) -> None:
    response = _connect(source, size)
    if response is None:
        part.unlink()
        raise DataError(
            f"{source.url}: the host's file ends before byte {size}; what was here is thrown away: try again"
        )
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT and _start(response) == size
        start = size if resumed else 0
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and start + int(length) != source.size:
            raise DataError(f"{source.url}: the host offers {start + int(length)} bytes; {source.size} were published")
        advance(start)
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab" if resumed else "wb") as file:
            is_too_long = _copy(response, file, source.size - start, advance)
    if is_too_long:
        part.unlink()
        raise DataError(f"{source.url}: more than the {source.size} bytes come that were published; try again later")


def _connect(source: Source, size: int) -> Any:
    """Ask for the file from byte `size` on; None if it has no such byte."""
    headers = {"User-Agent": "jaxport", "Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})
    try:
        return urllib.request.urlopen(urllib.request.Request(source.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise _Broken(f"status {error.code}, {error.reason}", again=False) from error
    except urllib.error.URLError as error:
        raise _Broken(error, again=False) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(error, again=True) from error


def _start(response: Any) -> int:
    """Return where the piece begins that the host sends: "bytes 100-199/200"."""
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdecimal() else -1


def _copy(response: IO[bytes], file: IO[bytes], left: int, advance: Advance) -> bool:
    """Copy what comes, at most `left` bytes, and tell whether there is more."""
    while chunk := _receive(response, left + 1):
        if len(chunk) > left:
            return True
        file.write(chunk)
        left -= len(chunk)
        advance(file.tell())
    return False


def _receive(response: IO[bytes], most: int) -> bytes:
    try:
        return response.read(min(CHUNK, most))
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(error, again=True) from error


def _unpack(archive: Path, folder: Path, inner: str) -> Path:
    """Unpack beside the archive and keep the one folder that is read."""
    whole = folder / f".{inner}.unpacked"
    shutil.rmtree(whole, ignore_errors=True)  # left over where unpacking was killed
    try:
        os.rename(extract(archive, whole) / inner, folder / inner)
    except OSError as error:
        raise DataError(f"{archive}: has no folder {inner} ({error.strerror}); get the archive again") from error
    finally:
        shutil.rmtree(whole, ignore_errors=True)
    return folder / inner


def _offline(source: Source, files: tuple[Source, ...], folder: Path, error: _Broken) -> str:
    part = folder / f"{source.file}.part"
    kept = f" after {_size(part)} of {source.size} bytes, which are kept" if part.exists() else ""
    root = source.url.rpartition("/")[0]
    return (
        f"{source.url}: cannot be fetched ({error}){kept}; run this again with a connection,\n"
        f"or put {', '.join(file.file for file in files)} from {root}/ in {folder}."
    )


@contextmanager
def _progress(source: Source, console: Console | None) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    label = TextColumn("{task.description}")
    columns = (label, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console or Console(quiet=True), transient=True) as bar:
        task = bar.add_task(source.file, total=source.size)
        yield lambda done: bar.update(task, completed=done)
