"""LBFGS in both frameworks: a closure each, 20 updates of up to 20 iterations, compared after every update."""

from __future__ import annotations

import copy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import findings32, generator, layout_findings, rounded
from optimizer_runs import Arrays, Trajectory, as_tree, distance, jax_options, trajectory_findings

from jaxport import optim
from jaxport.parity.tolerances import FLOAT32_FACTOR, LBFGS_RTOL, ROUNDING_DRAWS

torch = pytest.importorskip("torch")

STEPS = 20
SHAPES = {"matrix": (5, 3), "scalar": (), "unused": (2, 3), "vector": (5,)}


def first_params() -> Arrays:
    rng = generator("lbfgs parameters")
    return {key: rounded(0.3 + rng.standard_normal(shape)) for key, shape in SHAPES.items()}


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = generator("lbfgs data")
    return rounded(0.2 + rng.standard_normal((8, 3))), rounded(rng.standard_normal((8, 5)))


def loss(params: Any, x: Any, y: Any, tanh: Any) -> Any:
    """Return a network's loss with a little weight decay, so that its least value is no plain."""
    residual = tanh(x @ params["matrix"].T + params["vector"][None]) * params["scalar"] - y
    weights = (params["matrix"] ** 2).sum() + (params["vector"] ** 2).sum() + params["scalar"] ** 2
    return (residual * residual).mean() + 0.05 * weights + 0.0 * params["unused"].sum()


class TorchRun:
    """PyTorch's LBFGS on leaves by name, in the order of a pytree."""

    def __init__(self, options: dict[str, Any], params: Arrays, dtype: Any) -> None:
        self.leaves = {key: torch.nn.Parameter(torch.tensor(value, dtype=dtype)) for key, value in params.items()}
        self.optimizer = torch.optim.LBFGS(list(self.leaves.values()), **options)
        self.data = [torch.tensor(array, dtype=dtype) for array in data()]

    def step(self) -> Arrays:
        def closure() -> Any:
            self.optimizer.zero_grad()
            value = loss(self.leaves, *self.data, torch.tanh)
            value.backward()
            return value

        self.optimizer.step(closure)
        return self.row()

    def row(self) -> Arrays:
        state = self.optimizer.state[next(iter(self.leaves.values()))]
        row = {f"params/{key}": leaf.detach().numpy().copy() for key, leaf in self.leaves.items()}
        row |= {name: np.asarray(state[name]) for name in ("n_iter", "func_evals")}
        row |= {name: state[name].numpy().copy() for name in ("d", "prev_flat_grad")}
        row |= {name: np.asarray(float(state[name])) for name in ("t", "H_diag", "prev_loss")}
        return row | {
            "ro": np.array([float(value) for value in state["ro"]]),
            "old_dirs": np.array([value.numpy() for value in state["old_dirs"]]),
            "old_stps": np.array([value.numpy() for value in state["old_stps"]]),
        }


def torch_run(options: dict[str, Any], dtype: Any) -> Trajectory:
    run = TorchRun(options, first_params(), dtype)
    return [run.step() for _ in range(STEPS)]


def state_row(params: Any, state: Any) -> Arrays:
    size = state.ro.shape[0]
    places = [(int(state.oldest) + i) % size for i in range(int(state.stored))]
    row = {f"params/{key}": np.asarray(leaf) for key, leaf in params.items()}
    fields = ("n_iter", "func_evals", "d", "prev_flat_grad", "t", "H_diag", "prev_loss")
    row |= {name: np.asarray(getattr(state, name)) for name in fields}
    return row | {name: np.asarray(getattr(state, name))[places] for name in ("ro", "old_dirs", "old_stps")}


class JaxRun:
    """Our LBFGS, compiled once."""

    def __init__(self, options: dict[str, Any], params: Arrays, dtype: str) -> None:
        self.optimizer = optim.LBFGS(**jax_options(options))
        self.params: Any = as_tree(params, dtype)
        self.state = self.optimizer.init(self.params)
        x, y = (jnp.asarray(array, dtype) for array in data())

        def value_fn(params: Any) -> jax.Array:
            return loss(params, x, y, jnp.tanh)

        def update(params: Any, state: Any) -> Any:
            value, grads = jax.value_and_grad(value_fn)(params)
            updates, state = self.optimizer.update(grads, state, params, value=value, value_fn=value_fn)
            return optax.apply_updates(params, updates), state

        self.update = jax.jit(update)

    def step(self) -> Arrays:
        self.params, self.state = self.update(self.params, self.state)
        return state_row(self.params, self.state)


def _jittered(run: TorchRun, options: dict[str, Any], rng: np.random.Generator) -> TorchRun:
    """Return a copy of PyTorch's run before its next update, each parameter's last bit changed at random."""
    params = {key: leaf.detach().numpy() for key, leaf in run.leaves.items()}
    params = {key: value * (1.0 + rng.choice([-1, 0, 1], value.shape) * 2.0**-52) for key, value in params.items()}
    other = TorchRun(options, params, torch.float64)
    other.optimizer.load_state_dict(copy.deepcopy(run.optimizer.state_dict()))
    return other


def resynchronised(options: dict[str, Any]) -> tuple[list[str], float]:
    """Return where our updates differ, each from the state that PyTorch had before it."""
    theirs = TorchRun(options, first_params(), torch.float64)
    mine = JaxRun(options, first_params(), "float64")
    rng, lines, worst = generator("last bits"), [], 0.0
    for step in range(STEPS):
        if step:
            mine.params = as_tree({key: leaf.detach().numpy() for key, leaf in theirs.leaves.items()}, "float64")
            mine.state = optim.from_torch(theirs.optimizer, mine.params, list(theirs.leaves))[1]
        others = [_jittered(theirs, options, rng) for _ in range(ROUNDING_DRAWS)]
        found, wanted = _last_pair(mine.step()), _last_pair(theirs.step())
        drawn = [_last_pair(other.step()) for other in others]
        for key, value in wanted.items():
            lines += layout_findings(f"step {step + 1} {key}", found[key], value)
            own = max(distance(row[key], value) for row in drawn)
            off, limit = distance(found[key], value), LBFGS_RTOL + FLOAT32_FACTOR * own
            worst = max(worst, off) if own < LBFGS_RTOL / FLOAT32_FACTOR else worst
            lines += [f"step {step + 1} {key}: off by {off:.3g} of scale, limit {limit:.3g}"] if off > limit else []
    return lines, worst


def _last_pair(row: Arrays) -> Arrays:
    """Leave the history out but for its length and its last pair: what is carried over stays as it was."""
    last = {name: row[name][-1:] for name in ("ro", "old_dirs", "old_stps")}
    return row | last | {"pairs": np.asarray(len(row["ro"]))}


def free_running(options: dict[str, Any], dtype: str) -> Trajectory:
    run = JaxRun(options, first_params(), dtype)
    return [run.step() for _ in range(STEPS)]


def run_findings(options: dict[str, Any], dtype: str = "float64") -> tuple[list[str], float]:
    """Return where parameters, state or the counts of iterations and evaluations differ, and the worst error.

    In float64 each update starts from PyTorch's state. float32 is judged by the parameters, over all updates.
    """
    with jax.enable_x64(dtype == "float64"):
        if dtype == "float64":
            return resynchronised(options)
        found = free_running(options, dtype)
    rough, exact = torch_run(options, torch.float32), torch_run(options, torch.float64)

    def stacked(key: str) -> list[np.ndarray]:
        return [np.stack([row[key] for row in rows]) for rows in (found, rough, exact)]

    return [line for key in SHAPES for line in findings32(key, *stacked(f"params/{key}"))], 0.0


def free_findings(options: dict[str, Any]) -> tuple[list[str], float]:
    """Return where 20 updates on end differ in float64."""
    with jax.enable_x64(True):
        found = free_running(options, "float64")
    return trajectory_findings(found, torch_run(options, torch.float64), LBFGS_RTOL)
