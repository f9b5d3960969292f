"""Every module with an input: compiled, under vmap, and in half precision, as PyTorch's."""

from __future__ import annotations

import copy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import findings64
from database import MODULES, cast, flat, made_twin, mapped, named, numpy, replaced, to_jax, to_jax_argument
from database_runs import module_inputs, module_torch, nudged, quiet
from flax import nnx

from jaxport import nn
from jaxport.parity.tolerances import FLOAT32_FACTOR, HALF_FLOOR, ROUNDING_DRAWS

torch = pytest.importorskip("torch")

OURS = [name for name in MODULES if hasattr(nn, name)]
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def pure(name: str, dtype: Any) -> tuple[Any, dict[str, Any], Any, Any, Any]:
    """Return (function of the arrays, the arrays, torch module, its arguments) of a module's first input, evaluated."""
    entry = module_inputs(name, training=False)[0]
    module = module_torch(name, entry, False, dtype, name)
    args, kwargs = cast(entry.forward_input.args, dtype), cast(entry.forward_input.kwargs, dtype)
    twin = made_twin(module)
    graph, state = nnx.split(twin)
    jax_args, jax_kwargs = mapped(args, to_jax_argument), mapped(kwargs, to_jax_argument)
    tensors = named(args, kwargs, lambda value: isinstance(value, torch.Tensor))
    floating = {key: value for key, value in tensors.items() if value.is_floating_point()}
    arrays = {key: to_jax(value) for key, value in (floating or tensors).items()}

    def function(arrays: dict[str, Any]) -> list[Any]:
        merged = nnx.merge(graph, state, copy=True)
        output = merged(*replaced(jax_args, "args", arrays), **replaced(jax_kwargs, "kwargs", arrays))
        return flat(output, (jax.Array, np.ndarray))

    return function, arrays, module, args, kwargs


@pytest.mark.parametrize("name", OURS)
def test_jit_and_vmap(name):
    with jax.enable_x64(True), quiet():
        function, arrays, *_ = pure(name, torch.float64)
        other = {key: value[..., ::-1] if value.ndim else value for key, value in arrays.items()}
        stacked = {key: jnp.stack([arrays[key], other[key]]) for key in arrays}
        mapped_outputs = jax.jit(jax.vmap(function))(stacked)
        single = [function(arrays), function(other)]
        assert len(mapped_outputs) == len(single[0]) > 0
        for index, found in enumerate(mapped_outputs):
            wanted = np.stack([np.asarray(outputs[index]) for outputs in single])
            assert findings64(f"{name} output {index}", found, wanted) == []


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("name", OURS)
def test_half_precision(name, half):
    """The output's dtype is PyTorch's, and its rounding no worse than four times PyTorch's own."""
    with quiet():
        function, arrays, module, args, kwargs = pure(name, HALVES[half])
        found = function(arrays)
        try:
            theirs = flat(module(*args, **kwargs), torch.Tensor)
        except RuntimeError:
            # PyTorch has no such kernel on the CPU: the input's dtype is what every other layer gives.
            floating = [output for output in found if jnp.issubdtype(output.dtype, jnp.floating)]
            assert all(output.dtype == half for output in floating)
            return
        runs = [theirs]
        for draw in range(1, ROUNDING_DRAWS + 1):
            moved, *moved_call = nudged((copy.deepcopy(module), args, kwargs), draw, HALVES[half])
            runs.append(flat(moved(*moved_call[0], **moved_call[1]), torch.Tensor))
        exact = flat(module.double()(*cast(args, torch.float64), **cast(kwargs, torch.float64)), torch.Tensor)
    assert [str(output.dtype) for output in found] == [
        str(to_jax(output).dtype) if output.dtype != torch.bfloat16 else "bfloat16" for output in theirs
    ]
    for ours, truth, *draws in zip(found, exact, *runs, strict=True):
        assert ours.shape == tuple(draws[0].shape)
        if draws[0].is_floating_point():
            rough = [draw.detach().double().numpy() for draw in draws]
            _close_as_pytorch(np.asarray(ours, np.float64), rough, numpy(truth), half)


def _close_as_pytorch(ours: np.ndarray, draws: list[np.ndarray], truth: np.ndarray, half: str) -> None:
    assert (np.isfinite(ours) == np.isfinite(draws[0])).all()
    finite = np.isfinite(np.stack([truth, *draws])).all(0)
    error, *own = (np.abs(side[finite] - truth[finite]).max(initial=0.0) for side in (ours, *draws))
    own = max(own)
    scale = np.abs(truth[finite]).max(initial=0.0)
    assert error <= FLOAT32_FACTOR * own + HALF_FLOOR[half] * scale, f"rounding {error:.3g}, PyTorch's {own:.3g}"
