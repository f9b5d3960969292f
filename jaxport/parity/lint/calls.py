"""Calls: the functions that two models call, for what has no module on one side or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np


@dataclass(frozen=True)
class Call:
    """One call of a function.

    Attributes:
        name: PyTorch's function (``gelu``), or JAX's primitive or jitted function (``conv_general_dilated``, ``_var``).
        path: the module that was running; of JAX the name stack, "" if it has none.
        arguments: what it was called with, apart from arrays, by PyTorch's names; JAX's parameters.
        shapes: the shapes of its arrays.
        dtypes: their dtypes, PyTorch's without ``torch.``.
        literals: numbers that were written where JAX takes arrays.
        within: the jitted functions around it, outermost first.
        out_dtypes: dtypes of the results.
    """

    name: str
    path: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    shapes: tuple[tuple[int, ...], ...] = ()
    dtypes: tuple[str, ...] = ()
    literals: tuple[float, ...] = ()
    within: tuple[str, ...] = ()
    out_dtypes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Calls:
    """What both models call, in the order in which they do.

    Attributes:
        torch: functions of PyTorch, the ones inside its own modules too.
        jax: primitives and jitted functions of JAX.
    """

    torch: tuple[Call, ...] = ()
    jax: tuple[Call, ...] = ()


def trace_calls(
    torch_module: Any = None,
    inputs: Sequence[Any] = (),
    jax_function: Callable[..., Any] | None = None,
    jax_inputs: Sequence[Any] | None = None,
    torch_call: Callable[..., Any] | None = None,
) -> Calls:
    """Return what a PyTorch module and a JAX function call on these inputs.

    Args:
        torch_module: a module or function of PyTorch; it runs once, without gradients.
        inputs: its inputs, tensors or NumPy arrays.
        jax_function: the JAX model as a function of arrays; it is traced, not run.
        jax_inputs: its inputs, if they are not PyTorch's.
        torch_call: what runs the PyTorch module, if not a call of it.
    """
    theirs = tuple(_torch_calls(torch_module, inputs, torch_call or torch_module)) if torch_module is not None else ()
    ours: tuple[Call, ...] = ()
    if jax_function is not None:
        given = [np.asarray(x) for x in (inputs if jax_inputs is None else jax_inputs)]
        ours = calls_in(jax.make_jaxpr(jax_function)(*given).jaxpr)
    return Calls(theirs, ours)


def calls_in(jaxpr: Any) -> tuple[Call, ...]:
    """Return what a traced JAX function calls."""
    return tuple(_walk(jaxpr, ()))


def _torch_calls(module: Any, inputs: Sequence[Any], call: Callable[..., Any]) -> list[Call]:
    import torch
    from torch.overrides import TorchFunctionMode, resolve_name

    calls: list[Call] = []
    running: list[str] = [""]

    class Recorder(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            name = resolve_name(func) or getattr(func, "__name__", str(func))
            calls.append(_torch_call(name, running[-1], args, kwargs or {}, result))
            return result

    given = [torch.as_tensor(np.asarray(x)) if not isinstance(x, torch.Tensor) else x for x in inputs]
    hooks = _watch_paths(module, running) if isinstance(module, torch.nn.Module) else []
    try:
        with torch.no_grad(), Recorder():
            call(*given)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _watch_paths(module: Any, running: list[str]) -> list[Any]:
    hooks = []
    for path, part in module.named_modules():
        hooks.append(part.register_forward_pre_hook(lambda m, a, path=path: running.append(path)))
        hooks.append(part.register_forward_hook(lambda m, a, o: _left(running)))
    return hooks


def _left(running: list[str]) -> None:
    """Note that a module has ended; what a hook returns would replace its result."""
    running.pop()


def _torch_call(name: str, path: str, args: Any, kwargs: Any, result: Any) -> Call:
    import torch

    short = name.rsplit(".", 1)[-1]
    tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
    plain: dict[str, Any] = {str(i): a for i, a in enumerate(args) if not isinstance(a, torch.Tensor)}
    plain |= {key: value for key, value in kwargs.items() if not isinstance(value, torch.Tensor)}
    plain |= {key: True for key, value in kwargs.items() if isinstance(value, torch.Tensor)}
    results = result if isinstance(result, tuple | list) else (result,)
    return Call(
        short,
        path,
        plain,
        tuple(tuple(t.shape) for t in tensors),
        tuple(str(t.dtype).removeprefix("torch.") for t in tensors),
        out_dtypes=tuple(str(r.dtype).removeprefix("torch.") for r in results if isinstance(r, torch.Tensor)),
    )


def _walk(jaxpr: Any, within: tuple[str, ...]) -> Iterator[Call]:
    for equation in jaxpr.eqns:
        inner = [part for value in equation.params.values() for part in _jaxprs(value)]
        name = str(equation.params.get("name") or equation.primitive.name) if inner else equation.primitive.name
        yield _jax_call(name, equation, within)
        for part in inner:
            yield from _walk(part, (*within, name))


def _jaxprs(value: Any) -> Iterator[Any]:
    if hasattr(value, "eqns"):
        yield value
    elif hasattr(value, "jaxpr"):
        yield value.jaxpr
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _jaxprs(part)


def _jax_call(name: str, equation: Any, within: tuple[str, ...]) -> Call:
    literals = [float(v.val) for v in equation.invars if hasattr(v, "val") and np.ndim(v.val) == 0 and _real(v.val)]
    arrays = [v.aval for v in equation.invars if hasattr(v.aval, "shape")]
    return Call(
        name,
        str(equation.source_info.name_stack),
        {key: value for key, value in equation.params.items() if not list(_jaxprs(value))},
        tuple(tuple(a.shape) for a in arrays),
        tuple(str(a.dtype) for a in arrays),
        tuple(literals),
        within,
        tuple(str(v.aval.dtype) for v in equation.outvars if hasattr(v.aval, "dtype")),
    )


def _real(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "fiub"
