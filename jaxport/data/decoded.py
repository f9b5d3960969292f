"""An image folder decoded once, in parallel, into one array, which is kept in a file for the next start."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxport.data.files import replacing
from jaxport.data.image_folder import check_no_class_is_empty, check_on_error, find_classes, list_samples
from jaxport.data.images import load_image
from jaxport.errors import DataError

VERSION = 1  # of the cache's layout: part of every key
CHUNK = 64  # images per task
Samples = Sequence[tuple[str, int]]


@dataclass(frozen=True, eq=False)
class Decoded:
    """The images of a folder. images: uint8 (N, 3, H, W). labels: int32 (N,). classes: their names.

    skipped: what was left out, and why.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def decode_folder(
    root: str | Path, cache: str | Path | None = None, workers: int | None = None, on_error: str = "raise"
) -> Decoded:
    """Decode all images below the class folders of `root`, which must be of one size, into one array.

    cache: a folder for the decoded array. Its file is named by a digest of the paths, lengths and times of change of
    all images, so any change is noticed; a second start maps it into memory (read-only) and decodes nothing.
    workers: threads (Pillow decodes outside Python's lock); by default as many as there are processors.
    on_error: "raise", or "skip" what is damaged or of another size than the first image that can be read.

    If the cache cannot be written (a full disk), nothing is left of it, a RuntimeWarning says so, and the images are
    returned all the same. Progress is shown on a terminal.

    Raises:
        DataError: what ImageFolder raises; images of different sizes.
        UsageError: on_error is neither of the two; Pillow is not installed.
    """
    check_on_error(on_error)
    classes = find_classes(root)
    samples = list_samples(root, classes)
    check_no_class_is_empty(root, classes, [label for _, label in samples])
    file = None if cache is None else Path(cache).expanduser() / _name(root, samples, on_error)
    found = None if file is None else _read(file, classes)
    if found is not None:
        return found
    decoded = _decode(samples, classes, workers, on_error)
    check_no_class_is_empty(root, classes, decoded.labels.tolist(), decoded.skipped)
    if file is not None:
        _write(file, decoded)
    return decoded


def _name(root: str | Path, samples: Samples, on_error: str) -> str:
    """Name the cache's file: first what stays, then what changes when an image does.

    The time of the last status change is among it: no program can set that back.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path, label in samples:
        try:
            status = os.stat(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); a readable file is needed") from None
        line = f"{path}\0{label} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\0"
        digest.update(os.fsencode(line))
    place = hashlib.blake2b(os.fsencode(f"{VERSION} {on_error} {os.path.abspath(root)}"), digest_size=8)
    return f"{place.hexdigest()}-{digest.hexdigest()}.npy"


def _decode(samples: Samples, classes: tuple[str, ...], workers: int | None, on_error: str) -> Decoded:
    """Decode straight into the array, so that no image is held twice."""
    shape = _first_shape(samples, on_error)
    images = np.empty((len(samples), *shape), np.uint8)

    def decode(start: int) -> list[str | None]:
        return [
            _decode_into(images, at, samples[at][0], on_error) for at in range(start, min(start + CHUNK, len(images)))
        ]

    problems: list[str | None] = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool, _progress(len(samples)) as advance:
        futures = [pool.submit(decode, start) for start in range(0, len(samples), CHUNK)]
        try:
            for future in futures:
                problems += future.result()
                advance(CHUNK)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    labels = np.array([label for _, label in samples], np.int32)
    skipped = tuple(problem for problem in problems if problem is not None)
    if skipped:
        images, labels = _without(images, labels, np.array([problem is None for problem in problems]))
    return Decoded(images, labels, classes, skipped)


def _first_shape(samples: Samples, on_error: str) -> tuple[int, ...]:
    """Return the shape of the first image that can be read."""
    for path, _ in samples:
        try:
            return load_image(path).shape
        except DataError:
            if on_error == "raise":
                raise
    raise DataError(f"{samples[0][0]} and all {len(samples)} images cannot be decoded; at least one is needed")


def _decode_into(images: np.ndarray, at: int, path: str, on_error: str) -> str | None:
    try:
        image = load_image(path)
        if image.shape != images.shape[1:]:
            sizes = [f"{shape[2]} × {shape[1]}" for shape in (image.shape, images.shape[1:])]
            raise DataError(f"{path}: has {sizes[0]} pixels; all must have {sizes[1]} as the first image has")
    except DataError as error:
        if on_error == "raise":
            raise
        return str(error)
    images[at] = image
    return None


def _without(images: np.ndarray, labels: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Close the gaps in place: `images[keep]` would be a second array."""
    places = np.flatnonzero(keep)
    for to, place in enumerate(places):
        images[to] = images[place]
    return images[: len(places)], labels[keep]


def _write(file: Path, decoded: Decoded) -> None:
    """Write three arrays one after the other: images, labels, the skipped files' messages as JSON."""
    try:
        with replacing(file) as handle:
            np.save(handle, decoded.images)
            np.save(handle, decoded.labels)
            np.save(handle, np.frombuffer(json.dumps(decoded.skipped).encode(), np.uint8))
        for other in file.parent.glob(f"{file.name.partition('-')[0]}-*.npy"):
            if other != file:
                other.unlink(missing_ok=True)  # of the same folder before it changed
    except OSError as error:
        reason = error.strerror or error
        warnings.warn(
            f"decoded images are not kept in {file.parent} ({reason}): make room, or they are decoded at every start",
            RuntimeWarning,
            stacklevel=3,
        )


def _read(file: Path, classes: tuple[str, ...]) -> Decoded | None:
    """Map the cache's file; None if it is not there or not whole."""
    try:
        with file.open("rb") as handle:
            images = _map(file, handle)
            labels, skipped = (np.load(handle, allow_pickle=False) for _ in range(2))
            messages = tuple(json.loads(skipped.tobytes()))
            whole = not handle.read(1)
    except Exception:  # a damaged header raises anything; what cannot be read is decoded again
        return None
    right = whole and images.dtype == np.uint8 and images.ndim == 4 and labels.dtype == np.int32
    right = right and labels.shape == images.shape[:1] and labels.size > 0
    right = right and labels.min() >= 0 and labels.max() < len(classes)
    return Decoded(images, labels, classes, messages) if right else None


def _map(file: Path, handle: Any) -> np.ndarray:
    """Map the first array and leave the file behind it."""
    if np.lib.format.read_magic(handle) != (1, 0):
        raise ValueError("not the version of the format that NumPy writes for such an array")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(handle)
    if fortran_order or dtype != np.uint8:
        raise ValueError("not an array of bytes in C order")
    images = np.memmap(file, dtype, "r", handle.tell(), shape)
    handle.seek(images.nbytes, os.SEEK_CUR)
    return images


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("decoding images", total=total)
        yield lambda count: bar.advance(task, count)
