"""Checks of the arguments that callbacks share."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from jaxport.errors import UsageError


def whole(owner: str, name: str, value: Any, least: int) -> int:
    """Return a whole number of at least `least`.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{owner}: {name} must be a whole number of at least {least}, got {value!r}")
    return value


def whole_or_none(owner: str, name: str, value: Any, least: int) -> int | None:
    """Return None, or a whole number of at least `least`.

    Raises:
        UsageError: it is neither.
    """
    return None if value is None else whole(owner, name, value, least)


def number(owner: str, name: str, value: Any, least: float = -math.inf) -> float:
    """Return a finite number of at least `least`.

    Raises:
        UsageError: it is none.
    """
    plain = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
    right = isinstance(plain, (int, float)) and not isinstance(plain, bool) and math.isfinite(plain) and plain >= least
    if not right:
        wanted = "a finite number" if least == -math.inf else f"a finite number of at least {least:g}"
        raise UsageError(f"{owner}: {name} must be {wanted}, got {value!r}")
    return float(plain)


def callable_or_none(owner: str, name: str, value: Any) -> Any:
    """Return None or a function.

    Raises:
        UsageError: it is neither.
    """
    if value is not None and not callable(value):
        raise UsageError(f"{owner}: {name} must be a function, got {value!r}")
    return value


def path_of(owner: str, name: str, value: Any, suffixes: tuple[str, ...] = ()) -> Path:
    """Return a path, with one of `suffixes` if there are any.

    Raises:
        UsageError: it is no path, or ends otherwise.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise UsageError(f"{owner}: {name} must be a path, got {value!r}")
    path = Path(value)
    if suffixes and path.suffix.lower() not in suffixes:
        raise UsageError(f"{owner}: {name}={str(path)!r} must end in {' or '.join(suffixes)}")
    return path


def make_folder(owner: str, name: str, folder: Path) -> Path:
    """Make a folder with its parents where it is missing.

    Raises:
        UsageError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise UsageError(
            f"{owner}: {name}={str(folder)!r} cannot be made: {error.strerror or error}; give a folder that can"
        ) from error
    if not writable:
        raise UsageError(f"{owner}: {name}={str(folder)!r} cannot be written; give a folder that can")
    return folder
