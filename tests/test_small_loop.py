"""Loops of small steps: the same numbers as `lax.scan`, as one function on a CPU, and only where it is worth it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxport.engine import small_loop
from jaxport.engine.dispatch import compile_function

W = jnp.asarray(np.random.default_rng(0).normal(size=(15, 20)).astype(np.float32)) / 4
XS = jnp.asarray(np.random.default_rng(1).normal(size=(50, 8, 15)).astype(np.float32))
# XLA marks loops on less than a kilobyte by itself, but not by this.
OURS = 'inlineable="false"'
ON = "JAXPORT_SMALL_LOOPS"
on_a_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere there are no small loops")


def trains(w: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Take a step of gradient descent."""
    loss, slope = jax.value_and_grad(lambda w: jnp.mean(jnp.tanh(x @ w) ** 2))(w)
    return w - 0.1 * slope, loss


def wide(w: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Multiply 64 times as many numbers."""
    y = jnp.tile(x, (64, 1)) @ w
    return w, y.mean()


def large(w: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Compute 20,000 numbers."""
    return w, jnp.tile(x[0, :10], 2000).sum()


def sorts(w: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sort, which no such function has."""
    return w, jnp.sort(x[0])[0]


def loops(w: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Loop inside a step."""
    return w, lax.fori_loop(0, x.shape[0], lambda i, s: s + x[i].sum(), jnp.float32(0))


def scans(w: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Add up along an axis, which was not tried."""
    return w, jnp.cumsum(x[0])[-1]


def halves(w: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Compute in bfloat16, which was not tried."""
    return w, x[0].astype(jnp.bfloat16).astype(jnp.float32).sum()


def convolves(w: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Convolve."""
    return w, jnp.convolve(x[0], w[0, :3]).sum()


def compiled(body: Callable[..., Any], loop: Callable[..., Any] = small_loop.scan) -> Any:
    return compile_function(lambda w, xs: loop(body, w, xs), W, XS)[0]


@on_a_cpu
def test_a_small_loop_is_one_function_and_gives_the_same_numbers() -> None:
    ours, plain = compiled(trains), compiled(trains, lax.scan)
    assert OURS in ours.as_text()
    assert OURS not in plain.as_text()
    for here, there in zip(ours(W, XS), plain(W, XS), strict=True):
        np.testing.assert_allclose(here, there, rtol=2e-6, atol=1e-7)


@on_a_cpu
def test_it_is_exact_in_float64() -> None:
    with jax.enable_x64(True):
        w, xs = W.astype(jnp.float64), XS.astype(jnp.float64)
        ours = compile_function(lambda w, xs: small_loop.scan(trains, w, xs), w, xs)[0]
        for here, there in zip(ours(w, xs), lax.scan(trains, w, xs), strict=True):
            np.testing.assert_allclose(here, there, rtol=1e-13)


@pytest.mark.parametrize("body", [wide, large, sorts, loops, convolves, scans, halves])
def test_what_is_not_small_stays_as_it_is(body: Callable[..., Any]) -> None:
    program = compiled(body)
    assert OURS not in program.as_text()
    np.testing.assert_allclose(program(W, XS)[1], lax.scan(body, W, XS)[1], rtol=1e-5, atol=1e-6)


@pytest.fixture(autouse=True)
def on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ON, raising=False)


def test_it_is_off_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = jax.jit(lambda w, xs: small_loop.scan(trains, w, xs)).trace(W, XS)
    assert not small_loop.has_small_loop(traced.jaxpr)
    monkeypatch.setenv(ON, "0")
    assert OURS not in compiled(trains).as_text()


@on_a_cpu
def test_parts_of_a_loop_give_the_bits_of_the_whole() -> None:
    whole = compiled(trains)(W, XS)[0]

    def some(w: jax.Array, xs: jax.Array, first: Any, end: Any) -> jax.Array:
        return small_loop.fori_loop(first, end, lambda i, w: trains(w, xs[i])[0], w)

    program, w = compile_function(some, W, XS, np.int32(0), np.int32(1))[0], W
    for first, end in ((0, 1), (1, 17), (17, len(XS))):
        w = program(w, XS, np.int32(first), np.int32(end))
    np.testing.assert_array_equal(w, whole)


@on_a_cpu
@pytest.mark.parametrize("programs", ["operations", "arguments", "models"])
def test_no_loop_ends_the_process(programs: str) -> None:
    """In a process of its own; XLA emits such a function before it optimises it, so that needs no optimisation."""
    environment = os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    script = Path(__file__).with_name("small_loops.py")
    done = subprocess.run(
        [sys.executable, script, programs], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]} {done.stderr[:2000]}"


@on_a_cpu
def test_where_xla_has_no_code_for_it_the_loop_is_compiled_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_loop, "is_small", lambda step: True)  # a sort is refused, and does not end the process
    program = compiled(sorts)
    assert OURS not in program.as_text()
    np.testing.assert_array_equal(program(W, XS)[1], lax.scan(sorts, W, XS)[1])
