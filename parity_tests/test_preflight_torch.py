"""Preflight with PyTorch: every global state that spoils the numbers is found, pinned, and put back."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import jax
import pytest
import torch

from jaxport.parity import preflight

BACKENDS = torch.backends
NAMES = [f"{name}.fp32_precision".lstrip(".") for name in (*preflight._HOLDERS, *preflight._OPERATIONS)]


def state() -> dict[str, Any]:
    """Return everything that pinned may touch."""
    return {name: preflight._backend(torch, name) for name in NAMES} | {
        "matmul": preflight._readable(torch.get_float32_matmul_precision),
        "allow_tf32": preflight._readable(lambda: BACKENDS.cudnn.allow_tf32),
        "cudnn": (BACKENDS.cudnn.deterministic, BACKENDS.cudnn.benchmark),
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "rng": torch.get_rng_state().tolist(),
        "jax": jax.config.jax_default_matmul_precision,
    }


def _set(holder: Any, name: str, value: Any) -> Callable[[ExitStack], None]:
    return lambda stack: setattr(holder, name, value)


# What is set, and what is found then.
STATES: dict[str, tuple[Callable[[ExitStack], Any], list[str]]] = {
    "nothing": (lambda stack: None, []),
    "old interface": (lambda stack: torch.set_float32_matmul_precision("medium"), ["tf32"]),
    "cudnn without": (_set(BACKENDS.cudnn, "allow_tf32", False), []),
    "all": (_set(BACKENDS, "fp32_precision", "tf32"), ["tf32"]),
    "one library": (_set(BACKENDS.mkldnn, "fp32_precision", "bf16"), ["tf32"]),
    "both interfaces": (_set(BACKENDS.mkldnn.matmul, "fp32_precision", "bf16"), ["tf32"]),
    "dtype": (lambda stack: torch.set_default_dtype(torch.float64), ["default-dtype"]),
    "autocast": (lambda stack: torch.set_autocast_enabled("cpu", True), ["autocast"]),
    "no_grad": (lambda stack: stack.enter_context(torch.no_grad()), ["no-grad"]),
    "anomaly": (lambda stack: torch.set_anomaly_enabled(True, False), ["anomaly"]),
}


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    """Undo what a test sets, in case pinned does not."""
    before = state()
    yield
    BACKENDS.fp32_precision = "none"
    for name in NAMES:
        preflight._set_backend(torch, name, before[name])
    torch.set_float32_matmul_precision("highest")
    torch.set_default_dtype(before["dtype"])
    torch.set_autocast_enabled("cpu", False)
    torch.set_anomaly_enabled(False, True)
    for name in NAMES:
        preflight._set_backend(torch, name, before[name])


@pytest.mark.parametrize("name", STATES)
def test_states_are_found_pinned_and_put_back(name: str) -> None:
    put, rules = STATES[name]
    with ExitStack() as stack:
        put(stack)
        before = state()
        assert [finding.rule for finding in preflight.check()] == [f"preflight/{rule}" for rule in rules]
        with suppress(ZeroDivisionError), preflight.pinned(seed=3, threads=1):
            assert preflight.check() == []
            assert set(preflight._precisions(torch).values()) <= {"ieee", "none"}
            assert torch.get_float32_matmul_precision() == "highest"
            inside = state()
            assert (inside["dtype"], inside["threads"], inside["cudnn"]) == (torch.float32, 1, (True, False))
            first = torch.rand(3).tolist()
            raise ZeroDivisionError
        assert state() == before
        with preflight.pinned(seed=3):
            assert torch.rand(3, dtype=torch.float32).tolist() == first
        with preflight.pinned(seed=4):
            assert torch.rand(3, dtype=torch.float32).tolist() != first


def test_inference_mode_is_found() -> None:
    with torch.inference_mode():
        assert [finding.rule for finding in preflight.check()] == ["preflight/inference-mode"]


def test_a_gpu_on_one_side_only_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with preflight.pinned():
        found = preflight.check()
    assert [(finding.rule, finding.level) for finding in found] == [("preflight/devices", "info")]


def test_environment_has_pytorchs_side() -> None:
    found = preflight.environment()
    assert json.loads(json.dumps(found)) == found
    assert found["torch"] == torch.__version__
    assert found["torch_default_dtype"] == "float32"
    assert found["torch_threads"] == torch.get_num_threads()
    assert found["torch_fp32_precision"]["cudnn.conv"] == BACKENDS.cudnn.conv.fp32_precision
