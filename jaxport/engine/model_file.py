"""A training state as one file: safetensors, with the history beside the arrays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from jaxport import interop
from jaxport.errors import UsageError

from .arrays import flatten, unflatten
from .history import History
from .state import TrainState

LAYOUT = 1
_META = "jaxport"


def save_state(path: Path, state: TrainState, history: History | None, fits: int) -> None:
    """Write a state, the history, and how often the model was trained.

    Raises:
        UsageError: the file cannot be written.
    """
    meta = {"layout": LAYOUT, "fits": fits, "history": None if history is None else history.to_dict()}
    arrays = {name: np.asarray(array) for name, array in flatten(state).items()}
    arrays[_META] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    interop.save_file(arrays, path)


def load_state(path: Path, like: TrainState) -> tuple[TrainState, History | None, int]:
    """Read what `save_state` wrote, for a model whose state is like `like`.

    Raises:
        UsageError: the file is not there, damaged, of another layout, or of another model.
    """
    arrays = dict(interop.load_file(path))
    if _META not in arrays:
        raise UsageError(f"{path} holds no training state; weights alone are read by load_weights")
    meta = json.loads(arrays.pop(_META).tobytes())
    if meta.get("layout") != LAYOUT:
        raise UsageError(f"{path} has layout {meta.get('layout')!r}; this version of jaxport reads layout {LAYOUT}")
    history = None if meta["history"] is None else History.from_dict(meta["history"])
    return unflatten(like, arrays, str(path)), history, int(meta["fits"])
