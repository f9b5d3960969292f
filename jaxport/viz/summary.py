"""summary: a model's layers with their output shapes and parameters, in the form of the tutorials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxport.nn import Module, Parameter

_WIDTH = 64
_MEGABYTE = 1024**2


@dataclass(frozen=True)
class Row:
    """One layer: its class and number, the shape of its output (-1 for the batch), its own trainable parameters."""

    layer: str
    output_shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Summary:
    """A model's layers and totals; `str()` of it is the table.

    Attributes:
        rows: one a layer.
        input_shape: of one example.
        parameters: how many numbers are trained. Running statistics and random keys are not among them.
        itemsize: bytes of one number.
    """

    rows: tuple[Row, ...]
    input_shape: tuple[int, ...]
    parameters: int
    itemsize: int = 4

    def __str__(self) -> str:
        line, double = "-" * _WIDTH, "=" * _WIDTH
        outputs = sum(math.prod(row.output_shape[1:]) for row in self.rows)
        # Forward and backward keep one number each for every element of every output.
        sizes = [math.prod(self.input_shape), 2 * outputs, self.parameters]
        megabytes = [size * self.itemsize / _MEGABYTE for size in sizes]
        table = [f"{row.layer:>20} {list(row.output_shape)!s:>26} {row.parameters:>15,}" for row in self.rows]
        names = ("Input size", "Forward/backward pass size", "Params size", "Estimated Total Size")
        return "\n".join(
            [
                line,
                f"{'Layer (type)':>20} {'Output Shape':>26} {'Param #':>15}",
                double,
                *table,
                double,
                f"Total params: {self.parameters:,}",
                f"Trainable params: {self.parameters:,}",
                "Non-trainable params: 0",
                line,
                *(f"{n} (MB): {v:.6f}" for n, v in zip(names, [*megabytes, sum(megabytes)], strict=True)),
                line,
            ]
        )


def summary(module: Module, input_shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Summary:
    """Return the layers of `module` for inputs of `input_shape` (without the batch axis); nothing is computed.

    Layers stand in the order of their definition; a module with children counts as a layer only for parameters of its
    own. In evaluation mode, whatever the module's own mode is.

    Raises:
        ValueError: the module does not take inputs of that shape.
    """
    graph, state = nnx.split(module)

    def outputs(state: Any, x: jax.Array) -> Any:
        copy = nnx.merge(graph, state, copy=True).eval()
        _, captured = nnx.capture(copy, nnx.Intermediate, method_outputs=nnx.Intermediate)(x)
        return {path[:-1]: leaf.get_value()[0] for path, leaf in nnx.to_flat_state(captured) if path[-1] == "forward"}

    shapes = jax.eval_shape(outputs, state, jax.ShapeDtypeStruct((2, *input_shape), dtype))
    rows: list[Row] = []
    for path, part in module.named_modules():
        own = sum(math.prod(m.shape) for _, m in part._members() if isinstance(m, Parameter))
        key = tuple(path.split(".")) if path else ()
        if key in shapes and (own or not list(part.children())):
            rows.append(Row(f"{type(part).__name__}-{len(rows) + 1}", (-1, *shapes[key].shape[1:]), own))
    total = sum(math.prod(parameter.shape) for parameter in module.parameters())
    return Summary(tuple(rows), tuple(input_shape), total, jnp.dtype(dtype).itemsize)
