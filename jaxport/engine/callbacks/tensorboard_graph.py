"""The graph of a model in TensorBoard's form."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from jaxport.nn import Module

from .graph_trace import Node, trace

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


def add_graph(
    writer: SummaryWriter, module: Module, inputs: Any, prepare: Callable[[Any], Any] = lambda inputs: inputs
) -> None:
    """Write the graph of `module` to an event file.

    Args:
        writer: of tensorboardX.
        module: drawn in its own mode.
        inputs: a shape (of float32), or arrays or ``jax.ShapeDtypeStruct`` as the module takes them.
        prepare: applied to the inputs before the module.

    Raises:
        UsageError: the module does not take inputs of that shape.
    """
    definition = graph_def(trace(module, inputs, prepare))
    file_writer = writer._get_file_writer()  # opens it again if it was closed
    file_writer.add_event(_message("event", "Event")(graph_def=definition.SerializeToString()))


def _message(file: str, name: str) -> Any:
    return getattr(import_module(f"tensorboardX.proto.{file}_pb2"), name)


def graph_def(nodes: list[Node]) -> Any:
    """Return nodes as the protocol buffer that TensorBoard reads."""
    attribute, tensor_shape = _message("attr_value", "AttrValue"), _message("tensor_shape", "TensorShapeProto")
    node_def, graph, version = (
        _message("node_def", "NodeDef"),
        _message("graph", "GraphDef"),
        _message("versions", "VersionDef"),
    )

    def shape(sizes: tuple[int, ...]) -> Any:
        return tensor_shape(dim=[tensor_shape.Dim(size=int(size)) for size in sizes])

    def definition(node: Node) -> Any:
        shapes = attribute(list=attribute.ListValue(shape=[shape(sizes) for sizes in node.shapes]))
        text = {"dtype": ", ".join(str(dtype) for dtype in node.dtypes), "settings": node.options}
        attributes = {name: attribute(s=value.encode()) for name, value in text.items() if value}
        return node_def(name=node.name, op=node.op, input=node.inputs, attr={"_output_shapes": shapes, **attributes})

    return graph(node=[definition(node) for node in nodes], versions=version(producer=22))
