"""The one decision how steps are compiled and dispatched, and the compiler options that go with it."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import time
from collections.abc import Callable
from typing import Any, Literal

import jax

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


@functools.cache
def keep_large_buffers() -> bool:
    """Let glibc keep large buffers on the heap; return whether it does (elsewhere there is nothing to do).

    XLA's CPU programs allocate their temporary memory anew at every call. Above 32 MB glibc maps and unmaps it each
    time: on a convolutional step of 14 ms that costs another 10 ms of page faults. The process keeps the memory, here
    about 150 MB. JAXPORT_KEEP_BUFFERS=0 in the environment turns it off.
    """
    if os.environ.get("JAXPORT_KEEP_BUFFERS") == "0" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    return bool(mallopt(mmap_threshold, 1 << 30) and mallopt(trim_threshold, (1 << 31) - 1))


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
