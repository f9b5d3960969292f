"""train: both models trained as their users wrote it, in lockstep, compared after every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from jaxport.errors import UsageError

from . import preflight
from .lint import lint
from .lockstep_run import Lockstep
from .observe_torch import TorchModel
from .result import Module, Report, Step, Tensor
from .setup import prepare


def train(
    jax_step: Callable[..., Any],
    torch_step: Callable[..., Any],
    batches: Iterable[Sequence[Any]],
    *,
    jax_model: Any,
    torch_model: torch.nn.Module,
    jax_optimizer: Any,
    torch_optimizer: Callable[..., torch.optim.Optimizer],
    weights: str | None = "torch",
    mapping: Mapping[str, str | None] | None = None,
    model_inputs: int = 1,
    dtypes: Sequence[str] = ("float64", "float32"),
    seed: int = 0,
    title: str = "",
) -> Report:
    """Train both models on the same batches, from the same weights, with the users' own steps, and compare.

    After every step the loss, the gradients, the parameters, the optimiser's tensors and the buffers are compared, in
    float64 twice: *resynchronised*, from PyTorch's state before the step, and *free*, each side on its own from the
    first step on. In float32 the resynchronised step is judged by PyTorch's own rounding. Dropouts get the same masks.

    Args:
        jax_step: for a `flax.nnx.Module` ``step(model, optimizer, *batch) → loss``, with an `nnx.Optimizer`; for
            `parity.Linen` and `parity.Function` ``step(params, opt_state, *batch) → (params, opt_state, loss)``, with
            Linen's variables as params.
        torch_step: ``step(model, optimizer, *batch) → loss``; it does all of a step, zero_grad to step.
        batches: one for each step, each a sequence of arrays that both steps get, in PyTorch's order of axes; the JAX
            step gets the model's inputs with the channels last if its model has them so.
        jax_model: the JAX model.
        torch_model: PyTorch's.
        jax_optimizer: an optax optimiser; for Linen and functions it is the one that the step uses.
        torch_optimizer: returns PyTorch's optimiser of parameters: ``partial(torch.optim.Adam, lr=1e-3)``.
        weights: "torch", "jax" or None, as in `compare`.
        mapping: JAX's path → PyTorch's, as in `compare`.
        model_inputs: how many arrays of a batch, from the first, are the model's inputs.
        dtypes: "float64", "float32" or both.
        seed: of the dropout masks.
        title: what the report is called.

    Returns:
        A `Report` with ``steps``; its tensors are those of the first step that differs, or of the last one.

    Raises:
        UsageError: an argument is wrong, or a step does not return what it must.
    """
    start = time.perf_counter()
    given = [[np.asarray(a.detach() if hasattr(a, "detach") else a) for a in batch] for batch in batches]
    if not given:
        raise UsageError("batches: at least one batch is needed")
    steps: list[Step] = []
    tensors: list[Tensor] = []
    with preflight.pinned():
        setup = prepare(
            jax_model,
            (TorchModel(torch_model, torch.float64), TorchModel(torch_model, torch.float32)),
            given[0][:model_inputs],
            weights=weights,
            mapping=mapping,
            dtypes=dtypes,
        )
        settings = lint(setup.jax_layers, setup.torch_layers, setup.alignment.pairs)
        run = Lockstep(setup, jax_model, torch_model, jax_optimizer, torch_optimizer, jax_step, torch_step, seed)
        for number, batch in enumerate(given, 1):
            found, after = run.advance(number, [_in_float32(a) for a in batch])
            steps += found
            if all(t.ok for t in tensors):
                tensors = after
        environment = preflight.environment()
    return Report(
        title=title or f"training {type(torch_model).__name__}, {len(given)} steps",
        tensors=tuple(tensors),
        findings=tuple(dict.fromkeys([*settings, *setup.findings, *run.findings])),
        modules=tuple(Module(path, layer.kind, order=n) for n, (path, layer) in enumerate(setup.torch_layers.items())),
        steps=tuple(steps),
        environment=environment,
        seconds={"train": round(time.perf_counter() - start, 3)},
        settings={"weights": weights, "steps": len(given), "dtypes": list(dtypes), "seed": seed},
    )


def _in_float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind == "f" else array
