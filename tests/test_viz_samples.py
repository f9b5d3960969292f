"""Examples of an image data set as a picture."""

import numpy as np
import pytest

from jaxport.data.dataset import ArrayDataset
from jaxport.errors import UsageError
from jaxport.viz import show_samples

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


@pytest.mark.parametrize(
    ("dataset", "options", "match"),
    [
        ((BYTES, LABELS), {"n": 11}, "n is 11; it must be from 1 to the number of examples, 10"),
        ((BYTES, LABELS), {"n": 0}, "n is 0"),
        ((BYTES, LABELS), {"path": "s.jpg"}, r"must end in \.png"),
        ((BYTES[:, :2], LABELS), {}, r"example 0 has an image of shape \(2, 8, 6\)"),
        (ArrayDataset(BYTES), {}, "example 0 is tuple; .image, label. is needed"),
    ],
)
def test_errors(dataset, options, match):
    with pytest.raises(UsageError, match=match):
        show_samples(dataset, **options)
