"""The numbers that the tutorials printed: without a random draw to the digits shown, otherwise within their margins."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport import load_state_dict, ports, state_dict


def test_linreg_matrix_from_zero_in_float64() -> None:
    port = ports.get("linreg_matrix")
    with jax.enable_x64(True):
        model = port.build(0).to(jnp.float64)
        load_state_dict(model, {"w": np.zeros(2)})
        splits = port.load()
        # The targets in double precision: 14.4 in float32 is another number.
        y = np.array([14.4, 29.6, 62, 85.5, 113.4])
        x = np.column_stack([np.array([1.4, 5, 11, 16, 21]), np.ones(5)])
        part = type(splits.train)(x, y)
        history = port.fit(model, type(splits)(part, part))
        weights = state_dict(model)["w"]
    # The loss that the tutorial prints is that of the last step, before its update.
    assert round(history.last()["loss"], 6) == 8.248255
    assert np.round(weights, 6).tolist() == [5.084395, 5.578614]


@pytest.mark.parametrize("seed", range(5))
def test_linreg_matrix_from_random_weights(seed: int) -> None:
    port = ports.get("linreg_matrix")
    model = port.build(seed)
    history = port.fit(model, port.load(), seed=seed)
    slope, intercept = state_dict(model)["w"]
    assert not port.unmet(history)
    assert 5.081 <= slope <= 5.085
    assert 5.57 <= intercept <= 5.63


def test_titanic(real_data: Path) -> None:
    port = ports.get("titanic")
    splits = port.load(real_data)
    scores = []
    for seed in range(5):
        history = port.fit(port.build(seed), splits, seed=seed)
        scores.append(history.last("val_")["accuracy"])
    low, high = port.expected["val_accuracy"]
    assert low <= np.mean(scores) <= high, scores


@pytest.mark.parametrize("name", ["fashion_mnist", "mnist_cnn"])
def test_pictures(name: str, real_data: Path) -> None:
    port = ports.get(name)
    history = port.fit(port.build(0), port.load(real_data))
    assert not port.unmet(history)


def test_a_missed_number_is_said() -> None:
    port = ports.get("linreg_matrix")
    history = port.fit(port.build(0), port.load(), epochs=10)
    (line,) = port.unmet(history)
    assert line.startswith("val_loss ")
    assert line.endswith("is outside [8.2, 8.26]")
