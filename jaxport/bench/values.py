"""Values on their way between processes: few as they are, many through a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .rows import Reference, Values

REFERENCE = "reference.npz"
# More numbers than this go through a file.
_MOST_NUMBERS = 1_000


def packed(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return an answer whose values, where they are many, lie in `file`."""
    values = content.get("losses")
    if values is None or len(values) <= _MOST_NUMBERS:
        return content | ({} if values is None else {"losses": list(map(float, values))})
    np.save(file, np.asarray(values))
    return content | {"losses": str(file)}


def unpacked(values: Any) -> Values:
    """Return the values of an answer."""
    return np.load(values) if isinstance(values, str) else values


def save_reference(reference: Reference, folder: str | Path) -> str:
    """Write PyTorch's values into `folder`, and return the file's name."""
    np.savez(Path(folder, REFERENCE), truth=reference.truth, eager=reference.eager)
    return REFERENCE


def load_reference(folder: str | Path, dtype: str, task: str) -> Reference:
    """Read what `save_reference` wrote."""
    with np.load(Path(folder, REFERENCE)) as arrays:
        return Reference(arrays["truth"], arrays["eager"], dtype, task)
