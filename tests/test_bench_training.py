"""benchmarks/training.py without other frameworks: both JAX sides give the same losses; what disagrees is refused."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("training"), importlib.import_module("training_sides")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_fit_and_the_loop_by_hand_train_alike(scripts, tmp_path):
    training, sides = scripts
    assert training.make("two layers", str(tmp_path), None, 3) == 3
    inputs, case = training.load(str(tmp_path)), sides.CASES["two layers"]
    assert inputs.x.shape == (30, 2)
    assert [array.shape for array in inputs.weights] == [(4, 2), (4,), (8, 4), (8,), (1, 8), (1,)]
    fits = [sides.SIDES[name](case, inputs) for name in ("jaxport", "by hand")]
    losses = [fit(2) + fit(1) for fit in fits]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    assert losses[0] == sorted(losses[0], reverse=True)
    assert training.high_water() > 0
    assert set(training.round_of(lambda epochs: [])) == {"epoch_s", "call_s"}


def test_the_table_keeps_the_better_keras_and_refuses_another_loss(scripts):
    training, _ = scripts
    result = lambda name, epoch_s, **more: training.Result("MLP", name, epoch_s=epoch_s, **more)  # noqa: E731
    found = [result("jaxport", 1.0), result("by hand", 0.9), result("keras", 3.0), result("keras, 64 steps", 2.0)]
    kept = training.best_keras([*found, result("torch", 4.0, error="its loss is 2, jaxport's 1")])
    assert [r.framework for r in kept] == ["jaxport", "by hand", "keras, 64 steps", "torch"]
    rows = training.rows_of(kept, steps=10)
    assert rows[0][2:4] == ["1000", "1e+05"]
    assert rows[2][-1] == "2.00"
    assert rows[3] == ["MLP", "torch", "its loss is 2, jaxport's 1", "", "", "", ""]
    assert {len(row) for row in rows} == {len(training.COLUMNS)}
    failed = training.best_keras([result("keras", 1.0, error="no"), result("keras, 64 steps", 2.0)])
    assert [r.framework for r in failed] == ["keras, 64 steps"]
