"""Gradient clipping and accumulation against PyTorch's."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import both_dtypes, findings32, findings64, generator, rounded
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_runs import fail_on

from jaxport import nn, optim
from jaxport.nn.utils import clip_grad
from jaxport.optim.accumulation import accumulate
from jaxport.optim.clip import clip_grad_norm

torch = pytest.importorskip("torch")
U = torch.nn.utils

SHAPES = {"matrix": (3, 5), "vector": (7,), "scalar": (), "zeros": (2, 2)}
NORMS = [2.0, 1.0, float("inf"), float("-inf"), 0.0, 3.0, 0.5, 2]
INF, NAN = float("inf"), float("nan")
Arrays = dict[str, np.ndarray]


def gradients(name: str, size: float = 1.0) -> Arrays:
    rng = generator(name)
    return {k: rounded(size * (0.1 + rng.standard_normal(s)) * (k != "zeros")) for k, s in SHAPES.items()}


def torch_clip(grads: Arrays, dtype: Any, how: Any) -> tuple[Arrays, Any]:
    leaves = [torch.nn.Parameter(torch.zeros(value.shape, dtype=dtype)) for value in grads.values()]
    for leaf, value in zip(leaves, grads.values(), strict=True):
        leaf.grad = torch.tensor(value, dtype=dtype)
    norm = how(leaves)
    return {key: leaf.grad.numpy() for key, leaf in zip(grads, leaves, strict=True)}, norm


def norm_findings(grads: Arrays, max_norm: float, order: float, dtype: str = "float64") -> list[str]:
    """Compare the clipped gradients and the norm."""

    def theirs(kind: Any) -> Arrays:
        clipped, norm = torch_clip(grads, kind, lambda leaves: U.clip_grad_norm_(leaves, max_norm, order))
        return {**clipped, "norm": norm.numpy()}

    with jax.enable_x64(dtype == "float64"):
        tree = {key: jnp.asarray(value, dtype) for key, value in grads.items()}
        clipped, norm = jax.jit(lambda g: nn.utils.clip_grad_norm_(g, max_norm, order))(tree)
        found = {**{key: np.asarray(value) for key, value in clipped.items()}, "norm": np.asarray(norm)}
    exact = theirs(torch.float64)
    if dtype == "float64":
        return [line for key in exact for line in findings64(key, found[key], exact[key])]
    rough = theirs(torch.float32)
    return [line for key in exact for line in findings32(key, found[key], rough[key], exact[key])]


@both_dtypes
@pytest.mark.parametrize("order", NORMS)
@pytest.mark.parametrize("max_norm", [0.5, 1e-3, 1e3, 0.0])
def test_norm(order, max_norm, dtype):
    fail_on(norm_findings(gradients("norm"), max_norm, order, dtype))


@pytest.mark.parametrize("size", [1e-6, 1e-7, 1e-3])
def test_small_norms_are_seen_through_the_1e_6(size):
    """‖g‖ next to max_norm: there 1e-6 decides."""
    grads = gradients("small", size)
    norm = float(np.sqrt(sum(np.sum(value**2) for value in grads.values())))
    for max_norm in (norm, 0.5 * norm, norm + 5e-7, 2 * norm):
        fail_on(norm_findings(grads, max_norm, 2.0))


@pytest.mark.parametrize("value", [INF, -INF, NAN])
@pytest.mark.parametrize("order", [2.0, 1.0, INF])
def test_what_is_not_finite(value, order):
    grads = gradients("special")
    grads["matrix"][1, 2] = value
    with np.errstate(invalid="ignore"):
        fail_on(norm_findings(grads, 1.0, order))
    tree = {key: jnp.asarray(array, jnp.float32) for key, array in grads.items()}
    with pytest.raises(RuntimeError, match="non-finite"):
        torch_clip(grads, torch.float32, lambda leaves: U.clip_grad_norm_(leaves, 1.0, order, error_if_nonfinite=True))
    with pytest.raises(RuntimeError, match=rf"total norm of order {order} .* not finite"):
        nn.utils.clip_grad_norm_(tree, 1.0, order, error_if_nonfinite=True)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.integers(0, 100), st.floats(1e-3, 1e3), st.floats(1e-3, 1e2), st.floats(0.5, 8.0) | st.sampled_from([INF, 0.0])
)
def test_any_norm(seed, size, max_norm, order):
    fail_on(norm_findings(gradients(f"any {seed}", size), max_norm, order))


@both_dtypes
@pytest.mark.parametrize("bound", [0.25, 1e-3, 10.0, 0.0])
def test_value(bound, dtype):
    grads = gradients("value")
    grads["matrix"][0, :3] = [INF, -INF, NAN]
    theirs, _ = torch_clip(grads, getattr(torch, dtype), lambda leaves: U.clip_grad_value_(leaves, bound))
    with jax.enable_x64(dtype == "float64"):
        tree = {key: jnp.asarray(value, dtype) for key, value in grads.items()}
        found = jax.jit(lambda g: nn.utils.clip_grad_value_(g, bound))(tree)
        for key, value in theirs.items():
            np.testing.assert_array_equal(found[key], value)
            assert found[key].dtype == dtype


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("bfloat16", "float32"), ("float16", "bfloat16")])
def test_mixed_precision_has_pytorch_s_dtypes(dtypes):
    values = [np.array([300.0, 1.5]), np.array([2.0, -250.0])]
    tensors = [torch.tensor(v, dtype=getattr(torch, d)) for v, d in zip(values, dtypes, strict=True)]
    with jax.enable_x64(True):
        arrays = [jnp.asarray(v, d) for v, d in zip(values, dtypes, strict=True)]
        found, wanted = nn.utils.get_total_norm(arrays), U.get_total_norm(tensors)
        assert str(found.dtype) == str(wanted.dtype).removeprefix("torch.")
        assert float(found) == pytest.approx(float(wanted), rel=1e-2)
        clipped = nn.utils.clip_grads_with_norm_(arrays, 1.0, found)
        assert tuple(str(array.dtype) for array in clipped) == dtypes


def test_nothing_to_clip():
    assert float(nn.utils.get_total_norm([])) == float(U.get_total_norm([])) == 0.0
    assert nn.utils.clip_grad_norm_({}, 1.0)[0] == {}


FUNCTIONS = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]
# `foreach` chooses an implementation; the first argument is the gradients here, not the parameters that hold them.
RENAMED = {"parameters": "grads"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_and_defaults(name):
    theirs = [p for p in inspect.signature(getattr(U, name)).parameters.values() if p.name != "foreach"]
    ours = list(inspect.signature(getattr(nn.utils, name)).parameters.values())
    assert [p.name for p in ours] == [RENAMED.get(p.name, p.name) for p in theirs]
    assert [p.default for p in ours] == [p.default for p in theirs]


def test_every_function_is_there():
    listing = {name for name in dir(U) if "clip" in name or "norm" in name} - {
        "clip_grad",
        "weight_norm",
        "spectral_norm",
    }
    # clip_grad_norm is deprecated: use the one with the underscore.
    assert listing - {"remove_weight_norm", "remove_spectral_norm", "clip_grad_norm"} == set(FUNCTIONS)


# ------------------------------------------------------------------------------------------------------ accumulation

STEPS = 4


def torch_training(batches: list[Arrays], clip: float | None, divide: bool) -> list[Arrays]:
    """PyTorch's loop: loss / steps, backward for each batch, a clipped step after every fourth."""
    leaves = {key: torch.nn.Parameter(torch.ones(shape, dtype=torch.float64)) for key, shape in SHAPES.items()}
    optimizer = torch.optim.SGD(leaves.values(), lr=0.01, momentum=0.9)
    rows = []
    for index, batch in enumerate(batches):
        loss = sum((leaf * torch.tensor(batch[key])).sum() for key, leaf in leaves.items())
        (loss / STEPS if divide else loss).backward()
        if (index + 1) % STEPS == 0:
            if clip is not None:
                U.clip_grad_norm_(leaves.values(), clip)
            optimizer.step()
            optimizer.zero_grad()
        rows.append({key: leaf.detach().numpy().copy() for key, leaf in leaves.items()})
    return rows


def jax_training(batches: list[Arrays], clip: float | None, divide: bool) -> list[Arrays]:
    inner: Any = optim.SGD(lr=0.01, momentum=0.9)
    inner = inner if clip is None else optax.chain(clip_grad_norm(clip), inner)
    optimizer = accumulate(inner, STEPS, "mean" if divide else "sum")
    with jax.enable_x64(True):
        params: Any = {key: jnp.ones(shape, jnp.float64) for key, shape in SHAPES.items()}

        def body(carry: Any, grads: Any) -> Any:
            params, state = carry
            updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        stacked = {key: jnp.stack([jnp.asarray(batch[key]) for batch in batches]) for key in SHAPES}
        _, rows = jax.jit(lambda p: jax.lax.scan(body, (p, optimizer.init(p)), stacked))(params)
        return [{key: np.asarray(rows[key][i]) for key in SHAPES} for i in range(len(batches))]


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("divide", [True, False])
def test_accumulation(clip, divide):
    batches = [gradients(f"batch {number}") for number in range(5 * STEPS + 2)]
    wanted, found = torch_training(batches, clip, divide), jax_training(batches, clip, divide)
    fail_on(
        [
            line
            for i, row in enumerate(wanted)
            for k in row
            for line in findings64(f"batch {i} {k}", found[i][k], row[k])
        ]
    )


# ------------------------------------------------------------------------------- deliberate mistakes must be found


def without(*, eps: float = 1e-6, clamp: bool = True) -> Any:
    def clip(grads: Any, max_norm: float, total_norm: Any) -> Any:
        coefficient = max_norm / (total_norm + eps)
        coefficient = jnp.minimum(coefficient, 1.0) if clamp else coefficient
        return jax.tree.map(lambda g: g * coefficient, grads)

    return clip


WRONG = {"no 1e-6": (without(eps=0.0), 0.5), "no clamp": (without(clamp=False), 1e3)}


@pytest.mark.parametrize(("wrong", "max_norm"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_coefficient_is_found(monkeypatch, wrong, max_norm):
    monkeypatch.setattr(clip_grad, "clip_grads_with_norm_", wrong)
    assert any("matrix" in line for line in norm_findings(gradients("norm"), max_norm, 2.0))


def test_one_norm_for_each_array_is_found(monkeypatch):
    right = clip_grad.get_total_norm
    monkeypatch.setattr(clip_grad, "get_total_norm", lambda grads, *args: right(grads["matrix"], *args))
    assert norm_findings(gradients("norm"), 0.5, 2.0)


def test_a_mean_for_a_sum_is_found():
    batches = [gradients(f"batch {number}") for number in range(STEPS)]
    wanted, found = torch_training(batches, None, True), jax_training(batches, None, False)
    assert any(findings64(key, found[-1][key], wanted[-1][key]) for key in SHAPES)
