"""A model as a graph: the operations of a traced call, each in the box of its module, and what flows between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxport.errors import UsageError
from jaxport.nn import Module
from jaxport.nn.origin import no_notes

if TYPE_CHECKING:
    from collections.abc import Callable

# Calls of a function within the program: what is inside is shown in their place.
_INLINED = ("jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "remat2", "custom_jvp_call")
_INLINED += ("custom_vjp_call", "custom_vjp_call_jaxpr")


@dataclass
class Node:
    """An operation, input or parameter: its path, kind, the names of what it reads, the shapes of what it gives."""

    name: str
    op: str
    inputs: list[str] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    dtypes: list[Any] = field(default_factory=list)
    options: str = ""


def trace(module: Module, inputs: Any, prepare: Callable[[Any], Any] = lambda inputs: inputs) -> list[Node]:
    """Return the nodes of a call of `module` in the order of computation; those that nothing reads are left out.

    Raises:
        UsageError: the module does not take inputs of that shape.
    """
    graph, state = nnx.split(module)
    spec = _spec(inputs)

    def call(state: Any, inputs: Any) -> Any:
        copy = nnx.merge(graph, state, copy=True)
        _scope(copy)
        x = prepare(inputs)
        return copy(*x) if isinstance(x, tuple) else copy(x)

    try:
        with no_notes():
            closed = jax.make_jaxpr(call)(state, spec)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"TensorBoard: the model does not take an input of {_describe(spec)}: {reason}") from error
    return _Tracer().nodes(closed, _parameter_names(module, state), spec)


def _scope(module: Module) -> None:
    """Make every call below `module` run under the name of its module, which the operations then carry."""

    def scoped(part: Module, label: str) -> Callable[..., Any]:
        forward = part.forward

        def call(*args: Any, **kwargs: Any) -> Any:
            with jax.named_scope(label):
                return forward(*args, **kwargs)

        return call

    for path, part in module.named_modules():
        if path:
            object.__setattr__(part, "forward", scoped(part, _label(path.rpartition(".")[2], part)))


def _label(name: str, part: Module) -> str:
    """The box of a module, in the form of PyTorch's graphs: Linear[fc1]."""
    return f"{type(part).__name__}[{_clean(name)}]"


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", name) or "_"


def _spec(inputs: Any) -> Any:
    if isinstance(inputs, tuple) and inputs and all(isinstance(size, int) for size in inputs):
        return jax.ShapeDtypeStruct(inputs, jnp.float32)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), inputs)


def _describe(spec: Any) -> str:
    return ", ".join(f"shape {leaf.shape} and dtype {leaf.dtype}" for leaf in jax.tree.leaves(spec))


def _parameter_names(module: Module, state: Any) -> list[tuple[str, str]]:
    """Return (path, kind) for each array of the module's state, in the order of its leaves."""
    labels = {"": ""}
    for path, part in module.named_modules():
        if path:
            above, _, name = path.rpartition(".")
            labels[path] = f"{labels[above]}{_label(name, part)}/"
    found = []
    for keys, variable in nnx.to_flat_state(state):
        *above, name = map(str, keys)
        known = next(i for i in range(len(above), -1, -1) if ".".join(above[:i]) in labels)
        box = labels[".".join(above[:known])] + "".join(f"{_clean(part)}/" for part in above[known:])
        leaves = jax.tree.leaves(variable)
        kind = "Parameter" if isinstance(variable, nnx.Param) else "Buffer"
        found += [(f"{box}{_clean(name)}", kind)] * len(leaves)
    return found


class _Tracer:
    """Turns a program into nodes."""

    def __init__(self) -> None:
        self.made: list[Node] = []
        self.names: set[str] = set()

    def nodes(self, closed: ClosedJaxpr, parameters: list[tuple[str, str]], spec: Any) -> list[Node]:
        leaves = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(spec)[0]]
        inputs = [(f"input{_clean(leaf) if leaf else ''}", "Placeholder") for leaf in leaves]
        known: dict[Any, str] = {}
        for variable, (name, op) in zip(closed.jaxpr.invars, parameters + inputs, strict=True):
            known[variable] = self._add(name, op, [], [variable])
        self._constants(closed.jaxpr, known)
        self._walk(closed.jaxpr, known, "")
        for output in closed.jaxpr.outvars:
            if not isinstance(output, Literal):
                self._add("output", "Output", [known[output]], [output])
        return self._reached()

    def _constants(self, jaxpr: Jaxpr, known: dict[Any, str]) -> None:
        for variable in jaxpr.constvars:
            known[variable] = self._add("constant", "Const", [], [variable])

    def _walk(self, jaxpr: Jaxpr, known: dict[Any, str], box: str) -> None:
        """Add the program's operations; `known` has the name of every value so far."""
        for equation in jaxpr.eqns:
            scope = "/".join(part for part in (box, _path(equation)) if part)
            inner = _inner(equation)
            sources = [None if isinstance(v, Literal) else known.get(v) for v in equation.invars]
            if inner is None:
                op = _name(equation)
                made = self._add(f"{scope}/{op}" if scope else op, op, sources, equation.outvars, equation)
                for i, variable in enumerate(equation.outvars):
                    known[variable] = made if i == 0 else f"{made}:{i}"
                continue
            arguments = zip(inner.invars, sources[-len(inner.invars) :], strict=False)
            below = {variable: source for variable, source in arguments if source is not None}
            self._constants(inner, below)
            self._walk(inner, below, scope)
            for variable, value in zip(equation.outvars, inner.outvars, strict=True):
                if not isinstance(value, Literal) and value in below:
                    known[variable] = below[value]

    def _add(self, name: str, op: str, sources: list[Any], values: Any, equation: Any = None) -> str:
        unique, count = name, 0
        while unique in self.names:
            count += 1
            unique = f"{name}_{count}"
        self.names.add(unique)
        shapes = [tuple(v.aval.shape) for v in values]
        dtypes = [getattr(v.aval, "dtype", None) for v in values]
        options = "" if equation is None else _options(equation)
        self.made.append(Node(unique, op, [s for s in sources if s is not None], shapes, dtypes, options))
        return unique

    def _reached(self) -> list[Node]:
        """Return the nodes that an output depends on; the inputs stay."""
        by_name = {node.name: node for node in self.made}
        waiting = [node.name for node in self.made if node.op in ("Output", "Placeholder")]
        wanted: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in wanted:
                wanted.add(name)
                waiting += [source.partition(":")[0] for source in by_name[name].inputs]
        return [node for node in self.made if node.name in wanted]


def _path(equation: Any) -> str:
    """Return the boxes that an operation stands in."""
    return "/".join(part for part in str(equation.source_info.name_stack).split("/") if re.search(r"\[.*\]$", part))


def _inner(equation: Any) -> Jaxpr | None:
    """Return the program inside a call; None for an operation, and for a function that is shown as one."""
    if equation.primitive.name not in _INLINED:
        return None
    found = next((v for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if (v := equation.params.get(k)) is not None), None)
    inner = found.jaxpr if isinstance(found, ClosedJaxpr) else found
    named = equation.primitive.name in ("jit", "pjit") and equation.params.get("name") not in (None, "<lambda>")
    return None if inner is None or (named and not any(_scopes(inner))) else inner


def _scopes(jaxpr: Jaxpr) -> Iterator[bool]:
    """Say of each operation in a program, and in those inside it, whether it belongs to a module."""
    for equation in jaxpr.eqns:
        yield bool(_path(equation))
        inner = next((v for k in ("jaxpr", "call_jaxpr") if (v := equation.params.get(k)) is not None), None)
        if inner is not None and hasattr(getattr(inner, "jaxpr", inner), "eqns"):
            yield from _scopes(getattr(inner, "jaxpr", inner))


def _name(equation: Any) -> str:
    """Return what an operation is called: the primitive, or the function that is shown as one."""
    function = equation.primitive.name in ("jit", "pjit")
    return _clean(equation.params["name"] if function else equation.primitive.name).strip("_") or "call"


def _options(equation: Any) -> str:
    """Return an operation's settings that a reader may want, in one line."""
    if equation.primitive.name in ("jit", "pjit"):
        return ""
    plain = (bool, int, float, str, tuple)
    shown = {k: v for k, v in equation.params.items() if isinstance(v, plain) and len(str(v)) < 60}
    return ", ".join(f"{name}={value}" for name, value in shown.items())[:300]
