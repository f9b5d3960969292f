"""Planted mistakes: what optax or a hurried port does otherwise must be found by the same check, in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import optimizer_lbfgs
import pytest
from optimizer_runs import distance, first_params, jax_run, run_findings, torch_run, updates_of

from jaxport import optim
from jaxport.optim import adam, lbfgs, line_search, muon
from jaxport.parity.tolerances import OPTIMIZER_RTOL

torch = pytest.importorskip("torch")


# Each of optax's transformations differs from PyTorch's optimiser of the same name, with its own best arguments.
NOT_THE_SAME: list[tuple[str, str, dict[str, Any], Any]] = [
    ("coupled decay for decoupled", "AdamW", {}, lambda: optim.Adam(weight_decay=0.01)),
    ("decoupled decay for coupled", "Adam", {"weight_decay": 0.1}, lambda: optim.AdamW(weight_decay=0.1)),
    ("optax's adamw for Adam's decay", "Adam", {"weight_decay": 0.1}, lambda: optax.adamw(1e-3, weight_decay=0.1)),
    ("optax's amsgrad", "Adam", {"amsgrad": True}, lambda: optax.amsgrad(1e-3)),
    ("optax's nadam", "NAdam", {}, lambda: optax.nadam(2e-3)),
    ("optax's rprop", "Rprop", {}, lambda: optax.rprop(1e-2)),
    ("optax's adagrad, eps inside", "Adagrad", {}, lambda: optax.adagrad(1e-2, 0.0, 1e-10)),
    ("optax's rmsprop, eps inside", "RMSprop", {}, lambda: optax.rmsprop(1e-2, decay=0.99, eps=1e-8)),
    ("optax's adafactor", "Adafactor", {}, lambda: optax.adafactor(1e-2, min_dim_size_to_factor=1)),
    ("optax's muon", "Muon", {}, lambda: optax.contrib.muon(1e-3, weight_decay=0.1)),
    ("nesterov left out", "SGD", {"momentum": 0.9, "nesterov": True}, lambda: optim.SGD(momentum=0.9)),
    ("dampening left out", "SGD", {"momentum": 0.9, "dampening": 0.5}, lambda: optim.SGD(momentum=0.9)),
    ("the moments' decay of Adam for SparseAdam", "SparseAdam", {"lr": 0.1}, lambda: optim.Adam(lr=0.1)),
    ("no averaging for ASGD's decay", "ASGD", {"lambd": 0.1}, lambda: optim.SGD(lr=1e-2)),
    ("no rectification", "RAdam", {}, lambda: optim.Adam()),
    ("weight decay of Adafactor coupled", "Adafactor", {"weight_decay": 0.1}, lambda: optim.Adafactor()),
    ("momentum of RMSprop left out", "RMSprop", {"momentum": 0.5}, lambda: optim.RMSprop()),
    ("not centred", "RMSprop", {"centered": True}, lambda: optim.RMSprop()),
]


@pytest.mark.parametrize(
    ("kind", "options", "wrong"), [row[1:] for row in NOT_THE_SAME], ids=[row[0] for row in NOT_THE_SAME]
)
def test_another_optimiser_is_found(kind, options, wrong):
    rows, grads = torch_run(kind, options, torch.float64)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        found = updates_of(wrong(), first_params(kind), grads)
    worst = max(distance(found[-1][key], rows[-1][f"params/{key}"]) for key in found[-1])
    assert worst > OPTIMIZER_RTOL


def _float32_correction(beta: Any, step: Any) -> Any:
    value = getattr(beta, "value", beta)
    return (1.0 - jnp.float32(value) ** step.astype(jnp.float32)).astype(jnp.result_type(float))


def test_a_bias_correction_in_float32_is_found(monkeypatch):
    monkeypatch.setattr(adam, "bias_correction", _float32_correction)
    assert run_findings("Adam", {})[0]


def test_a_bias_correction_in_float32_is_found_in_float32(monkeypatch):
    monkeypatch.setattr(adam, "bias_correction", _float32_correction)
    assert run_findings("Adam", {"betas": (0.9, 0.9999), "lr": 1.0}, "float32")[0]


def test_muon_s_matrix_products_in_float32_are_found(monkeypatch):
    monkeypatch.setattr(muon, "_round", lambda x: x)
    assert run_findings("Muon", {})[0]


def test_muon_s_rate_for_tall_matrices_is_found(monkeypatch):
    monkeypatch.setattr(muon, "_adjustment", lambda shape, kind: 1.0)
    assert run_findings("Muon", {})[0]


def test_a_missing_state_is_found():
    found = jax_run("RMSprop", {}, torch_run("RMSprop", {}, torch.float64)[1], "float64")
    assert all(any(key.startswith("square_avg") for key in row) for row in found)
    lines, _ = run_findings("RMSprop", {"centered": True}, make=lambda **_: optim.RMSprop())
    assert lines
    assert "PyTorch has" in lines[0]


WOLFE = {"line_search_fn": "strong_wolfe"}


@pytest.mark.parametrize(
    ("module", "name", "value", "options"),
    [
        (line_search, "CURVATURE", 0.1, WOLFE),
        (line_search, "ARMIJO", 0.3, WOLFE),
        (lbfgs, "CURVATURE_LIMIT", 1e-2, {}),
        (
            lbfgs,
            "strong_wolfe",
            lambda evaluate, start, t, *_: (evaluate(t), jnp.ones((), jnp.int32)),
            WOLFE | {"lr": 30.0},
        ),
    ],
    ids=["flatter slope", "steeper fall", "pairs left out", "no line search"],
)
def test_a_mistake_of_lbfgs_is_found(monkeypatch, module, name, value, options):
    monkeypatch.setattr(module, name, value)
    assert optimizer_lbfgs.run_findings(options)[0]
