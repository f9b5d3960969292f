"""The output of every module below a model, as it is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .module import Module

# (path of each module by its id, outputs by path) of the innermost recording.
_recording: ContextVar[tuple[dict[int, str], dict[str, Any]] | None] = ContextVar("recorded outputs", default=None)


@contextmanager
def record_outputs(module: Module) -> Iterator[dict[str, Any]]:
    """Collect path → output of every call of `module` and the modules below it, also under tracing.

    ``with record_outputs(net) as outputs: net(x)`` fills `outputs` as forward hooks would in PyTorch; the model's own
    output stands under "". A module that is called twice keeps its last output. (``nnx.capture`` leaves out every
    module whose forward is inherited.)
    """
    paths = {id(part): path for path, part in module.named_modules()}
    outputs: dict[str, Any] = {}
    token = _recording.set((paths, outputs))
    try:
        yield outputs
    finally:
        _recording.reset(token)


def note_output(module: Module, output: Any) -> None:
    """Keep an output if its module is being recorded."""
    recording = _recording.get()
    if recording is not None and id(module) in recording[0]:
        recording[1][recording[0][id(module)]] = output
