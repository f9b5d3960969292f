"""Examples of an image data set as a picture."""

import numpy as np
import pytest

from jaxport.data.dataset import ArrayDataset
from jaxport.errors import UsageError
from jaxport.viz import show_predictions, show_samples

pytest.importorskip("matplotlib")
RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (10, 3, 8, 6), dtype=np.uint8)
LABELS = np.arange(10, dtype=np.int32) % 3
IMAGES = {
    "colour": (BYTES, lambda i: np.moveaxis(BYTES[i], 0, -1)),
    "grey": (BYTES[:, :1], lambda i: BYTES[i, 0]),
    "no channels": (BYTES[:, 0], lambda i: BYTES[i, 0]),
    "channels last": (np.moveaxis(BYTES, 1, -1), lambda i: np.moveaxis(BYTES[i], 0, -1)),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_images_with_their_labels(kind, tmp_path):
    images, wanted = IMAGES[kind]
    figure = show_samples(ArrayDataset(images, LABELS), 5, tmp_path / "s.png", classes=["cat", "dog", "$x_1$"])
    assert [axes.get_title() for axes in figure.axes] == ["cat", "dog", "$x_1$", "cat", "dog"]
    for i, axes in enumerate(figure.axes):
        np.testing.assert_array_equal(axes.images[0].get_array(), wanted(i))
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["s.png"]


def test_floats_are_stretched_and_draws_go_by_seed():
    figure = show_samples((BYTES.astype(np.float32) / 7 - 3, np.eye(3)[LABELS]), 9, seed=4)
    assert len({axes.get_title() for axes in figure.axes}) == 3
    for axes in figure.axes:
        shown = axes.images[0].get_array()
        assert (float(shown.min()), float(shown.max())) == (0.0, 1.0)
    again = show_samples((BYTES, LABELS), 9, seed=4)
    assert [axes.get_title() for axes in again.axes] == [axes.get_title() for axes in figure.axes]
    other = show_samples((BYTES, LABELS), 9, seed=5)
    assert any(
        not np.array_equal(one.images[0].get_array(), two.images[0].get_array())
        for one, two in zip(again.axes, other.axes, strict=True)
    )


def titles(labels, **options):
    n = len(labels)
    return [axes.get_title() for axes in show_samples((BYTES[:n], labels), n, **options).axes]


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (np.array([0, 2, 3, -1]), ["a", "c", "3", "-1"]),
        (np.array([1.0, 1.5, 2.0, 1e-5]), ["b", "1.5", "c", "1e-05"]),
        (np.array([[0.0], [1.0], [2.5]]), ["a", "b", "2.5"]),
        (np.eye(3, dtype=int)[[2, 0]], ["c", "a"]),
        (["x", "0"], ["x", "0"]),
        (np.array([b"x"]), ["b'x'"]),
    ],
)
def test_names_of_labels(labels, wanted):
    assert titles(labels, classes=["a", "b", "c"]) == wanted


def test_names_are_the_data_sets_own_unless_given():
    class Named(ArrayDataset):
        classes = ("x", "y", "z")

    for options, wanted in (({}, ["x", "y", "z", "x"]), ({"classes": "abc"}, ["a", "b", "c", "a"])):
        figure = show_samples(Named(BYTES, LABELS), 4, **options)
        assert [axes.get_title() for axes in figure.axes] == wanted


@pytest.mark.parametrize(("n", "grid"), [(1, (1, 1)), (2, (1, 2)), (5, (2, 3)), (9, (3, 3)), (10, (3, 4))])
def test_how_it_is_drawn(n, grid):
    for images in (BYTES, BYTES[:, :1]):
        figure = show_samples((images, LABELS), n)
        assert len(figure.axes) == n
        for place, axes in enumerate(figure.axes):
            assert axes.get_subplotspec().get_geometry() == (*grid, place, place)
            assert not axes.axison
            assert not axes.title.get_parse_math()
            assert images.shape[1] == 3 or axes.images[0].get_cmap().name == "gray"


def test_a_draw_takes_each_example_once():
    assert sorted(titles(np.arange(10), seed=1)) == [str(n) for n in range(10)]
    assert titles(np.arange(10), seed=1) != [str(n) for n in range(10)]


def test_a_float_image_of_one_value_is_black(tmp_path):
    figure = show_samples((np.full((1, 4, 4), 7.0), [0]), 1, tmp_path / "S.PNG")
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), np.zeros((4, 4)))
    assert (tmp_path / "S.PNG").exists()


@pytest.mark.parametrize("scores", [False, True], ids=["labels", "scores"])
def test_predictions_have_the_wrong_ones_first_with_the_truth(scores, tmp_path):
    guess = np.array([0, 1, 2, 0, 2, 2, 1, 1, 2, 0])  # LABELS but for the fifth and the seventh
    given = np.eye(3)[guess] + 1 if scores else guess[:, None]
    figure = show_predictions(BYTES, given, LABELS, 4, tmp_path / "p.png", classes="abc")
    assert [axes.get_title() for axes in figure.axes] == ["c\nis b", "b\nis a", "a", "b"]
    for axes, index in zip(figure.axes, (4, 6, 0, 1), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), np.moveaxis(BYTES[index], 0, -1))
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="images, guess and truth must be as many, got 10, 10 and 9"):
        show_predictions(BYTES, given, LABELS[:9])


@pytest.mark.parametrize(
    ("dataset", "options", "match"),
    [
        ((BYTES, LABELS), {"n": 11}, "n is 11; it must be from 1 to the number of examples, 10"),
        ((BYTES, LABELS), {"n": 0}, "n is 0"),
        ((BYTES, LABELS), {"path": "s.jpg"}, r"must end in \.png"),
        ((BYTES[:, :2], LABELS), {}, r"example 0 has an image of shape \(2, 8, 6\)"),
        (ArrayDataset(BYTES), {}, "example 0 is tuple; .image, label. is needed"),
        ((BYTES[..., None], LABELS), {}, r"example 0 has an image of shape \(3, 8, 6, 1\)"),
        ((BYTES[:, 0, 0], LABELS), {}, r"example 0 has an image of shape \(6,\)"),
        ((BYTES, LABELS), {"path": "no/such/folder/s.png"}, "s.png"),
    ],
)
def test_errors(dataset, options, match):
    with pytest.raises(UsageError, match=match):
        show_samples(dataset, **options)
