"""The record of a run: its columns, its text, its picture, and as JSON."""

import builtins
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxport.engine.history import History, check_mode, mode_of
from jaxport.errors import UsageError

nan = math.nan


def history(**columns):
    count = len(next(iter(columns.values())))
    return History({"epoch": [*range(1, count + 1)], **columns})


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("loss", "min"), ("val_loss", "min"), ("accuracy", "max"), ("val_accuracy", "max"), ("auc", "max"),
        ("top5", "max"), ("top_5_accuracy", "max"), ("top5_error", "min"), ("dice_loss", "min"), ("dice", "max"),
        ("mae", "min"), ("val_r2", "max"), ("f1", "max"), ("f1-score", "max"), ("Perplexity", "min"), ("macaque", None),
        ("score", None), ("val_", None),
    ],
)  # fmt: skip
def test_which_way_a_column_gets_better(name, mode):
    assert mode_of(name) == mode
    if mode is None:
        with pytest.raises(UsageError, match=rf"me: whether '{name}' should fall or rise .*mode='min' or mode='max'"):
            check_mode("me", name, "auto")
    assert check_mode("me", name, "max") == "max"
    with pytest.raises(UsageError, match="me: mode must be 'min', 'max' or 'auto', got 'up'"):
        check_mode("me", name, "up")


def test_columns_that_come_and_go_stay_of_one_length():
    table = History()
    table.append({"epoch": [1], "loss": [4.0]})
    table.append({"epoch": [2, 3], "loss": [3.0, 2.0], "val_loss": [5.0, 4.0]})
    table.append({"epoch": [4], "loss": [1.0], "lr": [0.1]})
    assert list(table) == ["epoch", "loss", "val_loss", "lr"]
    assert len(table) == 4
    np.testing.assert_array_equal(table["val_loss"], [nan, 5.0, 4.0, nan])
    np.testing.assert_array_equal(table["lr"], [nan, nan, nan, 0.1])
    assert table["loss"] == [4.0, 3.0, 2.0, 1.0]
    assert table.row(1) | {"lr": None} == {"epoch": 2, "loss": 3.0, "val_loss": 5.0, "lr": None}
    assert "val_loss" in table
    assert "mae" not in table


def test_an_unknown_column_is_named():
    with pytest.raises(UsageError, match="no column 'mae'; it has epoch, loss"):
        history(loss=[1.0])["mae"]
    with pytest.raises(UsageError, match="no column 'loss'; it has none yet"):
        History()["loss"]


def test_the_last_values_are_those_of_the_model():
    table = history(loss=[2.0, 1.0], accuracy=[0.1, 0.2], val_loss=[3.0, 4.0], lr=[0.1, 0.1], seconds=[1.0, 1.0])
    assert table.last() == {"loss": 1.0, "accuracy": 0.2}
    assert table.last("val_") == {"loss": 4.0}
    assert table.quantities == ["loss", "accuracy", "val_loss"]


def test_the_best_epoch():
    table = history(loss=[nan, 2.0, 1.0, 1.0, 3.0], accuracy=[0.1, nan, 0.5, 0.4, 0.5], score=[1.0, 2.0, 3.0, 4.0, 5.0])
    assert table.best("loss") == (3, 1.0)
    assert table.best("accuracy") == (3, 0.5)
    assert table.best("loss", "max") == (5, 3.0)
    assert table.best("score", "min") == (1, 1.0)
    with pytest.raises(UsageError, match="best: whether 'score' should fall or rise"):
        table.best("score")
    with pytest.raises(UsageError, match="column 'loss' has no number in its 2 epochs"):
        history(loss=[nan, nan]).best("loss")


def test_json_and_back():
    table = history(loss=[0.1, nan, math.inf], lr=[np.float32(0.1), jnp.float32(0.1), -math.inf])
    table.stop_reason, table.steps, table.interrupted, table.compile_seconds = "enough", 7, True, 0.3
    text = json.dumps(table.to_dict(), allow_nan=False)
    back = History.from_dict(json.loads(text))
    for name in table:
        np.testing.assert_array_equal(np.asarray(back[name], float), np.asarray(table[name], float))
    assert {type(value) for value in back["epoch"]} == {int}
    assert (back.stop_reason, back.steps, back.interrupted, back.compile_seconds) == ("enough", 7, True, 0.3)
    assert back["loss"][0].hex() == (0.1).hex()
    with pytest.raises(UsageError, match=r"no history: missing \['columns'.*unknown \['rows'\]"):
        History.from_dict({"rows": []})


def test_the_text():
    table = history(loss=[1.0, 0.5], val_loss=[nan, 0.25], lr=[0.001, 1e-5], seconds=[1.234, 12.0])
    table.steps, table.train_seconds, table.compile_seconds = 1234, 5.25, 0.5
    assert str(table).splitlines() == [
        "epoch    loss  val_loss     lr  seconds",
        "    1  1.0000         -  0.001     1.23",
        "    2  0.5000    0.2500  1e-05    12.00",
        "2 epochs, 1,234 steps in 5.2 s and 0.5 s compiling",
    ]
    table.interrupted = True
    assert str(table).endswith("compiling; interrupted")
    table.stop_reason = "val_loss has not improved"
    assert repr(table).endswith("compiling; stopped: val_loss has not improved")
    assert str(History()) == "0 epochs, 0 steps in 0.0 s and 0.0 s compiling"


def test_the_text_of_a_long_run_leaves_out_the_middle():
    lines = str(history(loss=[float(i) for i in range(1000)])).splitlines()
    assert len(lines) == 1 + 12 + 1 + 1
    assert lines[7] == "… 988 more"
    assert [line.split()[0] for line in lines[5:10]] == ["5", "6", "…", "995", "996"]
    assert len(str(history(loss=[1.0] * 12)).splitlines()) == 1 + 12 + 1


def test_a_data_frame():
    pandas = pytest.importorskip("pandas")
    table = history(loss=[2.0, 1.0], val_loss=[nan, 3.0])
    frame = table.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["epoch", "loss", "val_loss"]
    np.testing.assert_array_equal(frame.to_numpy(), [[1, 2.0, nan], [2, 1.0, 3.0]])


def test_what_to_install_for_a_data_frame(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"to_pandas needs pandas: pip install 'jaxport\[data\]'"):
        history(loss=[1.0]).to_pandas()


def test_the_picture_has_the_models_columns(tmp_path):
    pytest.importorskip("matplotlib")
    table = history(
        lr=[0.1] * 3, loss=[3.0, 2.0, 1.0], val_loss=[nan, 2.5, nan], accuracy=[0.1, 0.2, 0.3], seconds=[1.0] * 3
    )
    figure = table.plot(tmp_path / "history.png", title="a run")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    assert figure.get_suptitle() == "a run"
    train, validation = figure.axes[0].get_lines()
    assert train.get_ydata().tolist() == [3.0, 2.0, 1.0]
    assert validation.get_xydata().tolist() == [[2, 2.5]]
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    assert table.plot() is not None
    with pytest.raises(UsageError, match=r"h\.pdf' must end in \.png"):
        table.plot(tmp_path / "h.pdf")
    with pytest.raises(UsageError, match="'epoch' and at least one quantity"):
        History().plot()
    assert [path.name for path in tmp_path.iterdir()] == ["history.png"]
