"""The one decision how steps are compiled and dispatched, and the compiler options that go with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import jax

from jaxport.memory import keep_large_buffers
from jaxport.nn.conv_cpu import PRIMITIVE_PREFIX

Dispatch = Literal["scan", "steps"]


def choose_dispatch(backend: str, convolutional: bool) -> Dispatch:
    """Return "scan" (whole epochs in one compiled loop) or "steps" (one call a step).

    On CPUs, XLA compiles the weight gradient of a convolution that is not jaxport's own to code that is about 75 times
    slower inside a loop, and a call costs little beside a convolution. Everywhere else the loop belongs on the device.
    """
    return "steps" if backend == "cpu" and convolutional else "scan"


def compiler_options(backend: str, convolutional: bool) -> dict[str, str | bool]:
    """Return XLA options for a program: convolutions on CPUs are five times faster without the YNN fusions."""
    return {"xla_cpu_experimental_ynn_fusion_type": ""} if backend == "cpu" and convolutional else {}


def has_convolution(jaxpr: Any) -> bool:
    """Return whether a traced program holds a convolution, JAX's or ours."""
    text = str(jaxpr)
    return "conv_general_dilated[" in text or PRIMITIVE_PREFIX in text


def compile_function(
    function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = ()
) -> tuple[Callable[..., Any], float]:
    """Compile `function` for these arguments, and return it with the seconds that it took."""
    start = time.perf_counter()
    traced = jax.jit(function, donate_argnums=donate).trace(*args)
    lowered = traced.lower()
    options = compiler_options(jax.default_backend(), has_convolution(traced.jaxpr))
    if options:
        keep_large_buffers()
    try:
        compiled = lowered.compile(options)
    except jax.errors.JaxRuntimeError:
        if not options:
            raise
        compiled = lowered.compile()  # an XLA that does not know the option
    return compiled, time.perf_counter() - start
