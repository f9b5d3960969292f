"""The mistakes by name, planted for a while or for as long as the process lives."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from jaxport.errors import UsageError

from . import activations, layers, losses, norms, pictures, sequences, training
from .patching import Mistake, Patches

MISTAKE, APPLIED = "JAXPORT_MISTAKE", "JAXPORT_MISTAKE_APPLIED"
"""Environment variables: the mistake to plant, and the file to which each process adds how often it applied."""

MISTAKES: dict[str, Mistake] = {
    mistake.name: mistake
    for family in (norms, layers, activations, pictures, sequences, losses, training)
    for mistake in family.MISTAKES
}
"""Every mistake by name."""


def find(name: str) -> Mistake:
    """Return a mistake by its name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in MISTAKES:
        near = get_close_matches(name, MISTAKES, 3)
        raise UsageError(f"mistake: one of jaxport.parity.prove.MISTAKES is needed{_like(near)}, got {name!r}")
    return MISTAKES[name]


def _like(names: list[str]) -> str:
    return f" ({', '.join(names)}?)" if names else ""


@contextmanager
def inject(name: str, first: Callable[[], None] | None = None) -> Iterator[Patches]:
    """Plant a mistake in PyTorch while the block runs; the JAX side stays as it is.

    It works on modules and functions of PyTorch's, looked up when they are called: what was written by hand out of
    smaller parts (an attention of two products and a softmax) is out of reach, and then ``applied`` stays 0.

    Args:
        name: of `MISTAKES`.
        first: called when the mistake first makes a difference.

    Yields:
        The patches; their ``applied`` says how often the mistake made a difference.

    Raises:
        UsageError: there is no mistake of that name.
    """
    mistake = find(name)
    with ExitStack() as stack:
        # The fused encoder bypasses the functions that are replaced.
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        patches = Patches(stack, first)
        mistake.plant(patches)
        yield patches


_planted: list[Any] = []


def apply_from_environment() -> None:
    """Plant the mistake that JAXPORT_MISTAKE names, if any, until the process ends; a second call does nothing.

    Raises:
        UsageError: there is no mistake of that name.
    """
    name = os.environ.get(MISTAKE)
    if not name or _planted:
        return
    file = os.environ.get(APPLIED)

    def note(count: int) -> None:
        if file and count:
            with Path(file).open("a") as lines:
                lines.write(f"{count}\n")

    # The first difference is noted at once: a worker of pytest-xdist may end without calling what waits for the end.
    planted = inject(name, first=lambda: note(1))
    patches = planted.__enter__()
    _planted.append(planted)  # a generator that nobody holds would be closed, and the mistake undone
    atexit.register(lambda: note(max(patches.applied - 1, 0)))
