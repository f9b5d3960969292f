"""The examples: each runs, has its port's net and recipe, and can fail; and every port has all its files."""

import dataclasses
import importlib.util
import math
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from chapters_a_names import CHAPTERS_A
from chapters_b_names import CHAPTERS_B
from flax import nnx

import jaxport
from jaxport import data, metrics, nn, optim, ports
from jaxport.random import torch_rngs

ROOT = Path(__file__).parents[1]
FILES = {
    "digits": {"pictures.png", "history.png", "predictions.png"},
    "mnist_cnn": {"pictures.png", "history.csv", "history.png", "predictions.png"},
    "fashion_mnist": {"pictures.png", "history.csv", "history.png", "predictions.png"},
    "titanic": {"exploration.png", "history.png"},
    "linreg_matrix": {"line.png"},
    "cifar2": {"pictures.png", "history.png", "predictions.png"},
    "imdb": {"exploration.png", "history.png"},
    "covid19": {"history.png", "forecast.png"},
    "linreg_points": {"line.png"},
    "linreg_note": {"line.png"},
    "linreg_100k": {"line.png"},
    "linreg_plane": {"history.png", "plane.png"},
    "cubic": {"curve.png"},
    "two_clusters": {"history.png", "clusters.png"},
    "three_clusters": {"history.png", "clusters.png"},
    "circles": {"history.png", "rings.png"},
    "circles_focal": {"history.png", "rings.png"},
    "mnist_logistic": {"history.png", "predictions.png"},
    "mnist_sgd": {"history.png", "predictions.png"},
    "mnist_mlp": {"history.png", "predictions.png"},
    "mnist_convnet": {"history.png", "predictions.png"},
    "lenet": {"history.png", "predictions.png"},
    "lenet32": set(),
    "linreg_million": set(),
    "quadratic": {"history.png"},
    "resnet": {"history.png", "predictions.png"},
    "unet": {"history.png", "masks.png"},
}
LEVELS = {
    "linreg_plane": ("high", "mid", "low"),
    "circles": ("high", "mid", "low"),
    "mnist_cnn": ("script", "functions", "class"),
    "imdb": ("custom", "torchtext"),
}
# Lines of code, without blanks and comments, of the tutorial's own chapter, all levels together. The list of the
# PyTorch notes has its code in files elsewhere, of 60 to 80 lines.
LINES = {
    **{
        "digits": 102,
        "mnist_cnn": 223,
        "fashion_mnist": 108,
        "titanic": 173,
        "cifar2": 170,
        "imdb": 127,
        "covid19": 103,
    },
    **{"linreg_matrix": 31, "linreg_100k": 51, "cubic": 48, "two_clusters": 63, "three_clusters": 57},
    **{"linreg_points": 54, "mnist_sgd": 59, "linreg_plane": 242, "circles": 271, "circles_focal": 111},
    **dict.fromkeys(("linreg_note", "mnist_logistic", "mnist_mlp", "mnist_convnet", "lenet", "resnet", "unet"), 60),
    **{"quadratic": 35, "linreg_million": 64, "lenet32": 74},
}


def load(name: str) -> ModuleType:
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location(f"examples_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python_files(folder: str) -> set[str]:
    return {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}


CHAPTERS = {*CHAPTERS_A, *CHAPTERS_B}
"""The examples that are no port."""


@pytest.mark.parametrize("folder", ["jaxport/models", "jaxport/reference", "jaxport/ports"])
def test_every_port_has_its_files_and_there_are_no_others(folder):
    assert python_files(folder) == set(ports.names())


def test_the_examples_are_the_ports_and_the_chapters():
    assert not CHAPTERS & set(ports.names())
    assert python_files("examples") == CHAPTERS | set(ports.names())


def test_every_example_has_a_line_in_the_table_and_a_place_in_the_map():
    table, where = (ROOT / "examples" / "README.md").read_text(encoding="utf-8").split("## Where you are")
    files = [f"[`{name}.py`]({name}.py)" for name in sorted(python_files("examples"))]
    assert [file for file in files if table.count(file) != 1] == []
    assert [file for file in files if file not in where] == ["[`digits.py`](digits.py)"]  # ours, in no tutorial
    assert set(re.findall(r"\]\((\w+\.py)\)", table + where)) == {f"{name}.py" for name in python_files("examples")}


def test_no_example_has_more_lines_of_code_than_the_tutorial():
    counts = {name: lines_of_code(ROOT / "examples" / f"{name}.py") for name in LINES}
    assert {name: count for name, count in counts.items() if count > LINES[name]} == {}


def lines_of_code(path: Path) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in lines)


@pytest.mark.parametrize("name", ports.names())
def test_a_port_counts_its_parameters(name):
    port = ports.get(name)
    module = nnx.eval_shape(lambda: port.build(0))
    assert sum(math.prod(parameter.shape) for parameter in module.parameters()) == port.parameters


@pytest.mark.parametrize("name", ports.names())
def test_importing_an_example_does_nothing(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    load(name)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ports.names())
def test_the_net_of_an_example_is_the_port_s(name):
    ours, theirs = load(name).create_net(nnx.Rngs(0)), ports.get(name).build(0)
    assert repr(ours) == repr(theirs)  # layers, their order and their arguments
    weights, expected = jaxport.state_dict(ours), jaxport.state_dict(theirs)
    assert list(weights) == list(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(weights[key], value, err_msg=key, strict=True)


@pytest.mark.parametrize("name", ports.names())
def test_the_score_of_an_example_is_the_port_s(name):
    example, expected = load(name), dict(ports.get(name).expected)
    bounds = example.main.bounds(*example.main.levels[:1])
    # Without a validation part the example says "loss" where `jaxport run` says "val_loss": it validates on the same.
    assert {key if key in expected else f"val_{key}": value for key, value in bounds.items()} == expected


def test_the_chapters_with_levels():
    levels = {name: main.levels for name in ports.names() if (main := load(name).main).levels}
    assert levels == LEVELS


RUNS = [(name, level) for name in ports.names() for level in LEVELS.get(name, ("",))]


@pytest.mark.parametrize(("name", "level"), RUNS, ids=["-".join(filter(None, run)) for run in RUNS])
def test_smoke(name, level, tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    assert load(name).main(["--smoke", "--out", str(out), *(["--level", level] if level else [])]) == 0
    written = {path.name: path.read_bytes() for path in out.iterdir()}
    assert written.keys() == {*FILES[name], "weights.safetensors"}
    assert all(written[file].startswith(b"\x89PNG") for file in written if file.endswith(".png"))
    if level in ("", LEVELS.get(name, ("",))[0]):
        weights = jaxport.load_file(out / "weights.safetensors")
        assert weights.keys() == jaxport.state_dict(ports.get(name).build(0)).keys()
    output = capsys.readouterr()
    assert "predicts the same" in output.out
    assert output.err == ""


@pytest.mark.parametrize(
    "name", [name for name in ports.names() if not data.DATASETS[ports.get(name).dataset].embedded]
)
def test_missing_data_is_two_lines_and_exit_status_2(name, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("JAXPORT_DATA", raising=False)
    assert load(name).main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: data set '{ports.get(name).dataset}' is not found in {tmp_path}")
    assert error.count("\n") == 2
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made_is_exit_status_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert load("linreg_matrix").main(["--smoke", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("name", ["titanic", "fashion_mnist", "linreg_matrix"])
def test_a_missed_score_is_one_line_and_exit_status_1(name, tmp_path, monkeypatch, capsys):
    example, port = load(name), ports.get(name)
    if name != "linreg_matrix":
        monkeypatch.setattr(example, "read", lambda options: port.synthetic(100))
    score = next(iter(example.main.bounds()))
    impossible = {score: (2.0, 3.0)}  # no accuracy, and not the line's sum of squares
    assert dataclasses.replace(example.main, expected=impossible)(["--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"missed: {score} ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "level"),
    [("linreg_matrix", ""), *((name, level) for name in ("linreg_plane", "circles") for level in LEVELS[name])],
)
def test_the_score_is_met(name, level, tmp_path, capsys):
    assert load(name).main(["--out", str(tmp_path), *(["--level", level] if level else [])]) == 0
    assert capsys.readouterr().err == ""


def test_the_printed_numbers_are_the_tutorials(tmp_path, monkeypatch, capsys):
    """PyTorch in practice, 3, from the tutorial's seed; PyTorch basics, 3.2; the losses of the 20-day tutorial, 5-3."""
    points = load("linreg_points")
    monkeypatch.setattr(points, "create_net", lambda rngs: points.LinearRegression(rngs=torch_rngs(2019)))
    assert points.main(["--out", str(tmp_path)]) == 0
    losses = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines() if line.startswith("loss ")]
    np.testing.assert_allclose(losses[:5], [10.2335, 0.41421, 0.226052, 0.223187, 0.220467], rtol=1e-4)
    load("circles_focal").compare_losses()
    assert re.findall(r"\d\.\d{4}", capsys.readouterr().out) == ["0.0866", "0.6931", "0.0005", "0.1054"]


@pytest.mark.parametrize(("style", "optimizer"), [("script", optim.Adam(lr=0.01)), ("functions", optim.SGD(lr=0.01))])
def test_the_hand_written_loops_of_mnist_cnn_are_fit(style, optimizer, capsys):
    example, splits = load("mnist_cnn"), ports.get("mnist_cnn").synthetic(40)
    create, train = example.STYLES[style]
    by_hand = train(create(rngs=nnx.Rngs(0)), splits, epochs=2, batch_size=16)
    history = jaxport.fit(
        create(rngs=nnx.Rngs(0)),
        splits.train,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        metrics=[metrics.Accuracy()],
        epochs=2,
        batch_size=16,
        validation=splits.val,
        prepare=data.to_float,
    )
    assert list(by_hand) == [name for name in history if name not in ("lr", "seconds")]
    for name, values in by_hand.items():
        np.testing.assert_allclose(values, history[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("name", "loss", "optimizer"),
    [("linreg_plane", nn.MSELoss(), optim.SGD(lr=0.01)), ("circles", nn.BCELoss(), optim.Adam(lr=1e-3))],
)
def test_the_middle_level_is_fit(name, loss, optimizer, capsys):
    """In one batch of all points the order does not count."""
    example = load(name)
    points = data.Arrays(*(part[:10] for part in example.read()[1]))
    net, twin = (example.create_net(nnx.Rngs(0)) for _ in range(2))
    losses = example.train_mid(net, points, epochs=5)["loss"]
    history = jaxport.fit(twin, points, loss=loss, optimizer=optimizer, epochs=5)
    np.testing.assert_allclose(losses, history["loss"], rtol=1e-5)
    expected = jaxport.state_dict(twin)
    for key, value in jaxport.state_dict(net).items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-5, err_msg=key)


def test_the_low_level_is_gradient_descent_on_half_the_squared_error(capsys):
    example = load("linreg_plane")
    x, y = points = data.Arrays(*(part[:10] for part in example.read()[1]))
    weights = example.create_weights(0)
    found, columns = example.train_low(weights, points, epochs=5)
    w, b, losses = np.asarray(weights["w"]), np.asarray(weights["b"]), []
    for _ in range(5):
        residual = x @ w + b - y
        losses.append((residual**2 / 2).mean())
        w, b = w - 0.001 * x.T @ residual / 10, b - 0.001 * residual.mean()
    np.testing.assert_allclose(columns["loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(found["w"], w, rtol=1e-5)
    np.testing.assert_allclose(found["b"], b, rtol=1e-5)


def test_the_low_level_s_binary_cross_entropy_is_ours_and_stays_finite():
    example = load("circles")
    p, y = np.array([[0.2], [0.9], [1.0]], np.float32), np.array([[0.0], [1.0], [0.0]], np.float32)
    np.testing.assert_allclose(example.bce(p[:2], y[:2]), nn.BCELoss()(p[:2], y[:2]), rtol=1e-6)
    assert 5 < example.bce(p, y) < 6  # -log(1e-7) / 3, with float32's 1 - 1e-7


def test_the_hand_written_loop_of_fashion_mnist_is_fit(capsys):
    example, splits = load("fashion_mnist"), ports.get("fashion_mnist").synthetic(200)
    by_hand = example.run(example.create_net(nnx.Rngs(0)), splits, epochs=2)
    history = jaxport.fit(
        example.create_net(nnx.Rngs(0)),
        splits.train,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.SGD(lr=1e-3),
        epochs=2,
        batch_size=64,
        validation=splits.val,
        prepare=data.to_float,
        shuffle=False,
    )
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(by_hand[name], history.columns[name], rtol=1e-5, err_msg=name)
