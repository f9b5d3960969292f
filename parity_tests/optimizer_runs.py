"""The same steps by an optimiser of both frameworks, on the same gradients: parameters and state after each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import findings32, generator, layout_findings, rounded

from jaxport import optim
from jaxport.parity.tolerances import LBFGS_RTOL, OPTIMIZER_RTOL

torch = pytest.importorskip("torch")

STEPS = 20
Arrays = dict[str, np.ndarray]
Trajectory = list[Arrays]
OWN_FIELDS = ("lr", "step", "momentum")

# A network with every kind of leaf: tanh(x Wᵀ + b) · s, and a leaf that never gets a gradient.
SHAPES = {"matrix": (5, 3), "vector": (5,), "scalar": (), "unused": (2, 3)}
MATRICES = {"matrix": (5, 3), "wide": (2, 5), "unused": (2, 3)}
TABLES = {"table": (7, 3), "vector": (6,), "unused": (2, 3)}


def shapes(kind: str) -> dict[str, tuple[int, ...]]:
    return {"Muon": MATRICES, "SparseAdam": TABLES}.get(kind, SHAPES)


def first_params(kind: str) -> Arrays:
    rng = generator(f"{kind} parameters")
    return {key: rounded(0.3 + rng.standard_normal(shape)) for key, shape in shapes(kind).items()}


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = generator("data")
    return rounded(0.2 + rng.standard_normal((8, 3))), rounded(rng.standard_normal((8, 5)))


def network_loss(params: Any, x: Any, y: Any, tanh: Callable[[Any], Any]) -> Any:
    """Return the loss in the framework that `tanh` belongs to."""
    hidden = tanh(x @ params["matrix"].T + (params["vector"][None] if "vector" in params else 0.0))
    output = hidden @ params["wide"].T if "wide" in params else hidden * params["scalar"]
    residual = output - y[:, : output.shape[1]]
    return (residual * residual).mean() + 0.0 * params["unused"].sum()


def _sparse_grads(step: int) -> Arrays:
    rng = generator("sparse", step)
    rows = {key: rng.random((shape[0], *(1,) * (len(shape) - 1))) < 0.5 for key, shape in TABLES.items()}
    rows["unused"][:] = False
    return {key: rounded((0.1 + rng.standard_normal(shape)) * rows[key]) for key, shape in TABLES.items()}


def _torch_grads(kind: str, leaves: dict[str, Any], step: int) -> Arrays:
    """Return the gradients at the parameters that PyTorch has reached, as float32 values."""
    if kind == "SparseAdam":
        return _sparse_grads(step)
    x, y = map(torch.from_numpy, data())
    loss = network_loss(leaves, x, y, torch.tanh)
    grads = torch.autograd.grad(loss, list(leaves.values()))
    # Some noise, as batches bring it: Rprop sees turns, RMSprop's variance stays above its mean's square.
    rng = generator(f"{kind} noise", step)
    noise = {key: 0.3 * rng.standard_normal(shape) * (key != "unused") for key, shape in shapes(kind).items()}
    return {key: rounded(grad.numpy() + noise[key]) for key, grad in zip(leaves, grads, strict=True)}


class TorchRun:
    """PyTorch's optimiser on leaves by name."""

    def __init__(self, kind: str, options: dict[str, Any], params: Arrays, dtype: Any) -> None:
        self.kind, self.steps = kind, 0
        self.leaves = {key: torch.nn.Parameter(torch.tensor(value, dtype=dtype)) for key, value in params.items()}
        self.optimizer = getattr(torch.optim, kind)(list(self.leaves.values()), **options)

    def step(self, grads: Arrays) -> Arrays:
        for key, leaf in self.leaves.items():
            grad = torch.tensor(grads[key], dtype=leaf.dtype)
            leaf.grad = grad.to_sparse(1) if self.kind == "SparseAdam" else grad
        self.optimizer.step()
        self.steps += 1
        return self.row()

    def row(self) -> Arrays:
        row = {f"params/{key}": leaf.detach().numpy().copy() for key, leaf in self.leaves.items()}
        for key, leaf in self.leaves.items():
            row[f"step/{key}"] = np.asarray(self.steps)  # SGD and Muon count none
            for name, value in self.optimizer.state[leaf].items():
                if value is not None:
                    row[f"{name}/{key}"] = np.asarray(int(value)) if name == "step" else value.numpy().copy()
        return row


def torch_run(
    kind: str, options: dict[str, Any], dtype: Any, grads: Trajectory | None = None
) -> tuple[Trajectory, Trajectory]:
    """Return PyTorch's trajectory and the gradients of each step: its own, unless `grads` are given."""
    run = TorchRun(kind, options, first_params(kind), dtype)
    rows, used = [], []
    for step in range(STEPS):
        used.append(grads[step] if grads is not None else _torch_grads(kind, run.leaves, step))
        rows.append(run.step(used[-1]))
    return rows, used


def state_row(params: Any, state: Any) -> Arrays:
    """Return parameters and optimiser state by PyTorch's names."""
    row = {f"params/{key}": leaf for key, leaf in params.items()}
    for name, tree in state._asdict().items():
        if name in OWN_FIELDS or tree is None:
            continue
        leaves = dict.fromkeys(params, tree) if isinstance(tree, jax.Array) else tree
        row |= {f"{name}/{key}": leaf for key, leaf in leaves.items() if leaf is not None}
    return row | {f"step/{key}": state.step for key in params}


def as_tree(arrays: Arrays, dtype: str) -> dict[str, jax.Array]:
    return {key: jnp.asarray(value, dtype) for key, value in arrays.items()}


def jax_run(
    kind: str,
    options: dict[str, Any],
    grads: Trajectory,
    dtype: str,
    make: Callable[..., optax.GradientTransformation] | None = None,
) -> Trajectory:
    """Return our trajectory on those gradients, by one compiled `lax.scan`."""
    with jax.enable_x64(dtype == "float64"):
        optimizer = (make or getattr(optim, kind))(**jax_options(options))
        params = as_tree(first_params(kind), dtype)

        def body(carry: Any, step: Any) -> Any:
            params, state = carry
            updates, state = optimizer.update(step, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), state_row(params, state)

        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[as_tree(step, dtype) for step in grads])
        scan = jax.jit(lambda params, steps: jax.lax.scan(body, (params, optimizer.init(params)), steps)[1])
        rows = jax.tree.map(np.asarray, scan(params, stacked))
    return [{key: value[i] for key, value in rows.items()} for i in range(len(grads))]


def updates_of(inner: Any, params: Any, grads: list[Any]) -> list[Any]:
    """Return the parameters after each step of an optax transformation."""
    with jax.enable_x64(True):
        values: Any = {key: jnp.asarray(value) for key, value in params.items()}
        state, rows = inner.init(values), []
        for step in grads:
            updates, state = inner.update({key: jnp.asarray(value) for key, value in step.items()}, state, values)
            values = optax.apply_updates(values, updates)
            rows.append(values)
    return rows


def jax_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return PyTorch's options with tensors as arrays."""

    def convert(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(convert, value))
        return jnp.asarray(value.numpy()) if isinstance(value, torch.Tensor) else value

    return {name: convert(value) for name, value in options.items()}


def torch_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return options that PyTorch runs on the CPU: `capturable` asks for a GPU."""
    return {name: value for name, value in options.items() if name != "capturable"}


# ----------------------------------------------------------------------------------------------------------- judging


def distance(found: Any, wanted: Any) -> float:
    """Return the largest difference over the largest magnitude; infinite where one is NaN and the other is not."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    if (np.isnan(found) != np.isnan(wanted)).any():
        return float("inf")
    error, scale = np.nanmax(np.abs(found - wanted), initial=0.0), np.nanmax(np.abs(wanted), initial=0.0)
    return float(error / scale) if scale else float("inf") if error else 0.0


def trajectory_findings(found: Trajectory, wanted: Trajectory, rtol: float) -> tuple[list[str], float]:
    """Return where float64 rows differ by more than `rtol` of scale, and the largest difference."""
    if set(found[-1]) != set(wanted[-1]):
        return [f"state: {sorted(found[-1])}, PyTorch has {sorted(wanted[-1])}"], float("inf")
    lines, worst = [], 0.0
    for step, (mine, theirs) in enumerate(zip(found, wanted, strict=True), 1):
        for key, value in theirs.items():
            lines += layout_findings(f"step {step} {key}", np.asarray(mine[key]), np.asarray(value))
            off = distance(mine[key], value)
            worst = max(worst, off)
            if off > rtol:
                lines.append(f"step {step} {key}: off by {off:.3g} of scale")
    return lines, worst


def run_findings(
    kind: str, options: dict[str, Any], dtype: str = "float64", make: Callable[..., Any] | None = None
) -> tuple[list[str], float]:
    """Return where parameters or state differ after any step, and the worst float64 error.

    float32 is judged over all steps of a tensor together by PyTorch's own rounding.
    """
    theirs = torch_options(options)
    exact, grads = torch_run(kind, theirs, torch.float64)
    found = jax_run(kind, options, grads, dtype, make)
    if dtype == "float64":
        return trajectory_findings(found, exact, LBFGS_RTOL if kind == "LBFGS" else OPTIMIZER_RTOL)
    rough, _ = torch_run(kind, theirs, torch.float32, grads)

    def stacked(key: str) -> list[np.ndarray]:
        return [np.stack([np.asarray(row[key]) for row in rows]) for rows in (found, rough, exact)]

    if set(found[-1]) != set(rough[-1]):
        return [f"state: {sorted(found[-1])}, PyTorch has {sorted(rough[-1])}"], float("inf")
    return [line for key in exact[-1] for line in findings32(key, *stacked(key))], 0.0
