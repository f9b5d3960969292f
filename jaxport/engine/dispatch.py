"""The one decision how steps are compiled and dispatched, and the compiler options that go with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import jax

from jaxport.errors import UsageError
from jaxport.memory import keep_large_buffers
from jaxport.nn import conv_onednn

from . import small_loop
from .traits import has_convolution, has_narrow_products

Dispatch = Literal["scan", "chunks", "steps"]
DISPATCHES = ("scan", "chunks", "steps")
# Steps of one call where batches come from the host: a call costs about 100 µs, and waiting batches cost memory.
_CHUNK, _CHUNK_BYTES = 16, 16 << 20


def choose_dispatch(backend: str, convolutional: bool) -> Dispatch:
    """Return "scan" (whole epochs in one compiled loop) or "steps" (one call a step).

    On CPUs, XLA compiles the weight gradient of a convolution that is not jaxport's own to code that is about 75 times
    slower inside a loop, and a call costs little beside a long convolution. Everywhere else the loop belongs on the
    device. `convolutional` is what `traits.has_long_convolution` says of the step.
    """
    return "steps" if backend == "cpu" and convolutional else "scan"


@dataclass(frozen=True)
class Plan:
    """How the steps of a run are dispatched.

    dispatch: "scan", "chunks" or "steps". steps_per_call: at most, None for whole epochs. reason: why, for a reader.
    """

    dispatch: Dispatch
    steps_per_call: int | None
    reason: str

    def __str__(self) -> str:
        calls = {None: "whole epochs in a call", 1: "one step in a call"}
        amount = calls.get(self.steps_per_call, f"{self.steps_per_call} steps in a call")
        return f"{self.dispatch}: {amount} ({self.reason})"


def make_plan(
    dispatch: str | None, steps_per_call: int | None, convolutional: bool, batch_bytes: int | None, eager: bool = False
) -> Plan:
    """Choose how steps are dispatched, from the device, the model, where the data is, and what the user asks for.

    Args:
        dispatch: what the user asks for, None to choose.
        steps_per_call: what the user asks for, None to choose.
        convolutional: whether the step holds a convolution that does not belong in a loop.
        batch_bytes: of a batch that comes from the host; None for data on the device.
        eager: whether nothing is compiled.

    Raises:
        UsageError: a dispatch that does not exist, or steps_per_call that does not go with it.
    """
    if dispatch not in (None, *DISPATCHES):
        raise UsageError(f"dispatch must be 'scan', 'chunks', 'steps' or None, got {dispatch!r}")
    if steps_per_call is not None and (isinstance(steps_per_call, bool) or steps_per_call < 1):
        raise UsageError(f"steps_per_call must be a positive integer or None, got {steps_per_call!r}")
    if eager:
        return Plan("steps", 1, "run_eagerly")
    if steps_per_call is not None:
        wanted = "steps" if steps_per_call == 1 else "chunks"
        if dispatch not in (None, wanted):
            raise UsageError(f"steps_per_call is {steps_per_call} and dispatch {dispatch!r}; give one of them")
        return Plan(wanted, steps_per_call, "as asked")
    fitting = 1 if not batch_bytes else max(1, min(_CHUNK, _CHUNK_BYTES // batch_bytes))
    if dispatch is None:
        dispatch, reason = choose_dispatch(jax.default_backend(), convolutional), "convolutions on a CPU"
        if dispatch == "scan":
            reason = "the data is on the device" if batch_bytes is None else "the data comes from the host"
    else:
        reason = "as asked"
    if dispatch == "steps":
        return Plan("steps", 1, reason)
    if batch_bytes is not None:
        return Plan("chunks", fitting, reason) if fitting > 1 else Plan("steps", 1, f"{reason} in large batches")
    return Plan(dispatch, None if dispatch == "scan" else _CHUNK, reason)


def compiler_options(backend: str, convolutional: bool, small: bool = False) -> dict[str, str | bool]:
    """Return XLA options for a program: no YNN fusions on CPUs for convolutions, loops of small steps, narrow products.

    Convolutions are five times faster without them, narrow products up to 3.7 times; and a loop that holds one is not
    emitted as one function.
    """
    return {"xla_cpu_experimental_ynn_fusion_type": ""} if backend == "cpu" and (convolutional or small) else {}


def compile_function(
    function: Callable[..., Any],
    *args: Any,
    donate: tuple[int, ...] = (),
    outputs: Any = None,
    name: str | None = None,
    options: Mapping[str, str | bool] | None = None,
) -> tuple[Callable[..., Any], float]:
    """Compile `function` for these arguments, and return it with the seconds that it took.

    `outputs` holds the shardings of what it returns; None leaves them to XLA. `name` is what profiles call the program.
    `options` are XLA's, beside those that the engine chooses.
    """
    start = time.perf_counter()
    jit = {"donate_argnums": donate, "out_shardings": outputs}
    try:
        compiled = _compiled(_named(function, name), args, jit, options or {}, optimised=True)
    except jax.errors.JaxRuntimeError:  # an XLA that does not know our options, or has no code for a small loop
        compiled = _compiled(_named(function, name), args, jit, {}, optimised=False)
    return compiled, time.perf_counter() - start


def _compiled(
    function: Callable[..., Any], args: Any, jit: dict[str, Any], options: Mapping[str, str | bool], optimised: bool
) -> Any:
    with small_loop.allowed(optimised):
        traced = jax.jit(function, **jit).trace(*args)
    convolutional = has_convolution(traced.jaxpr)
    small = small_loop.has_small_loop(traced.jaxpr) or has_narrow_products(traced.jaxpr)
    chosen = compiler_options(jax.default_backend(), convolutional, small)
    if convolutional and chosen:
        keep_large_buffers()
    library = convolutional and optimised and jax.default_backend() == "cpu" and conv_onednn.is_built_in()
    with conv_onednn.kept_in_memory() if library else nullcontext():
        return traced.lower().compile({**chosen, **options} if optimised else None)


def _named(function: Callable[..., Any], name: str | None) -> Callable[..., Any]:
    """Return a function of its own, which nothing has traced yet, with the name that profiles show."""

    def program(*args: Any) -> Any:
        return function(*args)

    program.__name__ = (name or getattr(function, "__name__", "program")).replace(" ", "_")
    return program
