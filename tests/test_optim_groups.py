"""Parameter groups by name: which parameters they take, their options, and what is refused."""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxport import optim

pytestmark = pytest.mark.usefixtures("strict_jax")


def params() -> Any:
    return {
        "conv1": {"weight": jnp.ones((2, 3)), "bias": jnp.ones(2)},
        "norm": {"weight": jnp.ones(2), "bias": jnp.ones(2)},
    }


NAMES = ["conv1.bias", "conv1.weight", "norm.bias", "norm.weight"]
SELECTORS: list[tuple[Any, list[str]]] = [
    ("conv1.weight", ["conv1.weight"]),
    ("norm", ["norm.bias", "norm.weight"]),
    ("*.bias", ["conv1.bias", "norm.bias"]),
    (re.compile("^norm|bias$"), ["conv1.bias", "norm.bias", "norm.weight"]),
    (["conv1.bias", "norm"], ["conv1.bias", "norm.bias", "norm.weight"]),
    (lambda name, leaf: leaf.ndim == 1, ["conv1.bias", "norm.bias", "norm.weight"]),
    (
        {"conv1": {"weight": True, "bias": False}, "norm": {"weight": False, "bias": True}},
        ["conv1.weight", "norm.bias"],
    ),
    ({"conv1": False, "norm": True}, ["norm.bias", "norm.weight"]),
]


@pytest.mark.parametrize(("selector", "wanted"), SELECTORS, ids=[str(i) for i in range(len(SELECTORS))])
def test_selectors(selector, wanted):
    optimizer = optim.groups([{"params": selector, "lr": 0.5}, {"params": ...}], optim.SGD)
    assert optimizer.members(params()) == [wanted, [name for name in NAMES if name not in wanted]]


def test_each_group_has_its_own_options_and_frozen_ones_stay():
    rows = [{"params": "*.bias", "lr": 0.5}, {"params": "norm.weight", "frozen": True}, {"params": ...}]
    optimizer = optax.chain(optim.groups(rows, partial(optim.SGD, lr=0.25)), optax.identity())
    state = optimizer.init(params())
    assert [float(lr) for lr in optim.get_lr(state)] == [0.5, 0.25]

    @jax.jit
    def step(state: Any) -> Any:
        return optimizer.update(params(), state, params())[0]

    updates = step(state)
    assert jax.tree.structure(updates) == jax.tree.structure(params())
    assert [float(leaf.ravel()[0]) for leaf in jax.tree.leaves(updates)] == [-0.5, -0.25, -0.5, 0.0]
    halved = step(optim.set_lr(state, [0.5, 0.125]))
    assert float(halved["conv1"]["weight"][0, 0]) == -0.125


def test_two_optimisers_in_one():
    matrices = {"params": lambda name, leaf: leaf.ndim == 2, "optimizer": optim.Muon, "lr": 0.02}
    optimizer = optim.groups([matrices, {"params": ...}], optim.AdamW)
    assert [one.kind for one in optimizer.groups] == ["Muon", "AdamW"]
    updates, state = optimizer.update(params(), optimizer.init(params()), params())
    assert list(state.groups[0].momentum_buffer) == ["conv1.weight"]
    assert all(bool((leaf != 0).all()) for leaf in jax.tree.leaves(updates))


def test_groups_under_scan():
    optimizer = optim.groups([{"params": "*.bias", "lr": 0.1}, {"params": ...}], optim.Adam)
    start = params()

    def body(carry: Any, _: Any) -> Any:
        values, state = carry
        updates, state = optimizer.update(values, state, values)
        return (optax.apply_updates(values, updates), state), None

    (values, _), _ = jax.lax.scan(body, (start, optimizer.init(start)), length=3)
    assert float(values["norm"]["bias"][0]) < float(values["norm"]["weight"][0]) < 1.0


ERRORS: list[tuple[Any, type[Exception], str]] = [
    ([{"params": "*.bias"}], ValueError, "in no group: conv1.weight, norm.weight"),
    (
        [{"params": "*.bias"}, {"params": "norm"}, {"params": ...}],
        ValueError,
        r"in more than one group: norm.bias \(groups \[0, 1\]\)",
    ),
    ([{"params": "fc"}, {"params": ...}], ValueError, r"without a parameter: group 0 \('fc'\)"),
    ([{"lr": 0.1}], ValueError, 'param_groups\\[0\\] must have "params"'),
    ([], ValueError, "at least one group"),
    ("conv1", TypeError, "param_groups must be a list of dicts"),
    ([{"params": [jnp.ones(2)]}], TypeError, "arrays have no names here"),
    ([{"params": ["norm", "norm"]}, {"params": ...}], ValueError, r"names \['norm'\] more than once"),
]


@pytest.mark.parametrize(("rows", "kind", "match"), ERRORS)
def test_errors(rows, kind, match):
    with pytest.raises(kind, match=match):
        optim.groups(rows, optim.SGD).init(params())


def test_lbfgs_has_no_groups():
    with pytest.raises(ValueError, match="LBFGS has no parameter groups"):
        optim.groups([{"params": "norm"}, {"params": ...}], optim.LBFGS)


KINDS = ["Adamax", "NAdam", "RAdam", "Adagrad", "Adadelta", "RMSprop", "Rprop", "ASGD", "Adafactor", "Muon", "AdamW"]


@pytest.mark.parametrize("make", [getattr(optim, kind) for kind in [*KINDS, "SparseAdam"]])
def test_under_vmap_and_in_half_precision(make):
    optimizer = make(lr=0.1)
    stack = {"w": jnp.linspace(-1.0, 1.0, 24).reshape(2, 4, 3)}

    def step(values: Any) -> Any:
        updates, state = optimizer.update(values, optimizer.init(values), values)
        return updates, state

    together, _ = jax.vmap(step)(stack)
    one, _ = step({"w": stack["w"][1]})
    np.testing.assert_allclose(together["w"][1], one["w"], rtol=1e-5, atol=1e-7)
    half = {"w": stack["w"][1].astype(jnp.bfloat16)}
    updates, state = step(half)
    assert updates["w"].dtype == jnp.bfloat16
    before = optimizer.init(half)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == jax.tree.map(lambda a: (a.shape, a.dtype), before)


def test_lbfgs_minimises_a_quadratic():
    optimizer = optim.LBFGS(line_search_fn="strong_wolfe")

    def loss(values: Any, scale: jax.Array) -> jax.Array:
        return scale * jnp.sum((values["x"] - jnp.arange(3.0)) ** 2 * jnp.array([1.0, 3.0, 10.0]))

    values = {"x": jnp.zeros(3)}
    updates, state = optimizer.update(values, optimizer.init(values), values, value_fn=loss, scale=jnp.asarray(2.0))
    np.testing.assert_allclose(optax.apply_updates(values, updates)["x"], np.arange(3.0), atol=1e-3)
    assert int(state.n_iter) > 1
    with pytest.raises(ValueError, match="value_fn=None"):
        optimizer.update(values, state, values)


def test_lbfgs_under_vmap():
    optimizer = optim.LBFGS(lr=0.5, max_iter=5, line_search_fn="strong_wolfe")

    def minimise(target: jax.Array) -> jax.Array:
        values = {"x": jnp.zeros(3)}
        loss = lambda values: jnp.sum((values["x"] - target) ** 2 * jnp.array([1.0, 3.0, 10.0]))  # noqa: E731
        updates, _ = optimizer.update(values, optimizer.init(values), values, value_fn=loss)
        return optax.apply_updates(values, updates)["x"]

    targets = jnp.linspace(-1.0, 2.0, 12).reshape(4, 3)  # each needs a number of iterations of its own
    alone = np.stack([jax.jit(minimise)(target) for target in targets])
    np.testing.assert_allclose(jax.vmap(minimise)(targets), alone, rtol=1e-4, atol=1e-5)
