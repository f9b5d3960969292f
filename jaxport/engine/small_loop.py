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
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

from jaxport.nn.one_function import NAME, as_one_function

# What a step may compute: numbers in an array, multiplications in a product. Beyond, two cores and tuned products win.
_NUMBERS, _PRODUCTS = 1 << 14, 1 << 15
# What a step may do. All of it was tried inside such a function: XLA has no list of what it has code for there, and
# what it has none for may end the process. No loops, which take it seconds to compile there, and no library's work.
_ELEMENTWISE = (
    "abs add add_any and atan2 ceil clamp convert_element_type copy cos div eq erf erf_inv erfc exp exp2 expm1 floor "
    "ge gt integer_pow is_finite le log log1p logistic lt max min mul ne neg not or pow rem round rsqrt select_n "
    "shift_left shift_right_arithmetic shift_right_logical sign sin sqrt square stop_gradient sub tan tanh xor"
)
_SHAPES = (
    "bitcast_convert_type broadcast_in_dim concatenate dynamic_slice dynamic_update_slice gather iota pad "
    "reshape rev slice split squeeze transpose"
)
_SUMS = "argmax argmin dot_general reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum"
_RANDOM = "random_bits random_fold_in random_seed random_split random_unwrap random_wrap"
_CALLS = "custom_jvp_call custom_vjp_call jit optimization_barrier"
_NEWER = "one_minus_square unstack"  # jax 0.11 has these
_KNOWN = frozenset(" ".join((_ELEMENTWISE, _SHAPES, _SUMS, _RANDOM, _CALLS, _NEWER)).split())
_DTYPES = frozenset(("bool", "uint8", "uint32", "uint64", "int32", "int64", "float32", "float64", "key<fry>"))


_allowed: ContextVar[bool] = ContextVar("small loops", default=False)


@contextmanager
def allowed(wanted: bool = True) -> Iterator[None]:
    """Allow small loops in what is traced here; it must be compiled without YNN fusions, which cannot be in them.

    JAXPORT_SMALL_LOOPS=0 in the environment turns them off.
    """
    token = _allowed.set(wanted and os.environ.get("JAXPORT_SMALL_LOOPS") != "0")
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
    structure = jax.tree.structure(shapes)

    def loop(held: list[Any], carry: Any, xs: Any) -> tuple[Any, Any]:
        run = jaxpr_as_fun(ClosedJaxpr(step.jaxpr, held))

        def traced(carry: Any, x: Any) -> tuple[Any, Any]:
            return jax.tree.unflatten(structure, run(*jax.tree.leaves((carry, x))))

        return lax.scan(traced, carry, xs)

    return _as_one(loop, step, carry, xs)


def fori_loop(first: Any, end: Any, body: Callable[[Any, Any], Any], carry: Any) -> Any:
    """Return what `lax.fori_loop` does, under the same conditions: the steps are those of `scan`, to the bit."""
    if not _allowed.get() or jax.default_backend() != "cpu":
        return lax.fori_loop(first, end, body, carry)
    first, end = (jnp.asarray(bound, jnp.int32) for bound in (first, end))
    step, structure = jax.make_jaxpr(body)(first, carry), jax.tree.structure(carry)

    def loop(held: list[Any], first: Any, end: Any, carry: Any) -> Any:
        run = jaxpr_as_fun(ClosedJaxpr(step.jaxpr, held))

        def traced(i: Any, carry: Any) -> Any:
            return jax.tree.unflatten(structure, run(i, *jax.tree.leaves(carry)))

        return lax.fori_loop(first, end, traced, carry)

    return _as_one(loop, step, first, end, carry)


def _as_one(loop: Callable[..., Any], step: ClosedJaxpr, *args: Any) -> Any:
    """Call `loop` on what `step` holds and on `args`; as one function of machine code, if the step is small."""
    return as_one_function(loop, step.consts, *args) if is_small(step) else loop(step.consts, *args)


def is_small(jaxpr: Any) -> bool:
    """Return whether everything that a step computes is small, and of a kind that was tried."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    return all(_is_small(equation) for equation in jaxpr.eqns)


def _is_small(equation: Any) -> bool:
    if equation.primitive.name not in _KNOWN or not all(_fits(v.aval) for v in equation.outvars):
        return False
    if equation.primitive.name == "dot_general" and _multiplications(equation) > _PRODUCTS:
        return False
    parts = jax.tree.leaves(equation.params, is_leaf=_is_program)
    return all(is_small(part) for part in parts if _is_program(part))


def _fits(aval: Any) -> bool:
    return math.prod(aval.shape) <= _NUMBERS and str(aval.dtype) in _DTYPES


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
