"""chapter.command: options, exit statuses, levels."""

from pathlib import Path

import numpy as np
import pytest
from flax import nnx

import jaxport
from jaxport import chapter, engine, nn
from jaxport.errors import DataError, UsageError


def make(result=None, expected=None, levels=(), error=None):
    seen = []

    @chapter.command("A chapter.", expected, levels)
    def main(options):
        seen.append(options)
        if error is not None:
            raise error
        return result or {}

    return main, seen


def test_options_reach_the_chapter(tmp_path):
    main, seen = make()
    assert main(["--data", "somewhere", "--out", str(tmp_path / "a" / "b"), "--smoke"]) == 0
    assert seen == [chapter.Options("somewhere", tmp_path / "a" / "b", True, "")]
    assert seen[0].out.is_dir()
    assert (main.name, main.title) == (Path(__file__).stem, "A chapter.")


@pytest.mark.parametrize(("value", "status"), [(0.9, 0), (1.0, 0), (0.89, 1), (1.01, 1), (float("nan"), 1)])
def test_a_score_outside_its_bounds_is_exit_status_1(value, status, tmp_path, capsys):
    main, _ = make({"accuracy": value}, {"accuracy": (0.9, 1.0)})
    assert main(["--out", str(tmp_path)]) == status
    assert capsys.readouterr().err.startswith("missed: accuracy ") == bool(status)


def test_a_smoke_run_only_needs_finite_scores(tmp_path, capsys):
    assert make({"accuracy": 0.1}, {"accuracy": (0.9, 1.0)})[0](["--smoke", "--out", str(tmp_path)]) == 0
    assert make({"loss": float("inf")})[0](["--smoke", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "missed: loss inf is not finite\n"


@pytest.mark.parametrize("error", [UsageError("no"), OSError("no")])
def test_an_error_is_one_line_and_exit_status_2(error, tmp_path, capsys):
    assert make(error=error)[0](["--out", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == "error: no\n"
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    assert make(error=error)[0](["--out", str(tmp_path / "old")]) == 2
    assert (tmp_path / "old").exists()


def test_an_expected_score_that_is_not_returned_is_a_programming_error(tmp_path):
    with pytest.raises(KeyError, match="returns no accuracy, only \\['loss'\\]"):
        make({"loss": 1.0}, {"accuracy": (0.9, 1.0)})[0](["--smoke", "--out", str(tmp_path)])


def test_levels_have_their_own_bounds(tmp_path, capsys):
    main, seen = make({"loss": 1.0}, {"high": {"loss": (0, 2)}, "low": {"loss": (2, 3)}}, ("high", "low"))
    assert main(["--out", str(tmp_path)]) == 0
    assert main(["--out", str(tmp_path), "--level", "low"]) == 1
    assert [options.level for options in seen] == ["high", "low"]
    with pytest.raises(SystemExit):
        main(["--level", "none"])
    assert "invalid choice: 'none'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="levels \\['high', 'low'\\], got \\['high'\\]"):
        make(expected={"high": {}}, levels=("high", "low"))


def test_start_does_nothing_when_imported_and_exits_as_a_script(monkeypatch, tmp_path):
    main, seen = make()
    main.start("some_module")
    assert not seen
    monkeypatch.setattr("sys.argv", ["chapter.py", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as exit:
        main.start("__main__")
    assert exit.value.code == 0
    monkeypatch.setitem(__import__("sys").modules, "ipykernel", object())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["kernel", "-f", "connection.json"])
    main.start("__main__")
    assert len(seen) == 2


def test_a_smoke_run_loads_made_up_data(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXPORT_DATA", raising=False)
    splits = chapter.Options(None, tmp_path, True, "").load("mnist", smoke=10)
    assert (splits.origin, len(splits.train.x), len(splits.val.x)) == ("synthetic", 10, 2)
    assert len(chapter.Options(None, tmp_path, False, "").load("points", smoke=10).train.x) == 5
    with pytest.raises(DataError, match=f"'mnist' is not found in {tmp_path}"):
        chapter.Options(str(tmp_path), tmp_path, False, "").load("mnist", smoke=10)


def test_saved_weights_are_read_and_compared(tmp_path, monkeypatch, capsys):
    net, other = (
        nn.Sequential(nn.Dropout(0.5, rngs=rngs), nn.Linear(2, 1, rngs=rngs)) for rngs in map(nnx.Rngs, (0, 1))
    )
    x = np.ones((3, 2), np.float32)
    chapter.save(net, other, x, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(other[1].weight[...], net[1].weight[...])
    assert jaxport.load_file(tmp_path / "w.safetensors").keys() == {"1.weight", "1.bias"}
    assert capsys.readouterr().out == "saved 1.weight, 1.bias; the reloaded net predicts the same\n"
    monkeypatch.setattr("jaxport.interop.load_state_dict", lambda *_: None)
    with pytest.raises(AssertionError):
        chapter.save(net, nn.Sequential(nn.Linear(2, 1, rngs=nnx.Rngs(2))), x, tmp_path / "w.safetensors")
    assert capsys.readouterr().out == ""


def test_an_epoch_is_a_line(capsys):
    chapter.print_epoch(engine.Progress(1, 5, 10, 0.5))
    assert capsys.readouterr().out == ""
    chapter.print_epoch(engine.Progress(1, 5, 10, 0.5, {"loss": 0.5, "val_accuracy": 0.25}))
    assert capsys.readouterr().out == "epoch  1  loss 0.5000  val_accuracy 0.2500\n"
