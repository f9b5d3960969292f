"""Trained ports on new inputs: what is predicted, how inputs are read, and that wrong ones end in status 2."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from data_files import TITANIC_ROWS, titanic_csv, write_covid, write_imdb
from flax import nnx
from image_files import image_bytes, picture

import jaxport
from jaxport import cli, data, nn, ports, predict
from jaxport.data import covid, imdb, titanic, to_float
from jaxport.errors import WeightsError
from jaxport.ports.covid19 import forecast
from jaxport.predict_inputs import Inputs, as_picture, read_inputs

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without data, and leave the user's compilation cache alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXPORT_DATA", raising=False)
    monkeypatch.setattr(cli, "_use_compilation_cache", lambda: None)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `jaxport predict NAME …` with random weights and returns what it prints."""

    def predict_with(name: str, *arguments: str) -> str:
        jaxport.save_file(jaxport.state_dict(ports.get(name).build(0)), "w.safetensors")
        status = cli.main(["predict", name, "--weights", "w.safetensors", *arguments])
        captured = capsys.readouterr()
        assert (status, captured.err) == (0, "")
        return captured.out

    return predict_with


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(np.asarray(logits, np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def in_order(row: dict[str, Any], classes: tuple[str, ...]) -> list[float]:
    """Return the probabilities in the order of the labels."""
    assert row["class"] == max(row["classes"], key=row["classes"].__getitem__)
    assert row["probability"] == row["classes"][row["class"]]
    assert sum(row["classes"].values()) == pytest.approx(1, abs=1e-12)
    return [row["classes"][name] for name in classes]


def test_pictures_of_a_folder(run: Run) -> None:
    Path("digits").mkdir()
    pixels = [picture(seed, 28, 28, channels=1) for seed in range(3)]
    for name, array in zip(("10.png", "2.png", "1.png"), pixels, strict=True):
        Path("digits", name).write_bytes(image_bytes(array))
    rows = json.loads(run("digits", "digits", "--json"))
    assert [row["input"] for row in rows] == ["digits/1.png", "digits/2.png", "digits/10.png"]
    x = to_float(np.stack(pixels[::-1])[:, None])
    expected = softmax(np.asarray(ports.get("digits").build(0).eval()(x)))
    np.testing.assert_allclose([in_order(row, tuple("0123456789")) for row in rows], expected, atol=1e-6)


def test_top_classes_in_a_table(run: Run) -> None:
    Path("a.png").write_bytes(image_bytes(picture(0, 28, 28, channels=1)))
    (row,) = json.loads(run("fashion_mnist", "a.png", "--json", "--top", "3"))
    shown = run("fashion_mnist", "a.png", "--top", "3")
    assert list(row["classes"].values()) == sorted(row["classes"].values(), reverse=True)
    assert len(row["classes"]) == 3
    assert all(name in shown and f"{p:.4f}" in shown for name, p in row["classes"].items())
    assert len([line for line in run("fashion_mnist", "a.png").splitlines() if line.startswith("│")]) == 1


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_picture_in_grey_is_pillow_s(mode: str, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    pixels = picture(1, 28, 28, channels=4 if mode == "RGBA" else 3 if mode == "RGB" else 1)
    (tmp_path / "p.png").write_bytes(image_bytes(pixels))
    image = data.image_folder.load_image(tmp_path / "p.png")
    grey = np.asarray(pillow.fromarray(pixels).convert("RGB").convert("L"))
    np.testing.assert_array_equal(as_picture(image, (1, 28, 28)), grey[None], strict=True)
    np.testing.assert_array_equal(as_picture(image, (1, 28, 28), invert=True), 255 - grey[None], strict=True)


def test_a_picture_of_another_size_is_resized() -> None:
    image = np.repeat(np.repeat(picture(2, 32, 32).transpose(2, 0, 1), 2, axis=1), 3, axis=2)
    found = as_picture(image, (3, 32, 32))
    assert found.shape == (3, 32, 32)
    np.testing.assert_array_equal(found, data.transforms.Resize((32, 32))(image))


def test_batches_have_one_shape_and_the_last_is_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    port = dataclasses.replace(ports.get("titanic"), prepare=lambda x: shapes.append(x.shape) or x)
    x = port.synthetic(5).train.x
    inputs = Inputs(list("abcde"), lambda first, end: x[first:end])
    whole = predict.predict(port, port.build(0), inputs)
    assert shapes == [(5, 15)]
    monkeypatch.setattr(predict, "BATCH", 2)
    parts = predict.predict(port, port.build(0), inputs)
    assert shapes == [(5, 15), (2, 15)]
    assert [row.input for row in parts] == list("abcde")
    np.testing.assert_allclose([r.output for r in parts], [r.output for r in whole], rtol=1e-6)


def test_passengers_go_through_the_reader_s_features(run: Run, tmp_path: Path) -> None:
    Path("list.csv").write_text(titanic_csv())
    header = "Pclass,Sex,Age,SibSp,Parch,Fare,Cabin,Embarked"  # nobody knows who survived
    Path("unknown.csv").write_text(header + "\n3,male,22.0,1,0,7.25,,S\n")
    rows = json.loads(run("titanic", "list.csv", "unknown.csv", "--json"))
    assert [row["input"] for row in rows] == [*(f"list.csv, line {i}" for i in (2, 3, 4)), "unknown.csv, line 2"]
    for name in titanic.FILES:
        (tmp_path / name).write_text(titanic_csv(*TITANIC_ROWS))
    x = titanic.load(tmp_path).train.x
    survived = np.asarray(ports.get("titanic").build(0)(x))[:, 0]
    found = [in_order(row, ("died", "survived"))[1] for row in rows]
    np.testing.assert_allclose(found, [*survived, survived[0]], rtol=1e-6)


def test_reviews_as_files_and_as_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = data.Vocabulary.build(["a fine film\n", "a dull film\n"])
    words.save("vocabulary.json")
    Path("review.txt").write_text("A dull film\n")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"A dull film")))
    rows = json.loads(run("imdb", "--text", "A dull film", "review.txt", "-", "--json"))
    assert [row["input"] for row in rows] == ["A dull film", "review.txt", "-"]
    x = words.encode_batch(["A dull film\n"])
    expected = float(np.asarray(ports.get("imdb").build(0)(x))[0, 0])
    found = [in_order(row, ("negative", "positive"))[1] for row in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_run_imdb_leaves_the_vocabulary_beside_the_weights(capsys: pytest.CaptureFixture[str]) -> None:
    write_imdb(Path("sets/imdb"))
    assert cli.main(["run", "imdb", "--data", "sets", "--epochs", "1", "--out", "out"]) == 0
    assert "vocabulary.json" in capsys.readouterr().out
    assert data.Vocabulary.load("out/vocabulary.json") == imdb.load_vocabulary("sets/imdb")


def test_the_forecast_of_covid19(run: Run) -> None:
    write_covid(Path("sets/covid"))
    rows = json.loads(run("covid19", "--data", "sets", "--days", "5", "--out", "out", "--json"))
    assert [row["date"] for row in rows] == [f"2020-02-0{d}" for d in range(5, 10)]
    series = covid.differences("sets/covid")[1]
    model = ports.get("covid19").build(0)
    for row in rows:  # as the tutorial's loop, with the 11 days that there are
        new = np.floor(np.asarray(model(series[None, -11:])))
        np.testing.assert_array_equal([row[name] for name in covid.COLUMNS], new[0])
        series = np.concatenate([series, new])
    text = run("covid19", "--data", "sets", "--days", "5", "--out", "out")
    assert "5 days after 2020-02-04" in text
    assert Path("out/forecast.png").read_bytes().startswith(b"\x89PNG")
    assert len(Path("out/forecast.csv").read_text().splitlines()) == 1 + 11 + 5


class Window(nn.Module):
    """Predicts the mean of the days that it sees."""

    def forward(self, x: jax.Array) -> jax.Array:
        return x.mean(axis=1)


def test_the_forecast_sees_the_last_38_days_and_then_its_own() -> None:
    series = np.random.default_rng(0).uniform(0, 1000, (60, 3)).astype(np.float32)
    found = forecast(Window(), series, 3)
    for day in found:
        np.testing.assert_array_equal(day, np.floor(series[-38:].mean(axis=0, dtype=np.float64)))
        series = np.concatenate([series, day[None]])


def test_a_loaded_model_is_in_evaluation_mode() -> None:
    port = ports.get("titanic")
    jaxport.save_file(jaxport.state_dict(port.build(0)), "w.safetensors")
    assert not predict.load_port(port, "w.safetensors").training


def test_the_first_day_without_new_cases() -> None:
    values = np.array([[0, 0, 1], [5, 1, 1], [0, 2, 1]], np.float32)
    found = predict.Forecast(tuple(covid.date(2020, 3, day) for day in (9, 10, 11)), values, known=2)
    assert [found.first_zero(name) for name in covid.COLUMNS] == [2, None, None]
    assert "first 0 on 2020-03-11, day 2" in found.text()


@pytest.mark.parametrize("name", [name for name in ports.names() if ports.get(name).classes])
def test_the_classes_are_those_of_the_data(name: str) -> None:
    port = ports.get(name)
    splits = port.synthetic(20)
    assert len(port.classes) == len(splits.classes)
    assert port.classes == tuple(label.split("_")[-1] for label in splits.classes)
    graph, state = nnx.split(nnx.eval_shape(lambda: port.build(0).eval()))
    x = jax.eval_shape(port.prepare, splits.train.x[:2])
    outputs = jax.eval_shape(lambda state, x: nnx.merge(graph, state, copy=True)(x), state, x).shape[1]
    assert outputs in ({1, 2} if len(port.classes) == 2 else {len(port.classes)})


def test_weights_that_are_not_numbers_are_named() -> None:
    port = ports.get("titanic")
    model = port.build(0)
    broken = {key: np.full_like(value, np.nan) for key, value in jaxport.state_dict(model).items()}
    jaxport.load_state_dict(model, broken)
    inputs = Inputs(["first", "second"], lambda first, end: np.zeros((2, 15), np.float32))
    with pytest.raises(WeightsError, match="no finite number for first"):
        predict.predict(port, model, inputs)


def test_a_text_is_shown_short() -> None:
    data.Vocabulary.build(["a\n"]).save("v.json")
    found = read_inputs(ports.get("imdb"), [], texts=["word " * 100], vocabulary="v.json")
    assert found.names == ["word word word word word word word word…"]
    assert found.load(0, 1).shape == (1, 200)


WRONG: list[tuple[list[str], str]] = [
    (["digit", "a.png"], "did you mean 'digits'"),
    (["digits"], "INPUT is missing; digits takes images"),
    (["digits", "missing.png"], "missing.png: no such file"),
    (["digits", "broken.png"], "broken.png: "),
    (["digits", "empty"], "empty: has no image"),
    (["digits", "a.png", "--text", "fine"], "--text and --vocabulary are for reviews"),
    (["digits", "a.png", "--weights", "missing.safetensors"], "missing.safetensors"),
    (["digits", "a.png", "--weights", "titanic.safetensors"], "titanic.safetensors is not of digits"),
    (["digits", "a.png", "--weights", "titanic.safetensors"], "linear3.weight"),
    (["digits", "a.png", "--weights", "broken.png"], "broken.png"),
    (["digits", "a.png", "--top", "0"], "--top"),
    (["digits", "a.png", "--frob"], "unrecognized arguments: --frob"),
    (["titanic", "a.png", "--invert"], "--invert is for pictures"),
    (["titanic", "short.csv"], "short.csv: has no column SibSp, Parch, Fare, Cabin, Embarked"),
    (["titanic", "bad.csv"], "bad.csv, line 2, column Sex"),
    (["titanic", "missing.csv"], "missing.csv: no such file"),
    (["imdb"], "INPUT is missing; imdb takes texts"),
    (["imdb", "--text", "fine"], "vocabulary.json: no such file; `jaxport run imdb` writes it"),
    (["imdb", "--text", "fine", "--vocabulary", "short.csv"], "short.csv: is not a vocabulary"),
    (["covid19"], "data set 'covid' is not found"),
    (["covid19", "a.png"], "covid19 takes no INPUT"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_input_ends_in_status_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("a.png").write_bytes(image_bytes(picture(0)))
    Path("broken.png").write_bytes(image_bytes(picture(0))[:200])
    Path("short.csv").write_text("Pclass,Sex,Age\n3,male,22\n")
    Path("bad.csv").write_text(titanic_csv(TITANIC_ROWS[0].replace("male", "goat")))
    for name in ("digits", "titanic", "imdb", "covid19"):
        jaxport.save_file(jaxport.state_dict(ports.get(name).build(0)), f"{name}.safetensors")
    weights = [] if "--weights" in arguments else ["--weights", f"{arguments[0].removesuffix('x')}.safetensors"]
    try:
        status = cli.main(["predict", *arguments[:1], *weights, *arguments[1:]])
    except SystemExit as exit:  # argparse
        status = exit.code
    captured = capsys.readouterr()
    assert status == 2
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_weights_of_pytorch(run: Run) -> None:
    torch = pytest.importorskip("torch")
    weights = jaxport.state_dict(ports.get("titanic").build(0))
    torch.save({key: torch.from_numpy(value) for key, value in weights.items()}, "w.pt")
    Path("list.csv").write_text(titanic_csv())
    expected = run("titanic", "list.csv", "--json")
    assert run("titanic", "list.csv", "--weights", "w.pt", "--json") == expected
