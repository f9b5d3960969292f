"""Random hyper-parameters: every optimiser takes PyTorch's steps whatever its options are, in float64."""

import os
from typing import Any

import jax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optimizer_runs import jax_run, torch_run, trajectory_findings

from jaxport.parity.tolerances import OPTIMIZER_RTOL

torch = pytest.importorskip("torch")

DRAWS = int(os.environ.get("JAXPORT_DRAWS", "3"))
STEPS = 6

# Zero or a number that is not lost among the subnormal ones.
SMALL = st.just(0.0) | st.floats(1e-6, 1.0)
BETA = st.just(0.0) | st.floats(1e-3, 0.9999)
RATE = st.floats(1e-4, 1.0)
EPS = st.floats(1e-8, 0.1)
FLAG = st.booleans()
BETAS = st.tuples(BETA, BETA)
ADAM = {"lr": RATE, "betas": BETAS, "eps": EPS, "weight_decay": SMALL, "maximize": FLAG}

OPTIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "SGD": {"lr": RATE, "momentum": SMALL, "dampening": SMALL, "weight_decay": SMALL, "maximize": FLAG},
    "Adam": ADAM | {"amsgrad": FLAG, "decoupled_weight_decay": FLAG},
    "AdamW": ADAM | {"amsgrad": FLAG},
    "Adamax": ADAM,
    "NAdam": ADAM | {"momentum_decay": SMALL, "decoupled_weight_decay": FLAG},
    "RAdam": ADAM | {"decoupled_weight_decay": FLAG},
    "Adagrad": {"lr": RATE, "lr_decay": SMALL, "weight_decay": SMALL, "initial_accumulator_value": SMALL, "eps": EPS},
    "Adadelta": {"lr": RATE, "rho": st.floats(0.0, 1.0), "eps": EPS, "weight_decay": SMALL, "maximize": FLAG},
    # Centred with α near 0 leaves v - a² to rounding: 0, or NaN, in either framework.
    "RMSprop": {"lr": RATE, "alpha": st.floats(0.5, 0.99), "eps": EPS, "weight_decay": SMALL, "momentum": SMALL},
    "Rprop": {"lr": RATE, "etas": st.tuples(st.floats(0.1, 0.9), st.floats(1.1, 2.0)), "maximize": FLAG},
    "ASGD": {"lr": RATE, "lambd": SMALL, "alpha": SMALL, "t0": st.integers(0, 8), "weight_decay": SMALL},
    "Adafactor": {
        "lr": RATE,
        "beta2_decay": st.floats(-1.0, -0.1),
        "d": st.floats(1.0, 3.0),
        "weight_decay": SMALL,
        "eps": st.tuples(st.none() | EPS, EPS),
    },
    "Muon": {"lr": RATE, "weight_decay": SMALL, "momentum": BETA, "nesterov": FLAG, "ns_steps": st.integers(1, 6)},
    "SparseAdam": {"lr": RATE, "betas": BETAS, "eps": EPS, "maximize": FLAG},
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_any_options(kind):
    @settings(
        max_examples=DRAWS, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.fixed_dictionaries(OPTIONS[kind]))
    def run(options: dict[str, Any]) -> None:
        exact, grads = torch_run(kind, options, torch.float64)
        with jax.disable_jit():  # compiling each set of options would take longer than running it
            found = jax_run(kind, options, grads[:STEPS], "float64")
        lines, _ = trajectory_findings(found, exact[:STEPS], OPTIMIZER_RTOL)
        assert lines == []

    run()
