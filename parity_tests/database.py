"""PyTorch's own test databases, run through both frameworks: every input's outputs, gradients and buffers.

``module_db`` lists the modules of torch.nn with constructor arguments and inputs, ``op_db`` the functions of
nn.functional, both with inputs that must raise. They are private to PyTorch, so they are pinned by its version.
"""

from __future__ import annotations

import copy
import inspect
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import findings32, findings64, rounded, zero_but_for_rounding, zero_findings
from database_extra import EXTRA
from flax import nnx

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.interop import load_state_dict

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

PINNED = "2.13"
if not torch.__version__.startswith(PINNED):
    pytest.skip(
        f"PyTorch's test databases are pinned to {PINNED}, this is {torch.__version__}", allow_module_level=True
    )
try:
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import ModuleErrorEnum as ModuleErrorEnum
    from torch.testing._internal.common_modules import module_db
except ImportError as error:  # pragma: no cover
    pytest.skip(f"PyTorch's test databases cannot be imported: {error}", allow_module_level=True)
# Importing them forbids setting torch.backends' flags in this process, which other tests do.
torch.backends.disable_global_flags.__globals__["__allow_nonbracketed_mutation_flag"] = True

LAZY = "Lazy"
DATABASE_MODULES = {info.name.removeprefix("nn."): info for info in module_db if LAZY not in info.name}
MODULES: dict[str, Any] = DATABASE_MODULES | EXTRA
FUNCTIONS = {
    f"{op.name.removeprefix('nn.functional.')}{f' ({op.variant_test_name})' if op.variant_test_name else ''}": op
    for op in op_db
    if op.name.startswith("nn.functional.")
}


def seed(name: str) -> None:
    torch.manual_seed(zlib.crc32(name.encode()))


_remembering = [False]


def _new(cls: type, *args: Any, **kwargs: Any) -> Any:
    made = object.__new__(cls)
    if _remembering[0]:
        object.__setattr__(made, "_constructed_with", (args, kwargs))
    return made


# Once and for good: a class whose __new__ was taken away again refuses its constructor's arguments.
torch.nn.Module.__new__ = staticmethod(_new)


@contextmanager
def remembered_arguments() -> Iterator[None]:
    """Let every torch module made inside remember its constructor's arguments, so that its twin can be made."""
    before, _remembering[0] = _remembering[0], True
    try:
        yield
    finally:
        _remembering[0] = before


# ------------------------------------------------------------------------------------------------------ translation


def mapped(tree: Any, leaf: Callable[[Any], Any]) -> Any:
    """Apply `leaf` to everything inside lists, tuples and dictionaries."""
    if isinstance(tree, torch.Size):
        return tuple(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(value, leaf) for value in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(mapped(value, leaf) for value in tree)
    if isinstance(tree, dict):
        return type(tree)((key, mapped(value, leaf)) for key, value in tree.items())
    return leaf(tree)


def cast(tree: Any, dtype: Any) -> Any:
    """Copy: floating tensors become leaves of `dtype` with float32's values, so that both precisions start the same."""

    def leaf(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            own = value.detach().clone()
            if own.is_floating_point():
                own = own.float().to(dtype).requires_grad_(value.requires_grad)
            return own
        if isinstance(value, torch.nn.Module):
            return copy.deepcopy(value).to(dtype)
        return dtype if value in (torch.float32, torch.float64) and isinstance(value, torch.dtype) else value

    return mapped(tree, leaf)


def numpy(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    # A copy: buffers are updated in place by the next call.
    return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy().copy()


def to_jax(tensor: Any) -> jax.Array:
    array = numpy(tensor)
    if tensor.dtype == torch.bfloat16:
        return jnp.asarray(array, jnp.bfloat16)
    if array.dtype == np.int64 and not jax.config.jax_enable_x64:
        array = array.astype(np.int32)
    return jnp.asarray(array)


def to_jax_argument(value: Any) -> Any:
    """Return the counterpart of anything that the databases pass."""
    if isinstance(value, torch.Tensor):
        return to_jax(value)
    if isinstance(value, torch.dtype):
        return jnp.dtype(str(value).removeprefix("torch."))
    if isinstance(value, torch.nn.Module):
        return made_twin(value)
    if type(value).__module__.startswith("torch.nn.modules") and hasattr(nn, type(value).__name__):
        fields = {name: getattr(value, name) for name in inspect.signature(type(value)).parameters}
        return getattr(nn, type(value).__name__)(**fields)
    if callable(value) and getattr(value, "__module__", "").startswith("torch"):
        return getattr(F, value.__name__)
    return value


def build(name: str, args: Any, kwargs: Any, rngs: nnx.Rngs | None = None) -> nn.Module:
    """Make a jaxport module by PyTorch's name and arguments; its random values come from `rngs`, or from any."""
    made = getattr(nn, name)
    args, kwargs = mapped(args, to_jax_argument), mapped(kwargs, to_jax_argument)
    kwargs = {key: value for key, value in kwargs.items() if key != "device"}
    if "rngs" in inspect.signature(made.__init__).parameters:
        kwargs["rngs"] = nnx.Rngs(0) if rngs is None else rngs
    return made(*args, **kwargs)


def made_twin(module: Any) -> nn.Module:
    """Make the twin of a torch module from the arguments that it remembers, with its weights and mode."""
    args, kwargs = module._constructed_with
    twin = build(type(module).__name__, args, kwargs)
    own = [t.dtype for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
    if own:
        twin.to(jnp.dtype(str(own[0]).removeprefix("torch.")))
    load_state_dict(twin, {key: to_jax(value) for key, value in module.state_dict().items()})
    return twin.train(module.training)


def stirred(module: Any, name: str) -> Any:
    """Leave no parameter or statistic at a value that hides mistakes (zeros, ones)."""
    seed(f"{name} state")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for key, buffer in module.named_buffers():
            leaf = key.rpartition(".")[2]
            if leaf == "running_var":
                buffer.copy_(torch.rand_like(buffer) + 0.5)
            elif leaf == "running_mean":
                buffer.copy_(torch.randn_like(buffer))
            elif leaf == "num_batches_tracked":
                buffer.fill_(3)
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.float())
    return module


# -------------------------------------------------------------------------------------------------------- both sides


@dataclass
class Run:
    """What one side gave: outputs, gradients by name, buffers by name."""

    outputs: list[Any]
    grads: dict[str, Any]
    buffers: dict[str, Any]


def flat(tree: Any, leaf_type: Any) -> list[Any]:
    """Return the arrays inside nested outputs, in order."""
    if isinstance(tree, leaf_type):
        return [tree]
    if isinstance(tree, (list, tuple)):
        return [leaf for value in tree for leaf in flat(value, leaf_type)]
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in flat(value, leaf_type)]
    return []


def named(args: Any, kwargs: Any, is_leaf: Callable[[Any], bool]) -> dict[str, Any]:
    """Return the arrays among arguments that get gradients, each with its path."""
    found: dict[str, Any] = {}

    def walk(tree: Any, path: str) -> None:
        if is_leaf(tree):
            found[path] = tree
        elif isinstance(tree, (list, tuple)):
            for index, value in enumerate(tree):
                walk(value, f"{path}[{index}]")
        elif isinstance(tree, dict):
            for key, value in tree.items():
                walk(value, f"{path}[{key}]")

    walk(args, "args")
    walk(kwargs, "kwargs")
    return found


def replaced(tree: Any, path: str, values: dict[str, Any]) -> Any:
    """Put `values` back at their paths."""
    if path in values:
        return values[path]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(replaced(v, f"{path}[{i}]", values) for i, v in enumerate(tree)))
    if isinstance(tree, (list, tuple)):
        return type(tree)(replaced(v, f"{path}[{i}]", values) for i, v in enumerate(tree))
    if isinstance(tree, dict):
        return {key: replaced(value, f"{path}[{key}]", values) for key, value in tree.items()}
    return tree


def is_torch_leaf(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def cotangents(outputs: list[Any], name: str) -> list[np.ndarray]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [rounded(0.3 + rng.standard_normal(tuple(output.shape))) for output in outputs]


def run_torch(function: Callable[..., Any], args: Any, kwargs: Any, module: Any, name: str) -> Run:
    """Run PyTorch: `module` is None for a function."""
    seed(f"{name} run")
    outputs = flat(function(*args, **kwargs), torch.Tensor)
    leaves = named(args, kwargs, is_torch_leaf)
    if module is not None:
        leaves |= {f"parameter {key}": value for key, value in module.named_parameters()}
    active = [output for output in outputs if output.requires_grad]
    grads: dict[str, Any] = {}
    if active and leaves:
        weights = cotangents(active, name)
        pulled = torch.autograd.grad(
            active,
            list(leaves.values()),
            [torch.from_numpy(w).to(o.dtype) for w, o in zip(weights, active, strict=True)],
            allow_unused=True,
            materialize_grads=True,
        )
        grads = {key: numpy(value) for key, value in zip(leaves, pulled, strict=True)}
    buffers = {} if module is None else {key: numpy(value) for key, value in module.named_buffers()}
    return Run([numpy(output) for output in outputs], grads, buffers)


def run_jax(
    call: Callable[[Any, Any, Any], tuple[Any, Any]],
    params: Any,
    leaves: dict[str, Any],
    active: list[bool],
    name: str,
    jit: bool,
) -> tuple[list[Any], Any, dict[str, Any], Any]:
    """Run ``call(params, leaves) → (outputs, buffers)`` and pull random cotangents back through it."""

    def function(params: Any, leaves: dict[str, Any]) -> tuple[list[Any], tuple[list[Any], Any]]:
        tree, buffers = call(params, leaves)
        outputs = flat(tree, (jax.Array, np.ndarray))
        return [o for o, is_active in zip(outputs, active, strict=True) if is_active], (outputs, buffers)

    def both(params: Any, leaves: dict[str, Any]) -> tuple[list[Any], Any, dict[str, Any], Any]:
        if not any(active):
            _, (outputs, buffers) = function(params, leaves)
            return outputs, {}, {}, buffers
        chosen, pullback, (outputs, buffers) = jax.vjp(function, params, leaves, has_aux=True)
        weights = cotangents(chosen, name)
        pulled = pullback([jnp.asarray(w).astype(o.dtype) for w, o in zip(weights, chosen, strict=True)])
        return outputs, *pulled, buffers

    if not jit:
        return both(params, leaves)
    # Thousands of programs run once each: in float64, where rounding is far below what is judged, compile them quickly.
    quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(both, compiler_options=quick if jax.config.jax_enable_x64 else None)(params, leaves)


# ------------------------------------------------------------------------------------------------------- comparisons


def differences(found: Run, wanted: Run, rough: list[Run] | None = None) -> list[str]:
    """Judge a run in float64, or in float32 when PyTorch's own `rough` runs are given."""
    problems = []
    if len(found.outputs) != len(wanted.outputs):
        return [f"{len(found.outputs)} outputs, PyTorch has {len(wanted.outputs)}"]
    for part in ("grads", "buffers"):
        ours, theirs = getattr(found, part), getattr(wanted, part)
        if set(ours) != set(theirs):
            problems.append(f"{part} of {sorted(ours)}, PyTorch has {sorted(theirs)}")
    rows = [(f"output {i}", "outputs", i) for i in range(len(wanted.outputs))]
    rows += [(f"gradient of {key}", "grads", key) for key in wanted.grads if key in found.grads]
    rows += [(f"buffer {key}", "buffers", key) for key in wanted.buffers if key in found.buffers]
    for label, part, key in rows:
        ours, truth = getattr(found, part)[key], getattr(wanted, part)[key]
        if part == "grads" and rough is None and zero_but_for_rounding(truth, wanted.outputs):
            problems += zero_findings(label, ours, truth, wanted.outputs)
        elif rough is None:
            problems += findings64(label, ours, truth)
        else:
            draws = [getattr(run, part)[key] for run in rough]
            problems += _findings32(label, ours, draws, truth)
    return problems


def _findings32(label: str, ours: Any, draws: list[Any], truth: Any) -> list[str]:
    """Judge by the worst of PyTorch's own float32 runs: what one of them allows is allowed."""
    worst_first = sorted(draws, key=lambda draw: -np.nanmax(np.abs(np.subtract(draw, truth, dtype=float)), initial=0.0))
    return min((findings32(label, ours, draw, truth) for draw in worst_first), key=len)


def worst_error(found: Run, wanted: Run) -> float:
    """Return the largest difference over the tensor's largest magnitude."""
    worst = 0.0
    pairs = list(zip(found.outputs, wanted.outputs, strict=True))
    pairs += [
        (found.grads[key], wanted.grads[key])
        for key in wanted.grads
        if not zero_but_for_rounding(wanted.grads[key], wanted.outputs)
    ]
    pairs += [(found.buffers[key], wanted.buffers[key]) for key in wanted.buffers]
    for ours, theirs in pairs:
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        if theirs.dtype.kind == "f":
            finite = np.isfinite(theirs)
            scale = np.abs(theirs[finite]).max(initial=0.0)
            error = np.abs(ours[finite] - theirs[finite]).max(initial=0.0)
            worst = max(worst, float(error / scale) if scale else float(error > 0))
    return worst
