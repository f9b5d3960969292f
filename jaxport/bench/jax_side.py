"""The JAX half of a benchmark: the engine's own step, dispatched as the engine dispatches it."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxport import engine, nn
from jaxport.engine import small_loop
from jaxport.engine.dispatch import compile_function
from jaxport.engine.traits import has_long_convolution
from jaxport.interop.state_dict import load_state_dict
from jaxport.port import Port

from .cores import available_cores
from .inputs import Inputs
from .memory import jax_peak_mb


def device_facts() -> dict[str, Any]:
    """Return the row's fields that say where JAX runs, and how much memory it has taken so far."""
    device, cores = jax.devices()[0], available_cores()  # XLA uses all of them
    on_cpu = device.platform == "cpu"
    return {
        "threads": cores if on_cpu else None,
        "device": f"cpu, {cores} thread{'s'[: cores > 1]}" if on_cpu else device.device_kind,
        "versions": {"jax": jax.__version__},
        "peak_memory_mb": jax_peak_mb(),
    }


class JaxSide:
    """A port's training on batches that are on the device already.

    In bfloat16 the engine's mixed precision: parameters and optimiser in float32, the model in bfloat16, its prediction
    float32 again before the loss.

    Args:
        port: which port.
        inputs: weights, batches and masks.
        dispatch: "scan" or "steps"; None lets the engine choose.
    """

    def __init__(self, port: Port, inputs: Inputs, dispatch: engine.Dispatch | None = None) -> None:
        self.port, self.module, self.steps = port, port.build(0), inputs.steps
        load_state_dict(self.module, inputs.weights)
        self.task = engine.make_task(self.module, port.loss(), port.make_optimizer(), precision=inputs.dtype)
        self.batches = engine.Batch(jax.device_put(inputs.x), jax.device_put(inputs.y))
        self.masks = tuple(jax.device_put(mask) for mask in inputs.masks.values())
        state, first = self._start(), self._batch(0)
        traced = jax.make_jaxpr(self._step)(*state, first, self._masks(0))
        self.dispatch = dispatch or engine.choose_dispatch(jax.default_backend(), has_long_convolution(traced))
        if self.dispatch == "scan":
            self._all, self.compile_s = compile_function(self._scan, *state, self.batches, self.masks, donate=(0, 1))
        else:
            self._one, self.compile_s = compile_function(self._step, *state, first, self._masks(0), donate=(0, 1))
            self._resident = [self._batch(i) for i in range(len(inputs.x))]
            self._resident_masks = [self._masks(i) for i in range(inputs.steps)]

    def facts(self) -> dict[str, Any]:
        """Return the row's fields that describe this side."""
        self.one_pass()  # for the memory that it takes
        return device_facts() | {
            "compile_s": self.compile_s,
            "variant": "scan over the steps" if self.dispatch == "scan" else "step by step",
        }

    def one_pass(self) -> tuple[float, list[float]]:
        """Train from the initial weights; return the seconds of the steps alone, and the losses."""
        state = jax.block_until_ready(self._start())
        start = time.perf_counter()
        losses = self._all(*state, self.batches, self.masks)[2] if self.dispatch == "scan" else self._loop(*state)
        jax.block_until_ready(losses)
        seconds = time.perf_counter() - start
        return seconds, [float(loss) for loss in np.asarray(losses)]

    def _start(self) -> tuple[engine.TrainState, engine.Totals]:
        # An optimiser of its own, as arrays that the optimiser holds may be donated with the state.
        return engine.create_state(self.module, self.port.make_optimizer()), engine.empty_totals(())

    def _batch(self, i: int) -> engine.Batch:
        return engine.Batch(self.batches.x[i], self.batches.y[i])

    def _masks(self, i: int) -> tuple[jax.Array, ...]:
        return tuple(mask[i] for mask in self.masks)

    def _step(self, state: Any, totals: Any, batch: engine.Batch, masks: tuple[jax.Array, ...]) -> Any:
        with nn.replay_masks(masks):
            return engine.train_step(self.task, state, totals, batch)

    def _scan(self, state: Any, totals: Any, batches: engine.Batch, masks: tuple[jax.Array, ...]) -> Any:
        distinct = batches.x.shape[0]

        def body(carry: Any, step_and_masks: Any) -> Any:
            step, step_masks = step_and_masks
            batch = engine.Batch(*(lax.dynamic_index_in_dim(a, step % distinct, 0, False) for a in batches[:2]))
            state, totals = carry
            state, totals, loss = self._step(state, totals, batch, step_masks)
            return (state, totals), loss

        (state, totals), losses = small_loop.scan(body, (state, totals), (jnp.arange(self.steps), masks))
        return state, totals, losses

    def _loop(self, state: Any, totals: Any) -> list[jax.Array]:
        losses = []
        for i in range(self.steps):
            state, totals, loss = self._one(
                state, totals, self._resident[i % len(self._resident)], self._resident_masks[i]
            )
            losses.append(loss)
        jax.block_until_ready(state)
        return losses
