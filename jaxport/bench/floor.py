"""The floor of a port: the least time that one training step can take on a machine with given limits.

floor = max(operations / (FLOP/s), bytes / (bytes/s))

Operations are XLA's own count of the step. Bytes are those that no program saves: parameters, buffers and the
optimiser's state read and written once, the batch read once. Activations and gradients may stay in caches and count
nothing. So a step may be far above its floor and still be as fast as it can be, but none is below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

from jaxport import engine, nn, ports
from jaxport.errors import UsageError
from jaxport.nn import conv_onednn, conv_single, conv_windows
from jaxport.port import Port

from .inputs import FULL_BATCH, dropout_calls
from .limits import Limits, this_machine
from .rows import Measurement


class Cost(NamedTuple):
    """What one training step needs: floating-point operations, and bytes read and written."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Floor:
    """The least time of a step.

    Attributes:
        flops: operations.
        bytes: read and written.
        ms: milliseconds.
        bound: "compute" or "memory": which of the two it is.
    """

    flops: float
    bytes: float
    ms: float
    bound: str

    def times(self, ms: float) -> float:
        """Return how many times its floor a measured step takes."""
        return ms / self.ms


def floor_of(cost: Cost, limits: Limits, dtype: str = "float32") -> Floor:
    """Return the floor of a step.

    Raises:
        UsageError: `limits` has no product of this dtype.
    """
    if dtype not in limits.flops:
        raise UsageError(f"dtype is {dtype!r}; measured were {', '.join(limits.flops) or 'none'}")
    compute, memory = cost.flops / limits.flops[dtype].value, cost.bytes / limits.bytes_per_s(cost.bytes / 2)
    return Floor(*cost, 1000 * max(compute, memory), "compute" if compute > memory else "memory")


def with_floor(measurement: Measurement, cost: Sequence[float], limits: Limits) -> Measurement:
    """Add the row's fields floor_ms and times_floor to what was measured of jaxport, whose program the cost is of."""
    if measurement.framework != "jax" or not measurement.ms:
        return measurement
    floor = floor_of(Cost(*cost), limits)
    found = {"floor_ms": floor.ms, "times_floor": floor.times(median(measurement.ms))}
    return replace(measurement, facts={**measurement.facts, **found})


def floor_ms(port_name: str, batch: int | None = None, limits: Limits | None = None) -> Floor:
    """Return the floor of a port's training step in float32.

    Args:
        port_name: which port.
        batch: examples in the step; None takes the recipe's, and 256 where that takes all.
        limits: of the machine; None measures this one's, once in a process (about 20 seconds).

    Raises:
        UsageError: there is no such port, or `batch` is less than 1.
    """
    return floor_of(step_cost(ports.get(port_name), batch), limits or this_machine())


def step_cost(port: Port, batch: int | None = None) -> Cost:
    """Return what one training step of a port needs: forward, loss, backward and optimiser, dropout masks given.

    Nothing is computed or compiled: weights and batch are shapes.

    Raises:
        UsageError: `batch` is less than 1.
    """
    batch = port.batch_size or FULL_BATCH if batch is None else batch
    if batch < 1:
        raise UsageError(f"batch must be at least 1, got {batch}")
    task, state, examples, masks = _described(port, batch)

    def step(state: Any, totals: Any, batch: engine.Batch, masks: tuple[jax.Array, ...]) -> Any:
        with nn.replay_masks(masks):
            return engine.train_step(task, state, totals, batch)

    totals = jax.eval_shape(lambda: engine.empty_totals(()))
    flops = count_flops(step, state, totals, examples, masks)
    return Cost(flops, 2.0 * _bytes(state) + _bytes(examples))


def _described(port: Port, batch: int) -> tuple[engine.Task, Any, engine.Batch, tuple[Any, ...]]:
    """Return a port's task, and the shapes of its state, of a batch and of its dropout masks."""
    target = port.synthetic(1).train.y
    x = jax.ShapeDtypeStruct((batch, *port.input_shape), port.input_dtype)
    y = jax.ShapeDtypeStruct((batch, *target.shape[1:]), target.dtype)
    found: dict[str, Any] = {}

    def build(x: jax.Array) -> Any:
        module = port.build(0)
        found["task"] = engine.make_task(module, port.loss(), port.make_optimizer())
        found["masks"] = [shape for _, _, shape in dropout_calls(port.build(0), x)]
        return engine.create_state(module, port.make_optimizer())

    state = jax.eval_shape(build, x)
    masks = tuple(jax.ShapeDtypeStruct(shape, np.bool_) for shape in found["masks"])
    return found["task"], state, engine.Batch(x, y), masks


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


# ------------------------------------------------------------------------------------------------- XLA's count, mended


def count_flops(function: Callable[..., Any], *args: Any) -> float:
    """Return the floating-point operations of a function of these arguments (arrays or shapes).

    It is XLA's analysis of the program before it is optimised: a multiplication and an addition are two, what a
    convolution multiplies by its padding, or by the zeros of a wide window, is nothing, and so is a transcendental
    function. XLA counts the body of a loop once; here that of a scan counts as often as it runs. A loop whose length is
    decided at run time counts once.

    Source: https://docs.jax.dev/en/latest/jax.stages.html
    """
    with _on_cpu(), conv_windows.narrow(), conv_onednn.without():
        return _count(jax.jit(function).trace(*args))


def _on_cpu() -> Any:
    """JAX counts without compiling on the CPU alone; compiled programs of GPUs hide products in calls of libraries."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        return nullcontext()


def _count(traced: Any) -> float:
    lowered = traced.lower()
    analysis = lowered.cost_analysis() or lowered.compile().cost_analysis() or {}
    return max(0.0, analysis.get("flops", 0.0)) + _not_counted(traced.jaxpr)


def _not_counted(jaxpr: Any) -> float:
    """Return the operations of the loops' turns that XLA does not see: of scans, and of windows one by one."""
    total = 0.0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        total += 2.0 * conv_single.multiplications(equation)
        if equation.primitive.name == "scan":
            body, length, unroll = (equation.params[name] for name in ("jaxpr", "length", "unroll"))
            # A scan becomes a loop over `unroll` copies of the body, with the rest of its turns beside the loop.
            seen = length if unroll >= length else unroll + length % unroll
            shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in body.in_avals]
            once = _count(jax.jit(jaxpr_as_fun(body)).trace(*shapes))
            total += (length - seen) * once + seen * _not_counted(body)
        else:
            total += sum(map(_not_counted, _programs(equation.params)))
    return total


def _programs(params: Any) -> Iterator[Any]:
    leaves = jax.tree.leaves(params, is_leaf=lambda leaf: isinstance(leaf, (Jaxpr, ClosedJaxpr)))
    return (leaf for leaf in leaves if isinstance(leaf, (Jaxpr, ClosedJaxpr)))
