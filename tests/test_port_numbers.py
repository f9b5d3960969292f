"""The numbers that the tutorials printed: without a random draw to the digits shown, otherwise within their margins."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxport import load_state_dict, nn, ports, state_dict, summary
from jaxport.data import covid
from jaxport.models.circles_focal import FocalLoss
from jaxport.ports.covid19 import forecast
from jaxport.random import torch_rngs


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


@pytest.mark.slow
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


def test_linreg_points_from_the_notes_first_w() -> None:
    port = ports.get("linreg_points")
    model = port.build(torch_rngs(2019))
    assert round(float(state_dict(model)["w"][0]), 4) == -0.1187
    losses = port.fit(model, port.load()).columns["loss"]
    assert f"{losses[0]:.4f}" == "10.2335"
    # As printed, but for the last digit of float32.
    printed = [0.4142104387, 0.2260516733, 0.2231873870, 0.2204667032]
    np.testing.assert_allclose([losses[1], losses[11], losses[21], losses[31]], printed, rtol=3e-7)


def test_linreg_points_first_gradients() -> None:
    port = ports.get("linreg_points")
    model = port.build(torch_rngs(2019))
    x, y = map(jnp.asarray, port.load().train)
    graph, params = nnx.split(model)
    gradients = jax.grad(lambda params: port.loss()(nnx.merge(graph, params)(x), y))(params)
    assert f"{float(gradients['w'][...][0]):.4f}" == "-41.1289"
    assert f"{float(gradients['b'][...][0]):.4f}" == "-6.0890"


@pytest.mark.parametrize("seed", range(3))
def test_linreg_note_falls_at_every_step(seed: int) -> None:
    port = ports.get("linreg_note")
    history = port.fit(port.build(seed), port.load(), seed=seed)
    assert (np.diff(history.columns["loss"]) < 0).all()
    assert not port.unmet(history)


@pytest.mark.parametrize("seed", range(3))
def test_linreg_plane_finds_the_plane(seed: int) -> None:
    port = ports.get("linreg_plane")
    model = port.build(seed)
    assert not port.unmet(port.fit(model, port.load(), seed=seed))
    weights = state_dict(model)
    np.testing.assert_allclose(weights["fc.weight"][0], [2, -3], atol=0.15)
    np.testing.assert_allclose(weights["fc.bias"], [10], atol=0.3)


def test_linreg_100k_finds_the_slope() -> None:
    port = ports.get("linreg_100k")
    model = port.build(0)
    assert not port.unmet(port.fit(model, port.load()))
    assert abs(float(state_dict(model)["linear.weight"][0, 0]) - 0.9995) <= 0.01


@pytest.mark.parametrize("name", ["circles", "circles_focal", "two_clusters", "three_clusters", "cubic"])
def test_small_ports(name: str) -> None:
    port = ports.get(name)
    assert not port.unmet(port.fit(port.build(0), port.load()))


def test_covid19_forecasts_no_new_cases_in_the_middle_of_march(real_data: Path) -> None:
    port = ports.get("covid19")
    splits = port.load(real_data)
    model = port.build(0)
    assert not port.unmet(port.fit(model, splits))
    series = covid.differences(splits.origin)[1]
    assert (len(series), len(splits.train.x)) == (46, 38)
    confirmed = forecast(model, series)[:, 0]
    # The tutorial's net reaches 0 on day 50; over 40 seeds, ours and PyTorch's do on day 49 to 51.
    assert 49 <= len(series) + int(np.argmax(confirmed == 0)) <= 51


def test_the_focal_loss_counts_hard_examples_more() -> None:
    focal, bce = FocalLoss(), nn.BCELoss()
    hard, easy, target = (jnp.array([[a], [b]]) for a, b in ((0.5, 0.5), (0.9, 0.1), (1.0, 0.0)))
    printed = [f"{float(loss(p, target)):.4f}" for p in (hard, easy) for loss in (focal, bce)]
    assert printed == ["0.0866", "0.6931", "0.0005", "0.1054"]
    masked = focal(jnp.concatenate([hard, easy]), jnp.tile(target, (2, 1)), where=jnp.array([1, 1, 0, 0], bool))
    assert float(masked) == pytest.approx(float(focal(hard, target)), rel=1e-6)


# port: (layer, output shape without the batch, parameters) as the tutorial prints them
SUMMARIES = {
    "covid19": [("LSTM-1", [8, 3], 480), ("Linear-2", [3], 12), ("Block-3", [3], 0)],
    "cifar2": [
        ("Conv2d-1", [32, 30, 30], 896),
        ("MaxPool2d-2", [64, 5, 5], 0),
        ("Conv2d-3", [64, 11, 11], 51_264),
        ("Dropout2d-4", [64, 5, 5], 0),
        ("AdaptiveMaxPool2d-5", [64, 1, 1], 0),
        ("Flatten-6", [64], 0),
        ("Linear-7", [32], 2_080),
        ("ReLU-8", [32], 0),
        ("Linear-9", [1], 33),
        ("Sigmoid-10", [1], 0),
    ],
    "imdb": [
        ("Embedding-1", [200, 3], 30_000),
        ("Conv1d-2", [16, 196], 256),
        ("MaxPool1d-3", [16, 98], 0),
        ("ReLU-4", [16, 98], 0),
        ("Conv1d-5", [128, 97], 4_224),
        ("MaxPool1d-6", [128, 48], 0),
        ("ReLU-7", [128, 48], 0),
        ("Flatten-8", [6144], 0),
        ("Linear-9", [1], 6_145),
        ("Sigmoid-10", [1], 0),
    ],
    "circles": [("Linear-1", [4], 12), ("Linear-2", [8], 40), ("Linear-3", [1], 9)],
    "linreg_plane": [("Linear-1", [1], 3)],
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries(name: str) -> None:
    port = ports.get(name)
    found = summary(port.build(0), port.input_shape, port.input_dtype)
    assert [(row.layer, list(row.output_shape[1:]), row.parameters) for row in found.rows] == SUMMARIES[name]
    assert found.parameters == port.parameters
