"""Training moved in the middle: 10 steps in one framework, 10 in the other, as 20 in PyTorch."""

import copy
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimizer_lbfgs
import pytest
from optimizer_runs import (
    STEPS,
    TorchRun,
    as_tree,
    distance,
    first_params,
    state_row,
    torch_run,
)

from jaxport import nn, optim
from jaxport.parity.tolerances import LBFGS_RTOL, OPTIMIZER_RTOL

torch = pytest.importorskip("torch")

HALF = STEPS // 2
# Options with every entry that a state can have.
ROWS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    "Adam": {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1},
    "AdamW": {"lr": 0.01},
    "Adamax": {"lr": 0.01},
    "NAdam": {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True},
    "RAdam": {"lr": 0.01},
    "Adagrad": {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1},
    "Adadelta": {"lr": 0.5},
    "RMSprop": {"lr": 0.01, "momentum": 0.5, "centered": True},
    "Rprop": {"lr": 0.01},
    "ASGD": {"lr": 0.1, "lambd": 0.1, "t0": 5},
    "Adafactor": {"lr": 0.1, "weight_decay": 0.1},
    "Muon": {"lr": 0.02},
    "SparseAdam": {"lr": 0.1},
}


def leaves_of(run: Any, names: Any) -> dict[str, np.ndarray]:
    return {key: run.leaves[key].detach().numpy().copy() for key in names}


def step_in_jax(optimizer: Any, params: Any, state: Any, grads: Any) -> Any:
    updates, state = optimizer.update(as_tree(grads, "float64"), state, params)
    return optax.apply_updates(params, updates), state


def differences(found: dict[str, Any], wanted: dict[str, Any], rtol: float = OPTIMIZER_RTOL) -> list[str]:
    assert set(found) == set(wanted)
    return [key for key, value in wanted.items() if distance(found[key], value) > rtol]


@pytest.mark.parametrize("kind", ROWS)
def test_from_torch_in_the_middle(kind):
    rows, grads = torch_run(kind, ROWS[kind], torch.float64)
    run = TorchRun(kind, ROWS[kind], first_params(kind), torch.float64)
    for step in range(HALF):
        run.step(grads[step])
    with jax.enable_x64(True):
        params: Any = as_tree(leaves_of(run, run.leaves), "float64")
        optimizer, state = optim.from_torch(run.optimizer, params, list(run.leaves))
        assert optimizer.kind == kind
        for step in range(HALF, STEPS):
            params, state = step_in_jax(optimizer, params, state, grads[step])
            if step == HALF and kind in ("SGD", "Muon"):  # PyTorch has no count to carry over
                state = state._replace(step=jnp.asarray(HALF + 1, jnp.int32))
            assert differences(state_row(params, state), rows[step]) == [], step + 1


@pytest.mark.parametrize("kind", ROWS)
def test_back_to_torch_in_the_middle(kind):
    _, grads = torch_run(kind, ROWS[kind], torch.float64)
    names = list(first_params(kind))
    with jax.enable_x64(True):
        optimizer = getattr(optim, kind)(**ROWS[kind])
        params: Any = as_tree(first_params(kind), "float64")
        state = optimizer.init(params)
        for step in range(HALF):
            params, state = step_in_jax(optimizer, params, state, grads[step])
        saved = optim.to_torch_state_dict(optimizer, state, params, names)
    run = TorchRun(kind, {"lr": 0.5}, {key: np.asarray(params[key]) for key in names}, torch.float64)
    assert set(saved["param_groups"][0]) >= set(run.optimizer.state_dict()["param_groups"][0])
    run.optimizer.load_state_dict(saved)
    # PyTorch's own state_dict, loaded again: loading gives NAdam's mu_product the dtype of the parameters.
    theirs = TorchRun(kind, ROWS[kind], first_params(kind), torch.float64)
    for step in range(HALF):
        theirs.step(grads[step])
    theirs.optimizer.load_state_dict(copy.deepcopy(theirs.optimizer.state_dict()))
    run.steps = HALF
    for step in range(HALF, STEPS):
        assert differences(run.step(grads[step]), theirs.step(grads[step])) == [], step + 1


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_both_ways_with_the_parameters_in_another_order(search):
    options = {"max_iter": 3, "history_size": 4, "line_search_fn": search}
    start = optimizer_lbfgs.first_params()
    order = ["vector", "unused", "scalar", "matrix"]
    whole = optimizer_lbfgs.TorchRun(options, {key: start[key] for key in order}, torch.float64)
    middle = None
    for step in range(6):
        if step == 3:
            middle = copy.deepcopy(whole.optimizer.state_dict()), leaves_of(whole, order)
        whole.step()
    wanted = leaves_of(whole, order)
    assert middle is not None
    with jax.enable_x64(True):
        run = optimizer_lbfgs.JaxRun(options, middle[1], "float64")
        optimizer, run.state = optim.from_torch(middle[0], run.params, order, kind="LBFGS")
        assert optimizer.options["history_size"] == 4
        first = {key: np.asarray(value) for key, value in run.params.items()}
        back = optim.to_torch_state_dict(optimizer, run.state, run.params, order)
        for _ in range(3):
            run.step()
    assert differences(dict(run.params), wanted, LBFGS_RTOL) == []
    again = optimizer_lbfgs.TorchRun(options, {key: first[key] for key in order}, torch.float64)
    again.optimizer.load_state_dict(back)
    for _ in range(3):
        again.step()
    assert differences(leaves_of(again, order), wanted, LBFGS_RTOL) == []


# ----------------------------------------------------------------------------------------------------------- groups


def network() -> Any:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return net


def torch_groups(net: Any, named: bool = False) -> Any:
    items = list(net.named_parameters())
    decay = [(n, p) if named else p for n, p in items if p.ndim > 1]
    rest = [(n, p) if named else p for n, p in items if p.ndim == 1 and not n.startswith("1.")]
    rows = [{"params": decay, "lr": 0.02}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(rows, lr=0.01, weight_decay=0.1)


OURS = [
    {"params": lambda name, leaf: leaf.ndim > 1, "lr": 0.02},
    {"params": ["0.bias", "2.bias"], "weight_decay": 0.0},
    {"params": "1", "frozen": True},
]


def gradient(net: Any, step: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(100 + step)
    return {n: torch.randn(p.shape, generator=generator, dtype=torch.float64) for n, p in net.named_parameters()}


def torch_step(net: Any, optimizer: Any, step: int) -> None:
    grads = gradient(net, step)
    for name, parameter in net.named_parameters():
        parameter.grad = grads[name]
    optimizer.step()


def params_of(net: Any) -> Any:
    return {name: jnp.asarray(p.detach().numpy().copy()) for name, p in net.named_parameters()}


def run_ours(net: Any, optimizer: Any, params: Any, state: Any, steps: range) -> Any:
    for step in steps:
        grads = {name: jnp.asarray(value.numpy()) for name, value in gradient(net, step).items()}
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def test_groups_take_pytorch_s_steps():
    net = network()
    with jax.enable_x64(True):
        optimizer = optim.groups(OURS, partial(optim.AdamW, lr=0.01, weight_decay=0.1))
        params = params_of(net)
        params, state = run_ours(net, optimizer, params, optimizer.init(params), range(6))
        assert [float(lr) for lr in optim.get_lr(state)] == [0.02, 0.01]
        theirs = torch_groups(net)
        for step in range(6):
            torch_step(net, theirs, step)
        assert differences(params, params_of(net)) == []


@pytest.mark.parametrize("named", [False, True])
def test_groups_move_both_ways(named):
    net, twin = network(), network()
    theirs, order = torch_groups(net, named), ["0.weight", "2.weight", "0.bias", "2.bias"]
    for step in range(3):
        torch_step(net, theirs, step)
    with jax.enable_x64(True):
        params = params_of(net)
        optimizer, state = optim.from_torch(theirs, params, None if named else order)
        params, state = run_ours(net, optimizer, params, state, range(3, 6))
        saved = optim.to_torch_state_dict(optimizer, state, params, order)
        middle = {name: torch.from_numpy(np.array(value)) for name, value in params.items()}
    twin.load_state_dict(middle)
    back = torch_groups(twin)
    back.load_state_dict(saved)
    for step in range(6, 9):
        torch_step(twin, back, step)
    for step in range(3, 9):
        torch_step(net, theirs, step)
    with jax.enable_x64(True):
        assert differences(params_of(twin), params_of(net)) == []


def test_nnx_state_has_pytorch_s_names():
    from flax import nnx

    model = nn.Sequential(nn.Linear(3, 4, rngs=nnx.Rngs(0)), nn.Linear(4, 2, rngs=nnx.Rngs(1)))
    _, params, _ = nnx.split(model, nnx.Param, ...)
    optimizer = optim.groups([{"params": "*.bias", "lr": 0.5}, {"params": ...}], partial(optim.SGD, lr=0.25))
    assert optimizer.members(params) == [["0.bias", "1.bias"], ["0.weight", "1.weight"]]
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)


ERRORS = [
    (lambda sd: optim.from_torch(sd, {"w": jnp.ones(2)}, ["w"]), "kind must be the name of one of"),
    (lambda sd: optim.from_torch(sd, {"w": jnp.ones(2)}, kind="Adam"), "names must be PyTorch's parameter names"),
    (lambda sd: optim.from_torch(sd, {"w": jnp.ones(2)}, ["w"], "Adam"), "one for each of the optimiser's 2"),
    (lambda sd: optim.from_torch(sd, {"w": jnp.ones(2)}, ["w", "v"], "Adam"), r"names of params, got \['v'\]"),
    (
        lambda sd: optim.from_torch(sd, {"w": jnp.ones(2), "v": jnp.ones(2)}, ["w", "v"], "Adam"),
        "must have taken the same number of steps, got {'w': 1, 'v': 0}",
    ),
    (
        lambda sd: optim.to_torch_state_dict(optim.Adam(), optim.Adam().init({"w": jnp.ones(2)}), {"w": 1}, ["v"]),
        r"names must be those of the optimiser's parameters, \['w'\], got \['v'\]",
    ),
]


@pytest.mark.parametrize(("call", "match"), ERRORS)
def test_errors(call, match):
    leaves = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = torch.optim.Adam(leaves)
    leaves[0].grad = torch.ones(2)
    optimizer.step()
    with pytest.raises(ValueError, match=match):
        call(optimizer.state_dict())
