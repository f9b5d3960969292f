"""One input of PyTorch's databases as a list of findings: modules, functions, and what must raise."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from database import (
    FUNCTIONS,
    MODULES,
    ModuleErrorEnum,
    Run,
    build,
    cast,
    differences,
    flat,
    is_torch_leaf,
    made_twin,
    mapped,
    named,
    numpy,
    remembered_arguments,
    replaced,
    run_jax,
    run_torch,
    seed,
    stirred,
    to_jax,
    to_jax_argument,
    worst_error,
)
from flax import nnx
from nn_report import tally

import jaxport
import jaxport.nn.functional as F
from jaxport import nn
from jaxport.interop import state_dict
from jaxport.nn.dropout import replay_masks
from jaxport.parity.tolerances import ROUNDING_DRAWS

torch = pytest.importorskip("torch")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

PACKAGE = str(Path(jaxport.__file__).parent)
JAX_DTYPE = {torch.float64: jnp.float64, torch.float32: jnp.float32}


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore PyTorch's and our own warnings about usage: the databases warn on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def nudged(tree: Any, number: int, dtype: Any = torch.float32) -> Any:
    """Change the last bit of every `dtype` number at random (not for number 0): tensors anywhere, and modules' own."""
    generator = torch.Generator().manual_seed(number)

    def moved(tensor: Any) -> Any:
        steps = torch.randint(-1, 2, tensor.shape, generator=generator).to(dtype)
        tensor = tensor.detach()
        # 0 and 1 stay: next to them there are denormal numbers, and no probabilities.
        fixed = (steps == 0) | (tensor == 0) | (tensor == 1)
        return torch.where(fixed, tensor, torch.nextafter(tensor, steps * torch.inf))

    def leaf(value: Any) -> Any:
        if isinstance(value, torch.nn.Module):
            with torch.no_grad():
                for tensor in (*value.parameters(), *value.buffers()):
                    if tensor.dtype == dtype:
                        tensor.copy_(moved(tensor))
        if isinstance(value, torch.Tensor) and value.dtype == dtype:
            return moved(value).requires_grad_(value.requires_grad)
        return value

    return tree if number == 0 else mapped(tree, leaf)


# ------------------------------------------------------------------------------------------------------------ modules


def module_inputs(name: str, training: bool) -> list[Any]:
    info = MODULES[name]
    seed(f"{name} {training}")
    with remembered_arguments(), quiet():
        return info.module_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=True, training=training)


def module_torch(name: str, entry: Any, training: bool, dtype: Any, id: str) -> Any:
    constructor = entry.constructor_input
    with remembered_arguments(), quiet():
        seed(f"{id} construct")
        made = MODULES[name].module_cls(*cast(constructor.args, dtype), **cast(constructor.kwargs, dtype))
    return stirred(made.train(training), id).to(dtype)


def _buffers(module: nn.Module) -> dict[str, Any]:
    return {key: buffer[...] for key, buffer in module.named_buffers()}


def jax_module_run(twin: nn.Module, args: Any, kwargs: Any, active: list[bool], id: str, jit: bool) -> Run:
    """Run a jaxport module on PyTorch's arguments: outputs, all gradients, buffers after the call."""
    leaves = {key: to_jax(value) for key, value in named(args, kwargs, is_torch_leaf).items()}
    graph, params, rest = nnx.split(twin, nnx.Param, ...)
    jax_args, jax_kwargs = mapped(args, to_jax_argument), mapped(kwargs, to_jax_argument)

    def call(params: Any, leaves: dict[str, Any]) -> tuple[Any, Any]:
        module = nnx.merge(graph, params, rest, copy=True)
        output = module(*replaced(jax_args, "args", leaves), **replaced(jax_kwargs, "kwargs", leaves))
        return output, _buffers(module)

    outputs, param_grads, leaf_grads, buffers = run_jax(call, params, leaves, active, id, jit)
    grads = dict(leaf_grads)
    if any(active):
        pulled = nnx.merge(graph, param_grads, rest, copy=True)
        grads |= {f"parameter {key}": value[...] for key, value in pulled.named_parameters()}
    arrays = lambda tree: jax.tree.map(np.asarray, tree)  # noqa: E731
    return Run(arrays(outputs), arrays(grads), arrays(buffers))


def _static_findings(twin: nn.Module, module: Any) -> list[str]:
    """Compare what stands before any call: state_dict in keys, order and bits, and repr."""
    problems = []
    ours, theirs = state_dict(twin), {key: numpy(v) for key, v in module.state_dict().items()}
    if list(ours) != list(theirs):
        problems.append(f"state_dict keys {list(ours)}, PyTorch's are {list(theirs)}")
    elif any(ours[k].tobytes() != theirs[k].tobytes() or ours[k].dtype != theirs[k].dtype for k in theirs):
        problems.append("state_dict is not bit-exact")
    else:
        module.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in ours.items()})
    if repr(twin) != repr(module):
        problems.append(f"repr {twin!r}, PyTorch's is {module!r}")
    return problems


def module_findings(name: str, number: int, entry: Any, training: bool, dtype: str, jit: bool) -> list[str]:
    """Return everything in which a module differs from PyTorch's on one input of the database."""
    id = f"{name}[{number}] {'train' if training else 'eval'}"
    single = dtype == "float32"
    call = entry.forward_input
    with jax.enable_x64(not single), quiet():
        exact_args, exact_kwargs = cast(call.args, torch.float64), cast(call.kwargs, torch.float64)
        module = module_torch(name, entry, training, torch.float64, id)
        exact = run_torch(module, exact_args, exact_kwargs, module, id)
        rough = None
        fresh = module_torch(name, entry, training, torch.float32 if single else torch.float64, id)
        twin = made_twin(fresh)
        problems = _static_findings(twin, fresh)
        args, kwargs = exact_args, exact_kwargs
        if single:
            args, kwargs = cast(call.args, torch.float32), cast(call.kwargs, torch.float32)
            rough = []
            for draw in range(ROUNDING_DRAWS + 1):
                rough_module = module_torch(name, entry, training, torch.float32, id)
                rough_module, *moved = nudged((rough_module, args, kwargs), draw)
                rough.append(run_torch(rough_module, *moved, rough_module, id))
        active = _active(module, exact_args, exact_kwargs, id)
        found = jax_module_run(twin, args, kwargs, active, id, jit)
        problems += differences(found, exact, rough)
        if not single and not problems:
            row = tally("module", name)
            row.worst64 = max(row.worst64, worst_error(found, exact))
    return [f"{id}: {problem}" for problem in problems]


def _active(function: Any, args: Any, kwargs: Any, id: str) -> list[bool]:
    """Which outputs have a gradient in PyTorch."""
    seed(f"{id} run")
    return [output.requires_grad for output in flat(function(*args, **kwargs), torch.Tensor)]


# ---------------------------------------------------------------------------------------------------------- functions


def function_inputs(name: str) -> list[Any]:
    op = FUNCTIONS[name]
    dtype = torch.int64 if name == "one_hot" else torch.float64
    seed(name)
    with remembered_arguments(), quiet():
        return list(op.sample_inputs("cpu", dtype, requires_grad=op.supports_autograd and dtype.is_floating_point))


def jax_name(name: str) -> str:
    return name.split(" (")[0]


def jax_function(name: str) -> Callable[..., Any]:
    """Return our function with the argument order of the database, which for two puts the differentiable one first."""
    function = getattr(F, jax_name(name))
    if jax_name(name) not in ("embedding", "embedding_bag"):
        return function
    return lambda weight, index, **kwargs: function(index, weight, **kwargs)


def _drawn(op: Any, args: Any, kwargs: Any, id: str) -> list[jax.Array]:
    """Return what PyTorch draws: the same seed on ones tells which elements a dropout keeps, y / x rrelu's slopes."""
    x, p, rrelu = args[0], kwargs.get("p", 0.5), "rrelu" in op.name
    training = kwargs.get("training", not rrelu and "alpha" not in op.name)
    if not training or x.numel() == 0 or (p in (0.0, 1.0) and not rrelu):
        return []
    seed(f"{id} run")
    output = op(x.detach() if rrelu else torch.ones_like(x), *args[1:], **kwargs).detach()
    if rrelu:
        return [jnp.asarray(torch.where(x < 0, output / x, 1.0).detach().numpy())]
    kept = output == output.max() if "alpha" in op.name else output != 0
    axes = {"dropout3d": x.ndim - 3, "dropout2d": 2, "feature_alpha_dropout": 2}.get(op.name.split(".")[-1], x.ndim)
    return [jnp.asarray(kept[(..., *(slice(1),) * (x.ndim - axes))].numpy())]


class _Drawn(TorchDispatchMode):
    """Collect the masks and the uniform numbers that PyTorch draws inside a function, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[jax.Array] = []
        self.uniform: list[jax.Array] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.bernoulli_.float:
            self.masks.append(jnp.asarray((output != 0).numpy()))
        if func is torch.ops.aten.rand.default:
            self.uniform.append(to_jax(output))
        return output


def _attention_masks(op: Any, args: Any, kwargs: Any, id: str) -> list[jax.Array] | None:
    with _Drawn() as drawn:
        seed(f"{id} run")
        op(*args, **kwargs)
    return drawn.masks or None


def _samples(op: Any, args: Any, kwargs: Any, id: str) -> jax.Array:
    """Return the random positions that PyTorch draws for a fractional pooling."""
    with _Drawn() as drawn:
        seed(f"{id} run")
        op(*args, **kwargs)
    return drawn.uniform[0]


def function_findings(name: str, number: int, sample: Any, dtype: str, jit: bool) -> list[str]:
    """Return everything in which a function differs from PyTorch's on one input of the database."""
    id = f"{name}[{number}]"
    single = dtype == "float32"
    op, function = FUNCTIONS[name], jax_function(name)
    with jax.enable_x64(not single), quiet():

        def arguments(kind: Any) -> tuple[Any, Any]:
            return cast((sample.input, *sample.args), kind), cast(sample.kwargs, kind)

        exact_args, exact_kwargs = arguments(torch.float64)
        exact = run_torch(op, exact_args, exact_kwargs, None, id)
        active = _active(op, exact_args, exact_kwargs, id)
        args, kwargs, rough = exact_args, exact_kwargs, None
        if single:
            args, kwargs = arguments(torch.float32)
            rough = [run_torch(op, *nudged((args, kwargs), draw), None, id) for draw in range(ROUNDING_DRAWS + 1)]
        leaves = {key: to_jax(value) for key, value in named(args, kwargs, is_torch_leaf).items()}
        jax_args, jax_kwargs = mapped(args, to_jax_argument), mapped(kwargs, to_jax_argument)
        if "fractional" in name and kwargs.get("_random_samples") is None:
            jax_kwargs["_random_samples"] = _samples(op, args, kwargs, id)

        def call(_: Any, leaves: dict[str, Any]) -> tuple[Any, Any]:
            return function(*replaced(jax_args, "args", leaves), **replaced(jax_kwargs, "kwargs", leaves)), {}

        masks = _drawn(op, args, kwargs, id) if "dropout" in name or "rrelu" in name else None
        if "attention" in name:
            masks = _attention_masks(op, args, kwargs, id)
        if masks is None:
            outputs, _, grads, _ = run_jax(call, {}, leaves, active, id, jit)
        else:
            with replay_masks(masks):
                outputs, _, grads, _ = run_jax(call, {}, leaves, active, id, jit)
        found = Run([np.asarray(o) for o in outputs], {k: np.asarray(v) for k, v in grads.items()}, {})
        problems = differences(found, exact, rough)
        if not single and not problems:
            row = tally("function", name)
            row.worst64 = max(row.worst64, worst_error(found, exact))
    return [f"{id}: {problem}" for problem in problems]


# ------------------------------------------------------------------------------------------------------------- errors


def _raised(error: BaseException) -> str | None:
    """Say why an error is not a clear one of our own, or return None."""
    if not isinstance(error, (ValueError, TypeError, IndexError, KeyError, NotImplementedError)):
        return f"{type(error).__name__}: {error}"
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return None if last.startswith(PACKAGE) else f"raised in {last}, not by jaxport: {type(error).__name__}: {error}"


def module_error_findings(name: str) -> tuple[int, list[str]]:
    """Return how many inputs of a module must raise, and which do not."""
    info = MODULES[name]
    if info.module_error_inputs_func is None:
        return 0, []
    seed(f"{name} errors")
    problems = []
    with remembered_arguments(), quiet(), jax.enable_x64(True):
        samples = info.module_error_inputs_func(
            info, device="cpu", dtype=torch.float64, requires_grad=False, training=True
        )
        for number, sample in enumerate(samples):
            entry = sample.module_error_input
            try:
                twin = build(name, entry.constructor_input.args, entry.constructor_input.kwargs)
                if sample.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
                    problems.append(f"{name} error {number}: no error where PyTorch says {sample.error_regex!r}")
                    continue
                # A module without parameters keeps the dtypes that it was given.
                if next(twin.parameters(), None) is not None:
                    twin.to(jnp.float64)
                call = entry.forward_input
                twin(*mapped(call.args, to_jax_argument), **mapped(call.kwargs, to_jax_argument))
                problems.append(f"{name} error {number}: no error where PyTorch says {sample.error_regex!r}")
            except Exception as error:
                if why := _raised(error):
                    problems.append(f"{name} error {number} ({sample.error_regex}): {why}")
    return len(samples), problems


def function_error_findings(name: str) -> tuple[int, list[str]]:
    """Return how many inputs of a function must raise, and which do not."""
    op, function = FUNCTIONS[name], jax_function(name)
    if op.error_inputs_func is None:
        return 0, []
    seed(f"{name} errors")
    problems = []
    with quiet(), jax.enable_x64(True):
        samples = list(op.error_inputs("cpu"))
        for number, error_input in enumerate(samples):
            sample = error_input.sample_input
            args = mapped((sample.input, *sample.args), to_jax_argument)
            try:
                function(*args, **mapped(sample.kwargs, to_jax_argument))
                problems.append(f"{name} error {number}: no error where PyTorch says {error_input.error_regex!r}")
            except Exception as error:
                if why := _raised(error):
                    problems.append(f"{name} error {number} ({error_input.error_regex}): {why}")
    return len(samples), problems
