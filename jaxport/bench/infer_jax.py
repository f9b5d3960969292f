"""JAX's inference: the compiled forward pass in evaluation mode on one batch that is on the device."""

from __future__ import annotations

import time
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


class JaxInfer:
    """A port's prediction, x → y, compiled with its weights as arguments.

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
            graph, state = nnx.split(module)
            leaves, tree = jax.tree.flatten(state)
        floating = half is not None and inputs.x.dtype.kind == "f"
        self.weights, self.x = jax.device_put(leaves), jnp.asarray(inputs.x[0], half if floating else None)

        def predict(weights: list[jax.Array], x: jax.Array) -> jax.Array:
            model: Any = nnx.merge(graph, jax.tree.unflatten(tree, weights), copy=True)
            return model(x).astype(jnp.float32)

        self._predict, self.compile_s = compile_function(predict, self.weights, self.x)

    def facts(self) -> dict[str, Any]:
        """Return the row's fields that describe this side."""
        self.one_pass()
        return device_facts() | {"compile_s": self.compile_s, "variant": "one compiled call"}

    def one_pass(self) -> tuple[float, np.ndarray]:
        """Make the calls one after the other, each awaited; return their seconds and the last one's output, flat."""
        predict, weights, x = self._predict, self.weights, self.x
        output = jax.block_until_ready(predict(weights, x))
        start = time.perf_counter()
        for _ in range(self.steps):
            output = predict(weights, x).block_until_ready()
        return time.perf_counter() - start, np.asarray(output, np.float64).ravel()
