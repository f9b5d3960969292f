"""What a model makes of points, as pictures."""

import numpy as np
import pytest

from jaxport.errors import UsageError
from jaxport.viz import plot_classes, plot_fit
from jaxport.viz.points import BLUE, COLORS, MANY, VERMILION

to_hex = pytest.importorskip("matplotlib.colors").to_hex
X = np.array([3.0, 1.0, 2.0])
PLANE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])


def offsets(collection):
    return np.asarray(collection.get_offsets())


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_a_fit_is_points_a_curve_in_the_order_of_x_and_losses(shape, tmp_path):
    figure = plot_fit(X.reshape(shape), X.reshape(shape) ** 2, 2 * X.reshape(shape), [9.0, 4.0], tmp_path / "f.png")
    points, losses = figure.axes
    np.testing.assert_array_equal(offsets(points.collections[0]), np.stack([X, X**2], axis=1))
    np.testing.assert_array_equal(points.lines[0].get_xydata(), [[1, 2], [2, 4], [3, 6]])
    assert (to_hex(points.collections[0].get_facecolor()[0]), points.lines[0].get_color()) == (BLUE, VERMILION)
    np.testing.assert_array_equal(losses.lines[0].get_xydata(), [[1, 9], [2, 4]])
    assert (losses.get_xscale(), losses.get_yscale(), losses.get_title()) == ("log", "log", "4 after 2 updates")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_a_fit_without_losses_is_one_panel_and_of_many_points_some_are_drawn():
    x = np.linspace(0, 1, 5 * MANY)
    (axes,) = plot_fit(x, x, x).axes
    assert len(offsets(axes.collections[0])) == MANY
    assert offsets(axes.collections[0])[[0, -1], 0].tolist() == [0, 1]
    assert len(axes.lines[0].get_xdata()) == len(x)


def test_classes_are_drawn_as_they_are_and_as_predicted(tmp_path):
    figure = plot_classes(PLANE, [[0], [1], [1], [2]], [0, 1, 0, 2], tmp_path / "c.png", classes="abc")
    true, predicted = figure.axes
    wanted = {true: [PLANE[:1], PLANE[1:3], PLANE[3:]], predicted: [PLANE[[0, 2]], PLANE[1:2], PLANE[3:], PLANE[2:3]]}
    for axes, groups in wanted.items():
        for collection, group in zip(axes.collections, groups, strict=True):
            np.testing.assert_array_equal(offsets(collection), group)
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == ["a", "b", "c", "wrong"][: len(groups)]
        assert [to_hex(part.get_facecolor()[0]) for part in axes.collections[:3]] == list(COLORS[:3])
    assert (true.get_title(), predicted.get_title()) == ("true", "predicted, 0.7500 right")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_classes_may_be_booleans():
    true, predicted = plot_classes(PLANE, [0.0, 1.0, 1.0, 1.0], np.ones((4, 1)) > 0, classes=("no", "yes")).axes
    assert [len(offsets(part)) for part in (*true.collections, *predicted.collections)] == [1, 3, 0, 4, 1]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: plot_fit(X, X[:2], X), r"one number a point, got x \(3,\), y \(2,\), fitted \(3,\)"),
        (lambda: plot_fit(np.ones((3, 2)), X, X), r"got x \(3, 2\)"),
        (lambda: plot_fit(X, X, X, path="f.jpg"), r"must end in \.png"),
        (lambda: plot_classes(X, X, X, classes="a"), r"x must be \(N, 2\) with N labels, got \(3,\) with 3 and 3"),
        (lambda: plot_classes(PLANE, X, np.ones(4), classes="a"), r"got \(4, 2\) with 3 and 4"),
        (lambda: plot_classes(PLANE, np.ones(4), np.ones(4), classes="abcdefg"), "classes has 7 names; at most 6"),
    ],
)
def test_errors(call, match):
    with pytest.raises(UsageError, match=match):
        call()
