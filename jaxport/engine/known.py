"""What of a function can be computed before its last arguments are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from jaxport.nn import conv_cpu

# JAX names a call of a compiled function so; only these are looked into.
_CALLS = ("jit", "pjit")


def split_known(
    function: Callable[..., Any], known: Sequence[jax.Array], *rest: jax.ShapeDtypeStruct | jax.Array
) -> tuple[list[jax.Array], Callable[..., Any]]:
    """Return what `function(known, *rest)` computes of `known` alone, and the function of it and `rest` that is left.

    ``values, left = split_known(f, known, x)``, then ``left(values, x) == f(known, x)``. Weights that a layer
    transposes, joins or scales before it multiplies are so prepared once; XLA would do it in every call.

    Args:
        function: f(known, *rest) → a tree of arrays, without side effects.
        known: arrays.
        rest: arrays, or their shapes and dtypes.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(list(known), *rest)
    structure = jax.tree.structure(shapes)

    def remaining(*rest: jax.Array) -> list[Any]:
        return _run(closed.jaxpr, closed.consts, [*known, *rest])

    left = jax.make_jaxpr(remaining)(*rest)

    def apply(values: Sequence[jax.Array], *rest: jax.Array) -> Any:
        return jax.tree.unflatten(structure, jaxpr_as_fun(ClosedJaxpr(left.jaxpr, list(values)))(*rest))

    return [jax.numpy.asarray(value) for value in left.consts], apply


def _run(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """Compute a program while it is traced: at once what depends on numbers alone, and note down the rest."""
    values: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        results = _results(jaxpr, equation, [read(variable) for variable in equation.invars])
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _inside(equation: Any) -> ClosedJaxpr | None:
    """Return the program that a step stands for, where part of it may be known; None where it is one operation."""
    if equation.primitive.name in _CALLS:
        return equation.params["jaxpr"]
    as_product = conv_cpu.product_of(equation.primitive, equation.params)
    return None if as_product is None else jax.make_jaxpr(as_product)(*(v.aval for v in equation.invars))


def _results(jaxpr: Jaxpr, equation: Any, inputs: list[Any]) -> list[Any]:
    traced = any(isinstance(value, Tracer) for value in inputs)
    inner = _inside(equation) if traced else None
    if inner is not None:
        return _run(inner.jaxpr, inner.consts, inputs)
    # A variable may stand twice among the inputs; literals stay where they are.
    pairs = zip(equation.invars, inputs, strict=True)
    named = {variable: value for variable, value in pairs if not isinstance(variable, Literal)}
    names = jaxpr.debug_info.with_unknown_names()
    single = Jaxpr((), list(named), equation.outvars, [equation], equation.effects, names)
    compute = jaxpr_as_fun(ClosedJaxpr(single, ()))
    if traced:
        return compute(*named.values())
    with jax.ensure_compile_time_eval():
        return compute(*named.values())
