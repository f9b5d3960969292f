"""The one decision how steps are compiled and dispatched, and the compiler options that go with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import jax

Dispatch = Literal["scan", "steps"]


def choose_dispatch(platform: str, convolutional: bool) -> Dispatch:
    """Return "scan" (whole epochs in one compiled loop) or "steps" (one call a step).

    On CPUs, XLA compiles a convolution's weight gradient inside a loop to code that is about 75 times slower, and a
    call costs little beside a convolution. Everywhere else the loop belongs on the device.
    """
    return "steps" if platform == "cpu" and convolutional else "scan"


def compiler_options(platform: str, convolutional: bool) -> dict[str, str]:
    """Return XLA options for a program: convolutions on CPUs are five times faster without the YNN fusions."""
    return {"xla_cpu_experimental_ynn_fusion_type": ""} if platform == "cpu" and convolutional else {}


def has_convolution(jaxpr: Any) -> bool:
    """Return whether a traced program holds a convolution."""
    return "conv_general_dilated[" in str(jaxpr)


def compile_function(
    function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()
) -> tuple[Callable[..., Any], float]:
    """Compile `function` for these arguments, and return it with the seconds that it took."""
    start = time.perf_counter()
    traced = jax.jit(function, donate_argnums=donate).trace(*args)
    lowered = traced.lower()
    options = compiler_options(jax.default_backend(), has_convolution(traced.jaxpr))
    try:
        compiled = lowered.compile(options)
    except jax.errors.JaxRuntimeError:
        if not options:
            raise
        compiled = lowered.compile()  # an XLA that does not know the option
    return compiled, time.perf_counter() - start
