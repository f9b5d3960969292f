"""The first layer that makes a difference by itself, written as a script that shows it without either model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import nnx

from . import views
from .describe_jax import describe_jax
from .explain import arises, key_of_name
from .observe_torch import TorchModel
from .passes import ModePass
from .result import Finding, Tensor
from .show.repro import write_repro
from .weights import fill


def reproduce(
    run: ModePass, tensors: Sequence[Tensor], jax_model: Any, folder: str | os.PathLike[str]
) -> list[Finding]:
    """Write the script; return where it is, or why there is none; nothing if all agrees.

    Args:
        run: the pass, with each layer run alone.
        tensors: what was compared in it.
        jax_model: the JAX model.
        folder: where the script goes.

    Raises:
        UsageError: it cannot be written there.
    """
    failed = [tensor for tensor in tensors if not tensor.ok]
    own = [t for t in failed if t.kind == "output" and t.torch_path and t.decides and arises(t)]
    if not failed:
        return []
    if not own:
        text = "the difference arises between layers or in a gradient: there is no layer to reproduce it alone"
        return [Finding("repro/none", "info", text)]
    tensor = own[0]
    key, i = key_of_name(tensor.torch_path)
    pair = run.setup.pairs[key[0]]
    model = run.setup.jax_models[-1]
    filled = fill(jax_model, {path: np.asarray(array) for path, array in model.arrays.items()})
    if isinstance(filled, nnx.Module):
        (filled.train if run.training else filled.eval)()
    jax_layer = describe_jax(filled, run.setup.jax_inputs)[pair.jax_path].module
    reference = run.setup.torch32
    if not isinstance(reference, TorchModel):
        return [Finding("repro/none", "info", "a recorded model has no modules to write a script of")]
    torch_layer = reference.module.get_submodule(key[0])
    torch_layer.train(run.training)
    call = run.theirs64.calls[key]
    jax_call = run.ours[next(iter(run.ours))].calls[pair.jax_path, key[1]]
    ours = views.to_torch(jax_call.outputs[i], tensor.axes or tuple(range(jax_call.outputs[i].ndim)))
    orders = [
        views.find_axes(a.shape, b.shape, run.setup.prefers_last(key[0], b.ndim))
        for a, b in zip(jax_call.inputs, call.inputs, strict=False)
    ]
    path = write_repro(
        folder,
        key[0],
        torch_layer=torch_layer,
        jax_layer=jax_layer,
        inputs=call.inputs,
        axes=[*(order or () for order in orders), tensor.axes],
        ours=ours,
        theirs=call.outputs[i],
        dtype="float64" if "64" in run.ours else "float32",
        title=f"{pair.jax_path} against {key[0]}",
    )
    return [Finding("repro/written", "info", f"{path} reproduces it", pair.jax_path, key[0])]
