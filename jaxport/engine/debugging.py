"""What helps to find out what happens: NaNs at their origin, and profiles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import jax

from jaxport.errors import UsageError


@contextmanager
def debugging(debug_nans: bool = False, profile: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Inside, raise at the operation that makes the first NaN, and write a profile to a folder.

    Raises:
        UsageError: the folder cannot be written, or (debug_nans) a NaN was made; the message names the operation.
    """
    with ExitStack() as stack:
        if debug_nans:
            stack.enter_context(jax.debug_nans(True))
        if profile is not None:
            stack.enter_context(_profile(Path(profile)))
        try:
            yield
        except FloatingPointError as error:
            raise UsageError(f"debug_nans: {str(error).splitlines()[0]}") from error


@contextmanager
def _profile(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"profile is {str(folder)!r}, which cannot be written: {error.strerror}") from None
    with jax.profiler.trace(str(folder)):
        yield
