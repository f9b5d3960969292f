"""The picture and the table of a training run."""

import builtins
import math
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxport
from jaxport.errors import UsageError
from jaxport.viz import plot_history, show_samples, write_csv
from jaxport.viz.history import MARKED, draw_history

try:
    import matplotlib.figure
except ImportError:
    matplotlib = None
needs_matplotlib = pytest.mark.skipif(matplotlib is None, reason="matplotlib is not installed")
PNG = b"\x89PNG\r\n\x1a\n"


def run(epochs, decades=1.0):
    """A history like that of a classifier whose loss falls by so many decades."""
    loss = np.logspace(0, -decades, epochs)
    columns = {"epoch": range(1, epochs + 1), "accuracy": 1 - loss / 2, "loss": loss}
    return columns | {"val_loss": loss * 1.5, "val_accuracy": 0.9 - loss / 2}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Return a function that plots columns and gives the axes back."""
    figures = []
    save = matplotlib.figure.Figure.savefig
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda f, *a, **k: (figures.append(f), save(f, *a, **k)))

    def draw(columns, title=None):
        plot_history(columns, tmp_path / "history.png", title=title)
        assert (tmp_path / "history.png").read_bytes().startswith(PNG)
        assert [p.name for p in tmp_path.iterdir()] == ["history.png"]
        return figures[-1].axes

    return draw


@needs_matplotlib
@pytest.mark.parametrize("epochs", [1, 2, 20, MARKED, MARKED + 1, 10_000])
def test_panels_lines_and_ticks(drawn, epochs):
    columns = run(epochs)
    axes = drawn(columns, title=r"a_b 5$ \frac 6$")
    assert [a.get_ylabel() for a in axes] == ["loss", "accuracy"]
    assert {a.get_xlabel() for a in axes} == {"epoch"}
    assert axes[0].figure.get_suptitle() == r"a_b 5$ \frac 6$"
    for panel, name in zip(axes, ["loss", "accuracy"], strict=True):
        train, validation = panel.get_lines()
        assert (train.get_linestyle(), validation.get_linestyle()) == ("--", "-")
        assert {line.get_marker() for line in (train, validation)} == ({"o"} if epochs <= MARKED else {""})
        np.testing.assert_array_equal(train.get_xydata(), np.stack([columns["epoch"], columns[name]], 1))
        np.testing.assert_array_equal(validation.get_ydata(), columns[f"val_{name}"])
        assert [t.get_text() for t in panel.get_legend().get_texts()] == ["train", "validation"]
        low, high = panel.get_xlim()
        ticks = [tick for tick in panel.get_xticks() if low <= tick <= high]
        assert ticks
        assert all(tick == round(tick) for tick in ticks)


@needs_matplotlib
@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        ([1.0, 0.02], "linear"),
        ([1.0, 0.005], "log"),
        ([1.0, 0.0], "linear"),
        ([1.0, -1.0, 0.001], "linear"),
        ([1.0, math.nan, 0.005], "log"),
        ([math.nan], "linear"),
        ([1.0, math.inf], "linear"),
    ],
)
def test_the_loss_is_logarithmic_over_two_decades(drawn, loss, scale):
    columns = {"epoch": range(len(loss)), "loss": loss, "mae": loss}
    assert [a.get_yscale() for a in drawn(columns)] == [scale, "linear"]
    assert drawn({"epoch": range(len(loss)), "val_loss": loss})[0].get_yscale() == scale


@needs_matplotlib
def test_validation_of_every_third_epoch_is_one_line(drawn):
    columns = {"epoch": range(6), "mae": [6.0, 5, 4, math.inf, 2, None], "val_mae": [None, 7.0, None, None, 4.5, None]}
    (panel,) = drawn(columns)
    train, validation = panel.get_lines()
    assert validation.get_xydata().tolist() == [[1, 7.0], [4, 4.5]]
    assert train.get_xdata().tolist() == [0, 1, 2, 4]
    assert panel.get_xlim()[0] < 0
    assert panel.get_xlim()[1] > 5


@needs_matplotlib
@pytest.mark.parametrize(("quantities", "grid"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3)), (10, (4, 3))])
def test_many_quantities_make_a_grid(drawn, quantities, grid):
    axes = drawn({"epoch": [1, 2]} | {f"q{i}": [1.0, 2.0] for i in range(quantities)})
    assert len(axes) == quantities
    assert axes[0].get_gridspec().get_geometry() == grid


@needs_matplotlib
def test_no_global_state_is_touched(tmp_path):
    code = (
        "import sys, jaxport.viz; assert 'matplotlib' not in sys.modules\n"
        "jaxport.viz.plot_history({'epoch': [1], 'loss': [1.0]}, sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "h.png")], check=True, cwd=Path(jaxport.__file__).parents[1]
    )
    assert (tmp_path / "h.png").exists()


@pytest.mark.parametrize(
    ("columns", "name", "message"),
    [
        ({"loss": [1.0], "mae": [1.0]}, "h.png", r"columns has \['loss', 'mae'\]; 'epoch' and at least one quantity"),
        ({"epoch": [1]}, "h.png", r"columns has \['epoch'\]; 'epoch' and at least one"),
        ({"epoch": [1, 2], "loss": [1.0]}, "h.png", r"one length, but have \{'epoch': 2, 'loss': 1\}"),
        ({"epoch": [], "loss": []}, "h.png", "columns is empty: train for at least one epoch"),
        ({"epoch": [1], "loss": [1.0]}, "h.jpg", r"h\.jpg' must end in \.png"),
    ],
)
def test_unusable_arguments(tmp_path, columns, name, message):
    with pytest.raises(UsageError, match=message):
        plot_history(columns, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"plots need matplotlib: pip install 'jaxport\[viz\]'"):
        plot_history({"epoch": [1], "loss": [1.0]}, tmp_path / "h.png")


@needs_matplotlib
def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none/h\.png' cannot be written: No such file.*writable folder"):
        plot_history(run(2), tmp_path / "none" / "h.png")


def test_floats_in_a_table_read_back_exactly(tmp_path):
    rng = np.random.default_rng(0)
    doubles = rng.integers(0, 2**64, 1000, dtype=np.uint64).view(np.float64)
    singles = rng.integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32)
    singles[np.isnan(singles)] = 0.1  # NaN payloads warn when they are widened
    columns = {"python": doubles.tolist(), "numpy": doubles, "single": singles, "jax": list(jnp.asarray(singles))}
    write_csv(columns, tmp_path / "t.csv")
    table = np.genfromtxt(tmp_path / "t.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(table["python"], doubles)
    np.testing.assert_array_equal(table["numpy"], doubles)
    np.testing.assert_array_equal(table["single"], singles.astype(np.float64))
    np.testing.assert_array_equal(table["jax"], singles.astype(np.float64))


def test_the_text_of_a_table(tmp_path):
    columns = {"epoch": [1, np.int64(2)], "loss": [0.1, math.nan], 'a "name", odd': ["x,y", "é"], "val": [None, 1e-300]}
    write_csv(columns, tmp_path / "t.csv")
    text = 'epoch,loss,"a ""name"", odd",val\n1,0.1,"x,y",\n2,nan,é,1e-300\n'
    assert (tmp_path / "t.csv").read_bytes() == text.encode()


def test_a_table_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_csv({"a": [1]}, tmp_path / "t.csv")
    with pytest.raises(UsageError, match=r"columns must have one length, but have \{'a': 1, 'b': 2\}"):
        write_csv({"a": [1], "b": [1, 2]}, tmp_path / "t.csv")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxport.viz.table.os.fsync", fail)
    with pytest.raises(UsageError, match=r"t\.csv' cannot be written: No space left"):
        write_csv({"a": [2]}, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "a\n1\n"
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


@needs_matplotlib
def test_how_an_epoch_was_run_has_no_panel(drawn):
    columns = run(3) | {"lr": [0.1] * 3, "seconds": [1.0] * 3}
    assert [a.get_ylabel() for a in drawn(columns)] == ["loss", "accuracy"]
    with pytest.raises(UsageError, match="at least one quantity"):
        draw_history({"epoch": [1], "lr": [0.1]})


@needs_matplotlib
def test_a_notebook_gets_a_picture():
    """As IPython asks for it; matplotlib registers its figures only when pyplot is imported."""
    for figure in (draw_history(run(3)), show_samples((np.zeros((1, 4, 4)), np.zeros(1)), 1)):
        assert figure._repr_png_().startswith(PNG)
