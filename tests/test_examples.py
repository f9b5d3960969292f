"""The examples: each runs, has its port's net and recipe, and can fail; and every port has all its files."""

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from chapters_a_names import CHAPTERS_A
from flax import nnx

import jaxport
from jaxport import data, nn, optim, ports

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


CHAPTERS = {*CHAPTERS_A}
"""The examples that are no port."""


@pytest.mark.parametrize("folder", ["jaxport/models", "jaxport/reference", "jaxport/ports"])
def test_every_port_has_its_files_and_there_are_no_others(folder):
    assert python_files(folder) == set(ports.names())


def test_the_examples_are_the_ports_and_the_chapters():
    assert not CHAPTERS & set(ports.names())
    assert python_files("examples") == CHAPTERS | set(ports.names())


def test_every_port_has_a_line_in_the_table_of_examples():
    table = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert {name for name in ports.names() if f"`{name}.py`" in table} == set(ports.names())


@pytest.mark.parametrize("name", ports.names())
def test_a_port_counts_its_parameters(name):
    port = ports.get(name)
    assert sum(math.prod(parameter.shape) for parameter in port.build(0).parameters()) == port.parameters


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
    score = example.main.bounds(*example.main.levels[:1]) if hasattr(example.main, "bounds") else example.EXPECTED
    assert expected == (score if isinstance(score, dict) else dict.fromkeys(expected, score))


@pytest.mark.parametrize("name", ports.names())
def test_smoke(name, tmp_path, capsys):
    assert load(name).main(["--smoke", "--out", str(tmp_path / "new" / "folder")]) == 0
    written = {path.name: path.read_bytes() for path in (tmp_path / "new" / "folder").iterdir()}
    assert written.keys() == {*FILES[name], "weights.safetensors"}
    assert all(written[file].startswith(b"\x89PNG") for file in written if file.endswith(".png"))
    assert (
        jaxport.load_file(tmp_path / "new" / "folder" / "weights.safetensors").keys()
        == jaxport.state_dict(ports.get(name).build(0)).keys()
    )
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
        monkeypatch.setattr(example, "read", lambda folder, smoke: port.synthetic(100))
    impossible = (2.0, 3.0)  # no accuracy, and not the line's sum of squares
    monkeypatch.setattr(example, "EXPECTED", {"val_accuracy": impossible} if name == "fashion_mnist" else impossible)
    assert example.main(["--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("missed: ")
    assert error.count("\n") == 1


def test_linreg_matrix_meets_its_score(tmp_path, capsys):
    assert load("linreg_matrix").main(["--out", str(tmp_path)]) == 0
    assert "loss 8.24" in capsys.readouterr().out


def test_the_hand_written_loop_of_mnist_cnn_is_fit(capsys):
    example, splits = load("mnist_cnn"), ports.get("mnist_cnn").synthetic(40)
    by_hand = example.train(example.create_net(nnx.Rngs(0)), splits, epochs=2, batch_size=16)
    with_fit = example.train_with_fit(example.create_net(nnx.Rngs(0)), splits, epochs=2, batch_size=16)
    assert list(by_hand) == [name for name in with_fit if name not in ("lr", "seconds")]
    for name, values in by_hand.items():
        np.testing.assert_allclose(values, with_fit[name], rtol=1e-5, err_msg=name)


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
