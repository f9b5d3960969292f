"""JAX's inference: the compiled forward pass in evaluation mode on one batch that is on the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxport.engine.dispatch import compile_function
from jaxport.engine.precision import compute_dtype, in_half
from jaxport.interop.state_dict import load_state_dict

from .inputs import Inputs
from .jax_side import device_facts

if TYPE_CHECKING:
    from jaxport.port import Port

# More bytes of weights than this are no constants: the compiler would compute with them, for minutes.
_MOST_CONSTANTS = 1 << 20
_TRIALS, _TRIAL_CALLS = 5, 20


class JaxInfer:
    """A port's prediction, x → y, compiled with its weights as arguments or as constants, whichever is faster.

    In bfloat16 parameters are converted once, before anything is timed, but those of layers that normalise.

    Args:
        port: which port.
        inputs: weights and a batch.
    """

    def __init__(self, port: Port, inputs: Inputs) -> None:
        self.steps = inputs.steps
        module = port.build(0)
        load_state_dict(module, inputs.weights)
        half = compute_dtype(inputs.dtype)
        with in_half(module.eval(), half):
            self.graph, state = nnx.split(module)
            leaves, self.tree = jax.tree.flatten(state)
        floating = half is not None and inputs.x.dtype.kind == "f"
        self.x = jnp.asarray(inputs.x[0], half if floating else None)
        arguments: list[Any] = [jax.device_put(leaves), self.x]
        program, self.compile_s = compile_function(self._apply, *arguments)
        self.calls = {"weights as arguments": (program, arguments)}
        if sum(leaf.nbytes for leaf in leaves) <= _MOST_CONSTANTS:
            constants = [np.asarray(leaf) for leaf in leaves]
            program, seconds = compile_function(lambda x: self._apply(constants, x), self.x)
            self.calls["weights as constants"] = program, [self.x]
            self.compile_s = max(self.compile_s, seconds)
        self.variant = self._fastest()

    def facts(self) -> dict[str, Any]:
        """Return the row's fields that describe this side."""
        self.one_pass()
        return device_facts() | {"compile_s": self.compile_s, "variant": f"one compiled call, {self.variant}"}

    def one_pass(self) -> tuple[float, np.ndarray]:
        """Make the calls one after the other, each awaited; return their seconds and the last one's output, flat."""
        seconds, output = _timed(*self.calls[self.variant], self.steps)
        return seconds, np.asarray(output, np.float64).ravel()

    def _apply(self, weights: Any, x: jax.Array) -> jax.Array:
        weights = [jnp.asarray(leaf) for leaf in weights]
        model: Any = nnx.merge(self.graph, jax.tree.unflatten(self.tree, weights), copy=True)
        return model(x).astype(jnp.float32)

    def _fastest(self) -> str:
        """Return the name of the fastest call, by medians over short passes that take turns."""
        turns = [{name: _timed(*call, _TRIAL_CALLS)[0] for name, call in self.calls.items()} for _ in range(_TRIALS)]
        return min(self.calls, key=lambda name: median(turn[name] for turn in turns))


def _timed(program: Callable[..., Any], arguments: list[Any], count: int) -> tuple[float, Any]:
    output = jax.block_until_ready(program(*arguments))
    start = time.perf_counter()
    for _ in range(count):
        output = program(*arguments).block_until_ready()
    return time.perf_counter() - start, output
