"""Every optimiser against PyTorch's: parameters and state after each step, over all options."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import all_pairs, both_dtypes, findings32, findings64, generator, label, rounded
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxport import optim

torch = pytest.importorskip("torch")

STEPS = 20
SHAPES = {"matrix": (3, 5), "vector": (7,), "scalar": (), "unused": (2, 3)}
STATE = {"SGD": ["momentum_buffer"], "Adam": ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]}
Arrays = dict[str, np.ndarray]
Trajectory = list[Arrays]


def problem(name: str) -> tuple[Arrays, Trajectory]:
    """Return first parameters and the gradients of every step; "unused" never gets one that is not zero."""
    rng = generator(name)
    params = {key: rounded(0.3 + rng.standard_normal(shape)) for key, shape in SHAPES.items()}
    grads = [
        {key: rounded((0.1 + rng.standard_normal(shape)) * (key != "unused")) for key, shape in SHAPES.items()}
        for _ in range(STEPS)
    ]
    return params, grads


def torch_run(kind: str, options: dict[str, Any], params: Arrays, grads: Trajectory, dtype: Any) -> Trajectory:
    leaves = {key: torch.nn.Parameter(torch.tensor(value, dtype=dtype)) for key, value in params.items()}
    optimizer = getattr(torch.optim, kind)(list(leaves.values()), **options)
    trajectory = []
    for step in grads:
        for key, leaf in leaves.items():
            leaf.grad = torch.tensor(step[key], dtype=dtype)
        optimizer.step()
        row = {f"params/{key}": leaf.detach().numpy().copy() for key, leaf in leaves.items()}
        for key, leaf in leaves.items():
            state = optimizer.state[leaf]
            row |= {f"{name}/{key}": state[name].numpy().copy() for name in STATE[kind] if state.get(name) is not None}
            if "step" in state:
                row[f"step/{key}"] = np.asarray(int(state["step"]))
        trajectory.append(row)
    return trajectory


def jax_run(kind: str, options: dict[str, Any], params: Arrays, grads: Trajectory, dtype: str) -> Trajectory:
    with jax.enable_x64(dtype == "float64"):
        optimizer = getattr(optim, kind)(**options)
        leaves: Any = {key: jnp.asarray(value, dtype) for key, value in params.items()}
        state = optimizer.init(leaves)

        def update(leaves: Any, state: Any, step: Any) -> Any:
            updates, state = optimizer.update(step, state, leaves)
            return optax.apply_updates(leaves, updates), state

        # Compiled in float32; float64 goes step by step, which needs no compilation for each set of options.
        update = jax.jit(update) if dtype == "float32" else update
        trajectory = []
        for step in grads:
            leaves, state = update(leaves, state, {key: jnp.asarray(value, dtype) for key, value in step.items()})
            row = {f"params/{key}": np.asarray(leaf) for key, leaf in leaves.items()}
            for name in STATE[kind]:
                tree = getattr(state, name)
                row |= {} if tree is None else {f"{name}/{key}": np.asarray(leaf) for key, leaf in tree.items()}
            if kind == "Adam":
                row |= {f"step/{key}": np.asarray(state.step) for key in SHAPES}
            trajectory.append(row)
    return trajectory


def optimizer_findings(kind: str, options: dict[str, Any], dtype: str = "float64") -> list[str]:
    """Return where parameters or state differ after any step; float32 is judged over all steps of a leaf together."""
    params, grads = problem(kind)
    exact = torch_run(kind, options, params, grads, torch.float64)
    found = jax_run(kind, options, params, grads, dtype)
    if set(found[0]) != set(exact[0]):
        return [f"state: {sorted(found[0])}, PyTorch has {sorted(exact[0])}"]
    if dtype == "float64":
        pairs = ((i, key) for i in range(STEPS) for key in exact[i])
        return [line for i, key in pairs for line in findings64(f"step {i + 1} {key}", found[i][key], exact[i][key])]
    rough = torch_run(kind, options, params, grads, torch.float32)

    def stacked(key: str) -> list[np.ndarray]:
        return [np.stack([row[key] for row in trajectory]) for trajectory in (found, rough, exact)]

    return [line for key in exact[0] for line in findings32(key, *stacked(key))]


def fail_on(findings: list[str]) -> None:
    if findings:
        pytest.fail("\n".join(findings[:10]), pytrace=False)


SGD_OPTIONS = {
    "lr": [0.1, 0.003],
    "momentum": [0.0, 0.9],
    "dampening": [0.0, 0.3],
    "weight_decay": [0.0, 0.05],
    "nesterov": [False, True],
    "maximize": [False, True],
}
ADAM_OPTIONS = {
    "lr": [0.1, 0.001],
    "betas": [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99), (0.8, 0.0)],
    "eps": [1e-8, 0.1, 0.0],
    "weight_decay": [0.0, 0.05],
    "amsgrad": [False, True],
    "maximize": [False, True],
}


def _nesterov_fits(row: dict[str, Any]) -> bool:
    return not row["nesterov"] or (row["momentum"] > 0 and row["dampening"] == 0)


# With eps = 0 the leaf without a gradient is 0/0 in both; that has a test of its own.
ROWS: list[tuple[str, dict[str, Any]]] = [
    *(("SGD", row) for row in all_pairs(SGD_OPTIONS, _nesterov_fits)),
    *(("Adam", row) for row in all_pairs(ADAM_OPTIONS, lambda row: row["eps"] > 0)),
    ("SGD", {"lr": 0.1}),
    ("SGD", {}),
    ("Adam", {}),
    ("Adam", {"lr": 0.0}),
    ("Adam", {"eps": 0.0}),
    ("Adam", {"eps": 0.0, "amsgrad": True, "weight_decay": 0.1}),
]


@both_dtypes
@pytest.mark.parametrize(("kind", "options"), ROWS, ids=[f"{kind}-{label(options)}" for kind, options in ROWS])
def test_same_steps(kind, options, dtype):
    fail_on(optimizer_findings(kind, options, dtype))


# Zero or a number that is not lost among the subnormal ones.
SMALL = st.just(0.0) | st.floats(1e-6, 1.0)
BETA = st.just(0.0) | st.floats(1e-6, 0.9999)
RATE = st.floats(1e-4, 1.0)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(RATE, SMALL, SMALL, SMALL, st.booleans(), st.booleans())
def test_sgd_with_any_numbers(lr, momentum, dampening, weight_decay, nesterov, maximize):
    nesterov = nesterov and momentum > 0
    options = {"lr": lr, "momentum": momentum, "dampening": 0.0 if nesterov else dampening}
    options |= {"weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize}
    fail_on(optimizer_findings("SGD", options))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(RATE, BETA, BETA, st.floats(1e-10, 0.1), SMALL, st.booleans(), st.booleans())
def test_adam_with_any_numbers(lr, beta1, beta2, eps, weight_decay, amsgrad, maximize):
    options = {"lr": lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": weight_decay}
    fail_on(optimizer_findings("Adam", options | {"amsgrad": amsgrad, "maximize": maximize}))


BAD: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": -0.5}),
    ("SGD", {"lr": 1e-2, "momentum": -0.5}),
    ("SGD", {"lr": 1e-2, "weight_decay": -0.5}),
    ("SGD", {"lr": 1e-2, "nesterov": True}),
    ("SGD", {"lr": 1e-2, "nesterov": True, "momentum": 0.9, "dampening": 0.1}),
    ("Adam", {"lr": -0.5}),
    ("Adam", {"eps": -1e-8}),
    ("Adam", {"weight_decay": -0.1}),
    ("Adam", {"betas": (1.0, 0.0)}),
    ("Adam", {"betas": (0.0, 1.0)}),
    ("Adam", {"betas": (-0.1, 0.9)}),
]


@pytest.mark.parametrize(("kind", "options"), BAD, ids=[f"{kind}-{label(options)}" for kind, options in BAD])
def test_what_pytorch_refuses_is_refused(kind, options):
    with pytest.raises(ValueError, match=r"must|need|Invalid|Nesterov|requires"):
        getattr(torch.optim, kind)([torch.nn.Parameter(torch.ones(2))], **options)
    with pytest.raises(ValueError, match=f"^{kind}: "):
        getattr(optim, kind)(**options)


def test_defaults_are_pytorch_s():
    for kind in STATE:
        ours, theirs = (inspect.signature(getattr(side, kind)).parameters for side in (optim, torch.optim))
        for name, parameter in ours.items():
            assert parameter.default == theirs[name].default, (kind, name)


# ------------------------------------------------------------------------------- deliberate mistakes must be found


def changed(kind: str, change: Callable[..., Any]) -> Callable[..., optax.GradientTransformation]:
    """Return the optimiser with its updates replaced by change(updates, old state, new state, params, options)."""
    right = getattr(optim, kind)

    def make(**options: Any) -> optax.GradientTransformation:
        transform = right(**options)

        def update(grads: Any, state: Any, params: Any = None) -> Any:
            updates, new = transform.update(grads, state, params)
            return change(updates, state, new, params, options), new

        return optax.GradientTransformation(transform.init, update)

    return make


def _decoupled(right: Any = optim.Adam, **options: Any) -> optax.GradientTransformation:
    decay = options.pop("weight_decay")
    inner = right(**options)

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        updates, state = inner.update(grads, state, params)
        return jax.tree.map(lambda u, p: u - options["lr"] * decay * p, updates, params), state

    return optax.GradientTransformation(inner.init, update)


def _eps_in_root(updates: Any, old: Any, new: Any, params: Any, options: dict[str, Any]) -> Any:
    def delta(m: Any, v: Any) -> Any:
        m, v = m / (1 - 0.9 ** new.step.astype(m.dtype)), v / (1 - 0.999 ** new.step.astype(m.dtype))
        return -options["lr"] * m / jnp.sqrt(v + options["eps"])

    return jax.tree.map(delta, new.exp_avg, new.exp_avg_sq)


def _eps_before_correction(updates: Any, old: Any, new: Any, params: Any, options: dict[str, Any]) -> Any:
    def delta(m: Any, v: Any) -> Any:
        step = new.step.astype(m.dtype)
        return -options["lr"] * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step) * m / (jnp.sqrt(v) + options["eps"])

    return jax.tree.map(delta, new.exp_avg, new.exp_avg_sq)


def _no_maximum(updates: Any, old: Any, new: Any, params: Any, options: dict[str, Any]) -> Any:
    def delta(m: Any, v: Any) -> Any:
        m, v = m / (1 - 0.9 ** new.step.astype(m.dtype)), v / (1 - 0.999 ** new.step.astype(m.dtype))
        return -options["lr"] * m / (jnp.sqrt(v) + 1e-8)

    return jax.tree.map(delta, new.exp_avg, new.exp_avg_sq)


MISTAKES: list[tuple[str, str, dict[str, Any], Callable[..., Any]]] = [
    ("eps in the root", "Adam", {"lr": 0.1, "eps": 1e-3}, changed("Adam", _eps_in_root)),
    ("eps before the correction", "Adam", {"lr": 0.1, "eps": 1e-8}, changed("Adam", _eps_before_correction)),
    ("decoupled weight decay", "Adam", {"lr": 0.1, "weight_decay": 0.1}, _decoupled),
    ("no maximum", "Adam", {"lr": 0.1, "amsgrad": True}, changed("Adam", _no_maximum)),
    (
        "first buffer dampened",
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
        changed("SGD", lambda u, old, *_: jax.tree.map(lambda x: jnp.where(old.step == 0, 0.7 * x, x), u)),
    ),
    (
        "nesterov ignored",
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        changed("SGD", lambda u, old, new, *_: jax.tree.map(lambda b: -0.1 * b, new.momentum_buffer)),
    ),
    (
        "another learning rate by one part in 1e9",
        "SGD",
        {"lr": 0.1},
        changed("SGD", lambda u, *_: jax.tree.map(lambda x: x * (1 + 1e-9), u)),
    ),
]


@pytest.mark.parametrize(("kind", "options", "wrong"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_found(monkeypatch, kind, options, wrong):
    monkeypatch.setattr(optim, kind, wrong)
    assert any("params" in line for line in optimizer_findings(kind, options))


def test_both_have_rows():
    assert set(STATE) == {kind for kind, _ in ROWS}
