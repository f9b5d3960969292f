"""Convolutions by oneDNN, the library that PyTorch has on CPUs and jaxlib holds as well.

jaxlib for Linux on x86-64 is built with oneDNN and with XLA's calls to it, but XLA's own rewriting to these calls is
compiled out. Here they are asked for by name, as `jax.ffi` does with any compiled function. A call describes itself in
JSON whose form is XLA's own affair and has changed before; a form that is not understood ends the process. So it is
done for those versions of jaxlib alone in which it was tried; elsewhere, and in programs that are exported or run on
several devices, `available` is False and convolutions are XLA's. It is False too where a compiled program would be
written to JAX's persistent cache, for XLA cannot write such a call; `kept_in_memory` keeps a program out of the cache.

Arrays are channels last: x (N, H, W, C), w (kH, kW, C, O), y (N, P, Q, O).

Source: XLA, `xla/service/cpu/onednn_convolution.cc` and `onednn_config.proto`.
"""

from __future__ import annotations

import functools
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxlib import version as jaxlib_version

# The versions between which the call's form is known: it was run in the first and in the last.
_FIRST, _LAST = (0, 10, 2), (0, 11, 2)
_TARGET = "__onednn$convolution"

Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]

_one_device: ContextVar[bool] = ContextVar("one device", default=False)
_in_memory: ContextVar[bool] = ContextVar("kept in memory", default=False)
_left_out: ContextVar[bool] = ContextVar("left out", default=False)


def available(*arrays: jax.Array) -> bool:
    """Return whether a convolution of these can be oneDNN's in what is traced now."""
    single = all(array.dtype == jnp.float32 and array.size > 0 for array in arrays)
    return single and on_one_device() and not _left_out.get() and is_built_in() and not _may_be_written()


def on_one_device() -> bool:
    """Return whether what is lowered now is a program of one CPU device that runs here."""
    return _one_device.get()


def _may_be_written() -> bool:
    """Return whether what is compiled now could get into JAX's persistent cache."""
    config: Any = jax.config
    return bool(config.jax_enable_compilation_cache and config.jax_compilation_cache_dir) and not _in_memory.get()


@contextmanager
def kept_in_memory() -> Iterator[None]:
    """Keep what is compiled here out of JAX's persistent cache, so that it may hold oneDNN's convolutions."""
    name = "jax_persistent_cache_min_compile_time_secs"
    token, seconds = _in_memory.set(True), getattr(jax.config, name)
    jax.config.update(name, math.inf)
    try:
        yield
    finally:
        jax.config.update(name, seconds)
        _in_memory.reset(token)


@functools.cache
def is_built_in() -> bool:
    """Return whether jaxlib is known to hold oneDNN; JAXPORT_ONEDNN=0 says no, and 1 yes for an unknown version."""
    wanted = os.environ.get("JAXPORT_ONEDNN", "")
    here = sys.platform == "linux" and platform.machine() == "x86_64"
    return here and wanted != "0" and (wanted == "1" or is_known_version())


def is_known_version() -> bool:
    """Return whether what is not part of JAX's interface was tried in this jaxlib."""
    version = tuple(int(part) for part in jaxlib_version.__version__.split(".")[:3] if part.isdigit())
    return _FIRST <= version <= _LAST


def lowering(lower: Callable[[Callable[..., Any]], Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a lowering rule of `function`, in which oneDNN is there for programs of one CPU device that run here.

    Args:
        lower: makes a rule of a function (`mlir.lower_fun`).
        function: what a primitive computes.
    """

    def alone(*args: Any, **options: Any) -> Any:
        with _on_one_device():
            return function(*args, **options)

    rule, rule_alone = lower(function), lower(alone)

    def chosen(context: Any, *args: Any, **options: Any) -> Any:
        return (rule_alone if _runs_alone(context.module_context) else rule)(context, *args, **options)

    return chosen


def _runs_alone(module: Any) -> bool:
    exported = getattr(module.lowering_parameters, "for_export", True)
    alone = tuple(module.platforms) == ("cpu",) and getattr(module.axis_context, "num_devices", None) == 1
    return alone and not exported


@contextmanager
def _on_one_device() -> Iterator[None]:
    token = _one_device.set(True)
    try:
        yield
    finally:
        _one_device.reset(token)


@contextmanager
def without() -> Iterator[None]:
    """Leave oneDNN out of what is lowered here, so that XLA can count a program's operations."""
    token = _left_out.set(True)
    try:
        yield
    finally:
        _left_out.reset(token)


def convolve(x: jax.Array, w: jax.Array, stride: Ints, pads: Pads, dilation: Ints, kernel: str = "HWIO") -> jax.Array:
    """Return y (N, P, Q, O), P and Q at least 1, where `available` says so; a negative padding cuts off.

    `kernel` tells the axes of w: height H, width W, input features I and output features O.
    """
    if any(pad < 0 for both in pads for pad in both):
        cut = [(min(before, 0), min(after, 0), 0) for before, after in pads]
        x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *cut, (0, 0, 0)))
        pads = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    sizes = [w.shape[kernel.index(axis)] for axis in "HWO"]
    axes = zip(x.shape[1:3], sizes[:2], stride, pads, dilation, strict=True)
    size = [(n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in axes]
    call = jax.ffi.ffi_call(
        _TARGET,
        jax.ShapeDtypeStruct((x.shape[0], *size, sizes[-1]), x.dtype),
        custom_call_api_version=1,
        legacy_backend_config=json.dumps({"onednn_conv_config": _description(stride, pads, dilation, kernel)}),
    )
    result: jax.Array = call(x, w)
    return result


def _description(stride: Ints, pads: Pads, dilation: Ints, kernel: str) -> dict[str, Any]:
    """Return XLA's `OneDnnConvolutionConfig`: which axis is what, and the window; its numbers are texts in JSON."""
    images = {"dims": "4", "data": {"batch_dim": "0", "feature_dim": "3", "spatial_dims": ["1", "2"]}}
    height, width, inputs, outputs = (str(kernel.index(axis)) for axis in "HWIO")
    weight = {"input_feature_dim": inputs, "output_feature_dim": outputs, "spatial_dims": [height, width]}
    window = {
        "pad_left": [str(before) for before, _ in pads],
        "pad_right": [str(after) for _, after in pads],
        "strides": [str(step) for step in stride],
        "window_dilations": [str(step) for step in dilation],
    }
    return {
        "dims": "4",
        "input": images,
        "kernel": {"dims": "4", "filter": weight},
        "output": images,
        "window": window,
        "feature_groups": "1",
    }
