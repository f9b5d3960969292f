"""A loop of tiny steps as one function of machine code; XLA on CPUs otherwise starts every operation by itself."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

NAME = "small_loop"
# XLA marks by this what it emits as one function: it does so by itself for loops on less than a kilobyte.
_AS_ONE = {"inlineable": "false", "xla_cpu_small_call": "true"}
# What a step may compute: numbers in an array, multiplications in a product. Beyond, two cores and tuned products win.
_NUMBERS, _PRODUCTS = 1 << 14, 1 << 15
# What XLA does not emit inside such a function, or by a library; and loops, which take it seconds to compile there.
_NEVER = (
    "conv_general",
    "jaxport_",
    "sort",
    "scatter",
    "fft",
    "cholesky",
    "lu",
    "qr",
    "eig",
    "svd",
    "triangular_solve",
)
_NEVER += ("top_k", "scan", "while")


_allowed: ContextVar[bool] = ContextVar("small loops", default=False)


@contextmanager
def allowed(wanted: bool = True) -> Iterator[None]:
    """Allow small loops in what is traced here; it must be compiled without YNN fusions, which cannot be in them.

    They are off unless JAXPORT_SMALL_LOOPS is 1 in the environment: XLA (jaxlib 0.10) has aborted the process on one of
    them, over batches that are stacked, and an abort cannot be caught.
    """
    token = _allowed.set(wanted and os.environ.get("JAXPORT_SMALL_LOOPS") == "1")
    try:
        yield
    finally:
        _allowed.reset(token)


def scan(body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any) -> tuple[Any, Any]:
    """Return what `lax.scan` does; on a CPU, where it is allowed, a small step's loop is one function of machine code.

    Starting an operation costs about 0.2 µs, a step of a small network has 40 of them, and each computes for less.
    """
    if not _allowed.get() or jax.default_backend() != "cpu":
        return lax.scan(body, carry, xs)
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)
    step, shapes = jax.make_jaxpr(body, return_shape=True)(carry, one)
    run, structure = jaxpr_as_fun(step), jax.tree.structure(shapes)

    def traced(carry: Any, x: Any) -> tuple[Any, Any]:
        return jax.tree.unflatten(structure, run(*jax.tree.leaves((carry, x))))

    def small_loop(carry: Any, xs: Any) -> tuple[Any, Any]:
        return lax.scan(traced, carry, xs)

    if not is_small(step):
        return small_loop(carry, xs)
    done: Any = set_xla_metadata(jax.jit(small_loop)(carry, xs), **_AS_ONE)
    return done


def fori_loop(first: Any, end: Any, body: Callable[[Any, Any], Any], carry: Any) -> Any:
    """Return what `lax.fori_loop` does, under the same conditions: the steps are those of `scan`, to the bit."""
    if not _allowed.get() or jax.default_backend() != "cpu":
        return lax.fori_loop(first, end, body, carry)
    step = jax.make_jaxpr(body)(jnp.asarray(first), carry)
    run, structure = jaxpr_as_fun(step), jax.tree.structure(carry)

    def traced(i: Any, carry: Any) -> Any:
        return jax.tree.unflatten(structure, run(i, *jax.tree.leaves(carry)))

    def small_loop(first: Any, end: Any, carry: Any) -> Any:
        return lax.fori_loop(first, end, traced, carry)

    if not is_small(step):
        return small_loop(first, end, carry)
    done: Any = set_xla_metadata(jax.jit(small_loop)(first, end, carry), **_AS_ONE)
    return done


def is_small(jaxpr: Any) -> bool:
    """Return whether everything that a step computes is small, and nothing in it needs a library."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    return all(_is_small(equation) for equation in jaxpr.eqns)


def _is_small(equation: Any) -> bool:
    name = equation.primitive.name
    if name.startswith(_NEVER) or any(math.prod(v.aval.shape) > _NUMBERS for v in equation.outvars):
        return False
    if name == "dot_general" and _multiplications(equation) > _PRODUCTS:
        return False
    parts = jax.tree.leaves(equation.params, is_leaf=_is_program)
    return all(is_small(part) for part in parts if _is_program(part))


def _multiplications(equation: Any) -> int:
    """Return how many a product takes: the numbers of its result times the lengths that are summed over."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)


def has_small_loop(jaxpr: Any) -> bool:
    """Return whether a traced program holds such a loop, at any depth."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    if any(equation.params.get("name") == NAME for equation in jaxpr.eqns):
        return True
    parts = jax.tree.leaves([equation.params for equation in jaxpr.eqns], is_leaf=_is_program)
    return any(has_small_loop(part) for part in parts if _is_program(part))


def _is_program(part: Any) -> bool:
    return isinstance(part, (Jaxpr, ClosedJaxpr))
