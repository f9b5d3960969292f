"""summary: a model's layers with their output shapes and parameters, in the form of the tutorials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxport.nn import Module, record_outputs, trainable

_WIDTH = 64
_MEGABYTE = 1024**2


@dataclass(frozen=True)
class Row:
    """One layer: its class and number, the shape of its output (-1 for the batch), its own parameters."""

    layer: str
    output_shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Summary:
    """A model's layers and totals; `str()` of it is the table.

    Attributes:
        rows: one a layer.
        input_shape: of one example.
        parameters: how many numbers the parameters are. Running statistics and random keys are not among them.
        itemsize: bytes of one number.
        frozen: how many of the parameters' numbers are not trained.
    """

    rows: tuple[Row, ...]
    input_shape: tuple[int, ...]
    parameters: int
    itemsize: int = 4
    frozen: int = 0

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
                f"Trainable params: {self.parameters - self.frozen:,}",
                f"Non-trainable params: {self.frozen:,}",
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
        with record_outputs(copy) as recorded:
            copy(x)
        # Of a layer with several outputs (a recurrent one), the first.
        return {path: jax.tree.leaves(output)[0] for path, output in recorded.items()}

    shapes = jax.eval_shape(outputs, state, jax.ShapeDtypeStruct((2, *input_shape), dtype))
    rows: list[Row] = []
    for path, part in module.named_modules():
        own = sum(math.prod(m.shape) for _, m in part._members() if isinstance(m, nnx.Param))
        if path in shapes and (own or not list(part.children())):
            rows.append(Row(f"{type(part).__name__}-{len(rows) + 1}", (-1, *shapes[path].shape[1:]), own))
    sizes = [(math.prod(parameter.shape), trainable((), parameter)) for parameter in module.parameters()]
    total, trained = sum(size for size, _ in sizes), sum(size for size, is_trained in sizes if is_trained)
    return Summary(tuple(rows), tuple(input_shape), total, jnp.dtype(dtype).itemsize, total - trained)
