"""A benchmark's worker: ``python -m jaxport.bench.worker ROLE PORT FOLDER``, driven by JSON lines on its input.

Roles: "setup" draws the inputs, "reference" computes PyTorch's values in float64 and in the precision at hand, and
every framework works on request. Requests: ``{"do": "prepare", …}`` and then any number of ``{"do": "round",
"seconds": …}``; or in a process that is to be timed itself ``{"do": "start", "what": "step", "choice": …}``.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

from jaxport.errors import JaxportError

from .inputs import Inputs, load_inputs
from .rows import Values
from .values import load_reference, packed, save_reference

# The untimed part of a pass can take longer than its steps.
_MOST_PASSES = 200
# A pass of so many seconds needs no other before it to be warm.
_LONG_S = 1.0


class Side(Protocol):
    """What works in a worker."""

    steps: int

    def facts(self) -> dict[str, Any]:
        """Return the row's fields that describe it."""
        ...

    def one_pass(self) -> tuple[float, Values]:
        """Return the seconds of the steps (epochs, calls) of a pass, and the values that the gate compares."""
        ...


def timed_round(side: Side, seconds: float) -> dict[str, Any]:
    """Run one pass untimed, then timed passes for at least `seconds`, and return {"ms": per step, "losses": …}.

    A long first pass is timed, too.
    """
    total, passes, values = 0.0, 0, []
    gc.collect()
    gc.disable()
    try:
        elapsed, values = side.one_pass()
        if elapsed >= _LONG_S:
            total, passes = elapsed, 1
        while passes == 0 or (total < seconds and passes < _MOST_PASSES):
            elapsed, values = side.one_pass()
            total, passes = total + elapsed, passes + 1
    finally:
        gc.enable()
    return {"ms": 1000 * total / (passes * side.steps), "losses": values}


def set_up(port: str, folder: str, request: dict[str, Any]) -> dict[str, Any]:
    """Write the port's inputs and recipe into `folder`; return what the rows say of them."""
    from jaxport import ports

    from .inputs import make_inputs, save_inputs
    from .recipe import benched, deviation, recipe_of, save_recipe

    inputs = make_inputs(ports.get(port), request["steps"], 0, request["task"], request["dtype"])
    save_inputs(inputs, folder)
    save_recipe(recipe_of(benched(ports.get(port))), folder)
    found = sizes(inputs)
    texts = [found.get("data"), None if inputs.task.startswith("infer") else deviation(port)]
    cost = _cost(port, found["batch"]) if request.get("cost") else None
    return found | {"data": "; ".join(filter(None, texts)) or None, "cost": cost}


def _cost(port: str, batch: int) -> tuple[float, float]:
    """Return the operations and the bytes of a training step."""
    from jaxport import ports

    from .floor import step_cost

    cost = step_cost(ports.get(port), batch)
    return cost.flops, cost.bytes


def sizes(inputs: Inputs) -> dict[str, Any]:
    """Return {"steps": …, "batch": …}; of "epoch" also examples and what they are."""
    if inputs.task != "epoch":
        return {"steps": inputs.steps, "batch": inputs.x.shape[1]}
    count = len(inputs.x)
    text = f"{inputs.source}; {inputs.steps} epoch{'s'[: inputs.steps > 1]} in a call"
    return {"steps": -(-count // inputs.batch), "batch": inputs.batch, "examples": count, "data": text}


def reference_losses(folder: str) -> dict[str, Any]:
    """Leave PyTorch's values in `folder`, and return the file's name as {"reference": …}."""
    from .recipe import load_recipe
    from .torch_reference import reference_values

    return {"reference": save_reference(reference_values(load_recipe(folder), load_inputs(folder)), folder)}


def make_side(framework: str, port: str, folder: str, hint: dict[str, Any] | None = None) -> Side:
    """Return the framework's side of the port's task, warm; `hint` is what an eager search has found."""
    inputs = load_inputs(folder)
    if not framework.startswith("torch"):
        return _side_with_jax(framework, port, inputs)
    from .recipe import load_recipe
    from .torch_search import TorchBest

    return TorchBest(framework, load_recipe(folder), inputs, load_reference(folder, inputs.dtype, inputs.task), hint)


def _side_with_jax(framework: str, port: str, inputs: Inputs) -> Any:
    from jaxport import ports

    from .recipe import benched

    if inputs.task.startswith("infer"):
        from .infer_jax import dispatch_at_once

        dispatch_at_once()
    measured = benched(ports.get(port))
    if framework == "keras":
        from .keras_side import KerasSide  # pyright: ignore[reportMissingImports]

        return KerasSide(measured, inputs)
    from .epoch_jax import JaxEpoch
    from .infer_jax import JaxInfer
    from .jax_side import JaxSide

    kind = {"step": JaxSide, "epoch": JaxEpoch}.get(inputs.task, JaxInfer)
    return kind(measured, inputs)


def start(framework: str, port: str, folder: str, request: dict[str, Any]) -> dict[str, Any]:
    """Take the first step or epoch of this process; return its seconds, when it was done, and the memory that it took.

    `choice` is the PyTorch variant that the search has found.
    """
    inputs = load_inputs(folder)
    if framework.startswith("torch"):
        from .epoch_torch import TorchEpoch
        from .memory import torch_peak_mb as peak_mb
        from .recipe import load_recipe
        from .torch_model import Variant

        side: Any = TorchEpoch(load_recipe(folder), inputs, Variant(*request["choice"]), warm=False)
    else:
        from .memory import jax_peak_mb as peak_mb

        side = _side_with_jax(framework, port, inputs)
    begin = time.perf_counter()
    (side.first_epoch if request["what"] == "epoch" else side.first_step)()
    return {"seconds": time.perf_counter() - begin, "at": time.time(), "peak_memory_mb": peak_mb()}


def serve(role: str, port: str, folder: str, requests: TextIO, answer: Callable[[dict[str, Any]], None]) -> None:
    """Answer each request until they end."""
    side: Side | None = None
    for line in requests:
        request = json.loads(line)
        try:
            if request["do"] == "round":
                assert side is not None
                answer(packed(timed_round(side, request["seconds"]), Path(folder, f"{role}.npy")))
            elif request["do"] == "start":
                answer(start(role, port, folder, request))
            elif role == "setup":
                answer(set_up(port, folder, request))
            elif role == "reference":
                answer(reference_losses(folder))
            else:
                side = make_side(role, port, folder, request.get("hint"))
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
