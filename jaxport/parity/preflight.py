"""preflight: what the numbers of a comparison depend on beside the models: read it, pin it, and say what spoils it.

PyTorch is looked at if it has been imported, and not imported for this: results are read where it is not installed.
"""

from __future__ import annotations

import os
import platform
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .result import Finding

_CONFIG: Any = jax.config  # its settings are made at run time
_PACKAGES = ("jax", "jaxlib", "flax", "equinox", "optax", "numpy", "torch")
_HOLDERS = ("", "mkldnn", "cudnn")
"""Where PyTorch keeps the precision of float32 for all operations of a library; others inherit it."""
_OPERATIONS = ("mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn", "cuda.matmul", "cudnn.conv", "cudnn.rnn")
_FULL = ("highest", "float32", "F32_F32_F32")
"""Values of jax_default_matmul_precision that mean products in float32."""


def environment() -> dict[str, Any]:
    """Return versions, devices, precisions, threads and dtypes of both sides: text, numbers and lists, for a report."""
    versions = {name: version for name in _PACKAGES if (version := _version(name)) and _loaded(name)}
    found: dict[str, Any] = {
        "python": platform.python_version(),
        **versions,
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpus": os.cpu_count(),
        "jax_backend": jax.default_backend(),
        "jax_devices": [device.device_kind for device in jax.devices()],
        "jax_enable_x64": _CONFIG.jax_enable_x64,
        "jax_default_matmul_precision": _CONFIG.jax_default_matmul_precision,
        "jax_default_dtype": str(jax.dtypes.canonicalize_dtype(float)),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }
    torch = sys.modules.get("torch")
    return found | (_torch_environment(torch) if torch else {})


@contextmanager
def pinned(precision: str = "highest", seed: int | None = None, threads: int | None = None) -> Iterator[None]:
    """Pin on both sides what the numbers depend on, and put everything back on the way out, after errors too.

    JAX: the precision of products, promotion of dtypes and ranks as it is by default. PyTorch, if it was imported:
    products and convolutions in full float32, the default dtype float32, gradients on, no autocast, no anomaly mode,
    cuDNN's deterministic algorithms. With a seed,
    the generators of Python, NumPy and PyTorch. Whether JAX has float64 is the caller's, through ``jax.enable_x64``.

    Args:
        precision: jax_default_matmul_precision: "highest", "high" or "default".
        seed: of the global generators; None leaves them alone.
        threads: how many PyTorch computes in; None leaves them alone.
    """
    with ExitStack() as stack:
        stack.enter_context(jax.default_matmul_precision(precision))
        # Strangers' models may rely on JAX's defaults; whoever is stricter elsewhere is not asked here.
        stack.enter_context(jax.numpy_dtype_promotion("standard"))
        stack.enter_context(jax.numpy_rank_promotion("allow"))
        if seed is not None:
            _seed_hosts(seed, stack)
        if torch := sys.modules.get("torch"):
            _pin_torch(torch, stack, seed, threads)
        yield


def check(*, x64: bool = True) -> list[Finding]:
    """Return what would make a comparison meaningless now; inside `pinned` only what cannot be pinned is left.

    Args:
        x64: whether the comparison needs float64 in JAX.
    """
    found = []
    if x64 and not _has_float64():
        found.append(_error("x64", f"JAX has no float64 on {jax.default_backend()}", "set JAX_PLATFORMS=cpu"))
    flags = os.environ.get("XLA_FLAGS", "")
    fast = [flag for flag in flags.split() if "fast_math=true" in flag or flag.endswith("fast_math")]
    if fast:
        found.append(_error("fast-math", f"XLA_FLAGS has {' '.join(fast)}", "take it out: it reorders and rounds"))
    backend, precision = jax.default_backend(), _CONFIG.jax_default_matmul_precision
    if backend != "cpu" and precision not in _FULL:
        message = f"JAX multiplies float32 on {backend} in precision {precision or 'default'!r}"
        found.append(_error("matmul-precision", message, "compare inside preflight.pinned()", trap=30))
    torch = sys.modules.get("torch")
    return found + (_torch_findings(torch) if torch else [])


def _error(rule: str, message: str, fix: str, trap: int | None = None, level: str = "error") -> Finding:
    return Finding(f"preflight/{rule}", level, message, trap=trap, fix=fix)


def _torch_findings(torch: Any) -> list[Finding]:
    pin, found = "compare inside preflight.pinned()", []
    cuda, gpu = torch.cuda.is_available(), jax.default_backend() == "gpu"
    low = {name: value for name, value in _precisions(torch).items() if value not in ("none", "ieee")}
    if low := {name: value for name, value in low.items() if cuda or name.startswith("mkldnn")}:
        listed = ", ".join(f"{name}: {value}" for name, value in low.items())
        found.append(_error("tf32", f"PyTorch rounds float32 before it multiplies ({listed})", pin, trap=30))
    if torch.get_default_dtype() != torch.float32:
        message = f"PyTorch's default dtype is {torch.get_default_dtype()}, so that its float32 run is none"
        found.append(_error("default-dtype", message, pin))
    if devices := [device for device in _device_types(torch) if torch.is_autocast_enabled(device)]:
        found.append(_error("autocast", f"PyTorch's autocast is on for {', '.join(devices)}", pin))
    if torch.is_inference_mode_enabled():
        found.append(_error("inference-mode", "PyTorch is in inference mode", "leave torch.inference_mode()"))
    elif not torch.is_grad_enabled():
        found.append(_error("no-grad", "PyTorch records no gradients", pin))
    if torch.is_anomaly_enabled():
        found.append(
            _error("anomaly", "PyTorch's anomaly mode is on, which takes time and memory", pin, level="warning")
        )
    if gpu and not cuda:
        found.append(_error("devices", "JAX computes on a GPU, PyTorch on the CPU", "", level="info"))
    return found


def _pin_torch(torch: Any, stack: ExitStack, seed: int | None, threads: int | None) -> None:
    _pin_precisions(torch, stack)
    _swap(stack, torch.get_default_dtype(), torch.set_default_dtype, torch.float32)
    _swap(stack, torch.is_grad_enabled(), torch._C._set_grad_enabled, True)
    anomaly = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    _swap(stack, anomaly, lambda value: torch.set_anomaly_enabled(*value), (False, True))
    for device in _device_types(torch):
        before = torch.is_autocast_enabled(device)
        _swap(stack, before, lambda value, device=device: torch.set_autocast_enabled(device, value), False)
    for name, value in (("deterministic", True), ("benchmark", False)):
        before = getattr(torch.backends.cudnn, name)
        _swap(stack, before, lambda value, name=name: setattr(torch.backends.cudnn, name, value), value)
    if threads is not None:
        _swap(stack, torch.get_num_threads(), torch.set_num_threads, threads)
    if seed is not None:
        cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        torch.manual_seed(seed)


def _pin_precisions(torch: Any, stack: ExitStack) -> None:
    """Pin the precision of float32 through PyTorch's old interface and its new one.

    A state that was set through both cannot be read through the old one (it raises): then that one is left alone.
    What is inherited is read after its source was set to "none", so that it is put back as inherited.
    """
    names = [f"{name}.fp32_precision".lstrip(".") for name in (*_HOLDERS, *_OPERATIONS)]
    holders, operations = names[: len(_HOLDERS)], names[len(_HOLDERS) :]
    legacy = _readable(torch.get_float32_matmul_precision), _readable(lambda: torch.backends.cudnn.allow_tf32)
    for name in holders:
        _swap(stack, _backend(torch, name), lambda value, name=name: _set_backend(torch, name, value), "none")
    for name in operations:
        _swap(stack, _backend(torch, name), lambda value, name=name: _set_backend(torch, name, value), None)
    if legacy[0] is not None:
        _swap(stack, legacy[0], torch.set_float32_matmul_precision, "highest")
    if legacy[1] is not None:
        _swap(stack, legacy[1], lambda value: setattr(torch.backends.cudnn, "allow_tf32", value), False)
    for name in operations:
        if _backend(torch, name) != "ieee" and not (legacy[1] is not None and name.startswith("cudnn")):
            _set_backend(torch, name, "ieee")


def _swap(stack: ExitStack, before: Any, put: Callable[[Any], Any], value: Any) -> None:
    """Put a value (None: leave it), and what was before on the way out."""
    stack.callback(put, before)
    if value is not None:
        put(value)


def _readable(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RuntimeError:
        return None


def _backend(torch: Any, name: str) -> str:
    return attrgetter(name)(torch.backends)


def _set_backend(torch: Any, name: str, value: str) -> None:
    path, _, last = name.rpartition(".")
    setattr(attrgetter(path)(torch.backends) if path else torch.backends, last, value)


def _precisions(torch: Any) -> dict[str, str]:
    return {name: _backend(torch, f"{name}.fp32_precision") for name in _OPERATIONS}


def _device_types(torch: Any) -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def _torch_environment(torch: Any) -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "torch_devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else ["cpu"],
        "torch_float32_matmul_precision": _readable(torch.get_float32_matmul_precision) or "set through two interfaces",
        "torch_fp32_precision": _precisions(torch),
        "torch_deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch_threads": torch.get_num_threads(),
        "torch_default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
    }


def _seed_hosts(seed: int, stack: ExitStack) -> None:
    stack.callback(random.setstate, random.getstate())
    stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002 (a model may draw from it)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002


def _has_float64() -> bool:
    try:
        with jax.enable_x64(True):
            value = jax.numpy.asarray(1.0 + 2.0**-40, jax.numpy.float64)
            return value.dtype == np.float64 and float(value) == 1.0 + 2.0**-40
    except Exception:  # a backend without float64 raises an error of its own
        return False


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _loaded(name: str) -> bool:
    return name in sys.modules or name not in ("torch", "equinox")


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
