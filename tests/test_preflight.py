"""Preflight without PyTorch: what is read, what is pinned, what is found."""

import json
import random
import sys
from contextlib import suppress

import jax
import numpy as np
import pytest

from jaxport.parity import preflight


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide a PyTorch that another test of this process imported."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def test_environment_is_json_and_imports_no_torch() -> None:
    found = preflight.environment()
    assert json.loads(json.dumps(found)) == found
    assert found["jax"] == jax.__version__
    assert found["numpy"] == np.__version__
    assert found["jax_backend"] == "cpu"
    assert found["jax_enable_x64"] is jax.config.jax_enable_x64
    assert {"python", "flax", "optax", "cpu", "platform", "jax_devices", "xla_flags"} <= found.keys()
    assert not [key for key in found if "torch" in key]
    assert "torch" not in sys.modules


def test_environment_follows_the_settings() -> None:
    with jax.enable_x64(True), jax.default_matmul_precision("high"):
        found = preflight.environment()
    assert (found["jax_enable_x64"], found["jax_default_dtype"]) == (True, "float64")
    assert found["jax_default_matmul_precision"] == "high"


def draws() -> tuple[float, float]:
    return random.random(), float(np.random.random())  # noqa: NPY002


def test_pinned_seeds_and_puts_back_after_an_error() -> None:
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    before = jax.config.jax_default_matmul_precision
    seen = []
    for _ in range(2):
        with suppress(ZeroDivisionError), preflight.pinned(seed=2**40 + 3):
            assert jax.config.jax_default_matmul_precision == "highest"
            seen.append(draws())
            raise ZeroDivisionError
    assert seen[0] == seen[1]
    assert jax.config.jax_default_matmul_precision == before
    expected = draws()
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    assert draws() == expected


def test_pinned_takes_another_precision_and_leaves_the_generators() -> None:
    states = random.getstate()
    with preflight.pinned("default"):
        assert jax.config.jax_default_matmul_precision == "default"
        assert random.getstate() == states


def test_nothing_is_found_on_a_cpu() -> None:
    assert preflight.check() == []


def test_findings_say_what_spoils_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=0 --xla_cpu_enable_fast_math=true")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(preflight, "_has_float64", lambda: False)
    found = {finding.rule: finding for finding in preflight.check()}
    assert list(found) == ["preflight/x64", "preflight/fast-math", "preflight/matmul-precision"]
    assert {finding.level for finding in found.values()} == {"error"}
    assert "--xla_cpu_enable_fast_math=true" in found["preflight/fast-math"].message
    assert "autotune" not in found["preflight/fast-math"].message
    assert found["preflight/matmul-precision"].trap == 30
    with preflight.pinned():
        assert [f.rule for f in preflight.check(x64=False)] == ["preflight/fast-math"]


def test_float64_is_really_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert preflight._has_float64()
    monkeypatch.setattr(jax.numpy, "asarray", lambda value, dtype: np.float32(value))
    assert not preflight._has_float64()
