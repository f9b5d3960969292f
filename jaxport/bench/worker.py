"""A benchmark's worker: ``python -m jaxport.bench.worker ROLE PORT FOLDER``, driven by JSON lines on its input.

Roles: "setup" draws the inputs, "reference" computes PyTorch's losses in float64 and float32, and every framework
trains on request. Requests: ``{"do": "prepare", …}`` and then any number of ``{"do": "round", "seconds": …}``.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

from jaxport.errors import JaxportError

from .rows import Reference

REFERENCE = "reference.json"
# The untimed part of a pass can take longer than its steps.
_MOST_PASSES = 200


class Side(Protocol):
    """What trains in a worker."""

    steps: int

    def facts(self) -> dict[str, Any]:
        """Return the row's fields that describe it."""
        ...

    def one_pass(self) -> tuple[float, list[float]]:
        """Return the seconds of the steps and their losses."""
        ...


def timed_round(side: Side, seconds: float) -> dict[str, Any]:
    """Run one pass untimed, then timed passes for at least `seconds`, and return {"ms": per step, "losses": …}."""
    side.one_pass()
    total, passes, losses = 0.0, 0, []
    gc.collect()
    gc.disable()
    try:
        while passes == 0 or (total < seconds and passes < _MOST_PASSES):
            elapsed, losses = side.one_pass()
            total, passes = total + elapsed, passes + 1
    finally:
        gc.enable()
    return {"ms": 1000 * total / (passes * side.steps), "losses": losses}


def set_up(port: str, folder: str, steps: int | None) -> dict[str, Any]:
    """Write the port's inputs into `folder`; return {"steps": …, "batch": …}."""
    from jaxport import ports

    from .inputs import make_inputs, save_inputs

    inputs = make_inputs(ports.get(port), steps)
    save_inputs(inputs, folder)
    return {"steps": inputs.steps, "batch": inputs.x.shape[1]}


def reference_losses(port: str, folder: str) -> dict[str, Any]:
    """Return {"truth": …, "eager": …}, PyTorch's losses in float64 and in float32, and leave them in `folder`."""
    import torch

    from jaxport import ports

    from .inputs import load_inputs
    from .torch_side import TorchSide, Variant

    inputs, plain = load_inputs(folder), Variant(torch.get_num_threads())
    dtypes = {"truth": torch.float64, "eager": torch.float32}
    losses = {name: TorchSide(ports.get(port), inputs, plain, dtype).one_pass()[1] for name, dtype in dtypes.items()}
    Path(folder, REFERENCE).write_text(json.dumps(losses))
    return losses


def make_side(framework: str, port: str, folder: str) -> Side:
    """Return the framework's side of the port, warm."""
    from jaxport import ports

    from .inputs import load_inputs

    if framework == "jax":
        from .jax_side import JaxSide

        return JaxSide(ports.get(port), load_inputs(folder))
    from .torch_search import TorchBest

    reference = Reference(**json.loads(Path(folder, REFERENCE).read_text()))
    return TorchBest(framework, ports.get(port), load_inputs(folder), reference)


def serve(role: str, port: str, folder: str, requests: TextIO, answer: Callable[[dict[str, Any]], None]) -> None:
    """Answer each request until they end."""
    side: Side | None = None
    for line in requests:
        request = json.loads(line)
        try:
            if request["do"] == "round":
                assert side is not None
                answer(timed_round(side, request["seconds"]))
            elif role == "setup":
                answer(set_up(port, folder, request["steps"]))
            elif role == "reference":
                answer(reference_losses(port, folder))
            else:
                side = make_side(role, port, folder)
                answer(side.facts())
        except JaxportError as error:
            answer({"error": str(error)})
        except Exception as error:
            traceback.print_exc()
            first_line = next(iter(str(error).splitlines()), "")
            answer({"error": f"{type(error).__name__}: {first_line}"})


def private_output() -> Callable[[dict[str, Any]], None]:
    """Return a function that writes an answer to standard output, which is from now on closed to everything else.

    What a library, a compiler or a child of theirs prints goes to standard error instead.
    """
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        channel.write(json.dumps(content) + "\n")
        channel.flush()

    return answer


def main(arguments: list[str]) -> None:
    """Serve the role, the port and the folder that are given."""
    role, port, folder = arguments
    serve(role, port, folder, sys.stdin, private_output())


if __name__ == "__main__":
    main(sys.argv[1:])
