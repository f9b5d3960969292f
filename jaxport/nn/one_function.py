"""A loop as one function of machine code; XLA on CPUs otherwise starts every operation of every turn by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

NAME = "small_loop"
"""The name of the function in a traced program."""

# XLA marks by this what it emits as one function: it does so by itself for loops on less than a kilobyte.
_AS_ONE = {"inlineable": "false", "xla_cpu_small_call": "true"}


def as_one_function(loop: Callable[..., Any], *args: Any) -> Any:
    """Call `loop` on arrays, as one function of machine code on one core.

    What is in it must be of the kinds that XLA has code for there: it has no list of them, and may end the process
    on others. XLA (jaxlib 0.10) also ends the process on such a function with an argument that nothing in it uses, and
    one that is used here may not be once XLA has simplified the loop. So the function also returns its arguments, and a
    barrier keeps constants out of the loop, where they would replace them. Barriers on both sides keep what is
    returned: JAX drops results that nobody reads, and may drop those that are arguments.
    """

    def small_loop(*args: Any) -> tuple[Any, Any]:
        return loop(*args), lax.optimization_barrier(args)

    results: Any = set_xla_metadata(jax.jit(small_loop)(*lax.optimization_barrier(args)), **_AS_ONE)
    return lax.optimization_barrier(results)[0]
