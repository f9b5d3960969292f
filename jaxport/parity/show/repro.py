"""The failing layer as a script and a file of arrays that need neither jaxport nor the rest of the model."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from jaxport.errors import UsageError

from .html import write_whole
from .rebuild_jax import jax_recipe
from .rebuild_torch import torch_recipe

DTYPES = ("float32", "float64")


def write_repro(
    folder: str | os.PathLike[str],
    name: str,
    *,
    torch_layer: Any,
    jax_layer: Any,
    inputs: Sequence[np.ndarray],
    axes: Sequence[int] | Sequence[Sequence[int]] = (),
    ours: np.ndarray,
    theirs: np.ndarray,
    dtype: str = "float32",
    title: str = "",
) -> Path:
    """Write ``NAME.npz`` and ``NAME.py``, which rebuilds both layers, runs them and says by how much they differ.

    The script needs NumPy, PyTorch, JAX and Flax, and for layers of other packages these; it exits with 1 if the two
    differ by more than PyTorch's own rounding (float32) or 1e-10 (float64), and with 0 if they agree. Layers are
    rebuilt by a call of their class, as a reader would write it; one whose call cannot be found is pickled.

    Args:
        folder: where; it is made if it is not there.
        name: what the files are called; other characters than letters, digits, ``.``, ``-``, ``_`` become ``_``.
        torch_layer: the `torch.nn.Module`, with its weights, in the mode that was compared.
        jax_layer: an `nnx.Module`, Equinox module, `parity.Linen` or `parity.Function`, with its weights.
        inputs: what both are called with, in PyTorch's axes.
        axes: how JAX's axes are ordered against PyTorch's: one order for all arrays with so many axes, or a list of
            one for each input and a last one for the output; () for axes that are alike.
        ours: JAX's output as it was recorded, in PyTorch's axes.
        theirs: PyTorch's.
        dtype: "float32" or "float64": what both are run in.
        title: what the script's first line says.

    Returns:
        The script's path.

    Raises:
        UsageError: a layer can neither be called again nor pickled, `dtype` is another, or the files cannot be written.
    """
    if dtype not in DTYPES:
        raise UsageError(f"dtype: float32 or float64 is needed, got {dtype!r}")
    stem = safe_name(name)
    theirs_how, ours_how = torch_recipe(torch_layer), jax_recipe(jax_layer)
    arrays = {f"input{i}": np.asarray(array) for i, array in enumerate(inputs)}
    arrays |= {"ours": np.asarray(ours), "theirs": np.asarray(theirs)}
    arrays |= {f"torch/{key}": value for key, value in theirs_how.arrays.items()}
    arrays |= {f"jax/{key}": value for key, value in ours_how.arrays.items()}
    values = {
        "title": _line(title or f"{theirs_how.kind} against {ours_how.kind}"),
        "name": stem,
        "imports": "\n".join(sorted({*theirs_how.imports, *ours_how.imports})),
        "foreign": _foreign(theirs_how.foreign | ours_how.foreign),
        "torch": theirs_how.code,
        "jax": ours_how.code,
        "dtype": dtype,
        "axes": repr(_orders(axes, inputs, theirs)),
        "count": str(len(inputs)),
    }
    source = resources.files(__package__ or "jaxport.parity.show").joinpath("assets", "repro.py.txt")
    script = re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], source.read_text(encoding="utf-8"))
    return _write(Path(folder), stem, script, arrays)


def safe_name(name: str) -> str:
    """Return a name that is one file's name anywhere.

    Raises:
        UsageError: nothing is left of it.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:100]
    if not safe:
        raise UsageError(f"name: letters or digits are needed, got {name!r}")
    return safe


def _line(text: str) -> str:
    """Return text that may stand in a docstring."""
    return " ".join(text.split()).encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")


def _foreign(packages: set[str]) -> str:
    known = {"torch", "flax", "jax", "numpy"}
    others = sorted(packages - known)
    return f"It also needs {', '.join(others)}: a layer's class is imported from there." if others else ""


def _orders(axes: Any, inputs: Sequence[np.ndarray], output: np.ndarray) -> list[tuple[int, ...]]:
    arrays = [*inputs, output]
    if not axes or isinstance(axes[0], int | np.integer):
        fits = [len(axes) == np.ndim(array) for array in arrays]
        return [tuple(map(int, axes)) if fit else () for fit in fits]
    if len(axes) != len(arrays):
        raise UsageError(f"axes: {len(arrays)} orders are needed, one for each input and the output's, got {len(axes)}")
    return [tuple(map(int, order)) for order in axes]


def _write(folder: Path, stem: str, script: str, arrays: dict[str, np.ndarray]) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        write_whole(folder / f"{stem}.npz", content.getvalue())
        write_whole(folder / f"{stem}.py", script.encode())
    except OSError as error:
        raise UsageError(f"folder: {folder} cannot be written: {error.strerror}") from error
    return folder / f"{stem}.py"
