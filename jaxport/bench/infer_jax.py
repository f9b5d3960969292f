"""JAX's inference: the compiled forward pass in evaluation mode on one batch that is on the device."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxport.engine.precision import compute_dtype
from jaxport.engine.predictor import compile_prediction
from jaxport.interop.state_dict import load_state_dict

from .inputs import Inputs
from .jax_side import device_facts

if TYPE_CHECKING:
    from jaxport.port import Port


def dispatch_at_once() -> None:
    """Let programs run on a CPU in the thread that calls them, as PyTorch's do; nothing may have run before.

    JAX otherwise hands a call to another thread, which takes longer than a small network does.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)


class JaxInfer:
    """A port's prediction by `compile_prediction`, x → y, in the way that it has found to be the fastest.

    In bfloat16 parameters are converted once, before anything is timed, but those of layers that normalise.

    Args:
        port: which port.
        inputs: weights and a batch.
    """

    def __init__(self, port: Port, inputs: Inputs) -> None:
        self.steps = inputs.steps
        module = port.build(0)
        load_state_dict(module, inputs.weights)
        floating = inputs.x.dtype.kind == "f"
        x = jnp.asarray(inputs.x[0], compute_dtype(inputs.dtype) if floating else None)
        self.predictor = compile_prediction(module, x, precision=inputs.dtype)
        self.call = self.predictor.bound(x)

    def facts(self) -> dict[str, Any]:
        """Return the row's fields that describe this side."""
        self.one_pass()
        way = f"one compiled call, {self.predictor.way}"
        return device_facts() | {"compile_s": self.predictor.compile_seconds, "variant": way}

    def one_pass(self) -> tuple[float, np.ndarray]:
        """Make the calls one after the other, each awaited; return their seconds and the last one's output, flat."""
        program, arguments = self.call
        output = jax.block_until_ready(program(*arguments))
        start = time.perf_counter()
        for _ in range(self.steps):
            output = program(*arguments).block_until_ready()
        return time.perf_counter() - start, np.asarray(output, np.float64).ravel()
