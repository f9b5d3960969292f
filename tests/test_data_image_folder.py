"""Images in class folders: order, labels, pixels, and every kind of damage named or skipped."""

import os
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from image_files import image_bytes, picture, write_folder

from jaxport.data.decoded import decode_folder
from jaxport.data.image_folder import ImageFolder
from jaxport.data.images import load_image
from jaxport.errors import DataError, UsageError

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes of 3, 1 and 2 images."""
    return write_folder(tmp_path / "pictures", {"cat": 3, "ant": 1, "bee": 2})


def test_image_folder(root: Path) -> None:
    (root / "cat" / "more").mkdir()
    (root / "cat" / "more" / "9.JPEG").write_bytes(image_bytes(picture(9), "jpeg"))
    (root / "cat" / "notes.txt").touch()
    (root / "outside.png").touch()
    dataset = ImageFolder(root, transform=lambda x: x.shape, target_transform=lambda y: [y])
    assert dataset.classes == ["ant", "bee", "cat"]
    assert dataset.class_to_idx == {"ant": 0, "bee": 1, "cat": 2}
    assert dataset.targets == [0, 1, 1, 2, 2, 2, 2]
    names = [os.path.relpath(path, root) for path, _ in dataset.samples]
    assert names == ["ant/0.png", "bee/0.png", "bee/1.png", "cat/0.png", "cat/1.png", "cat/2.png", "cat/more/9.JPEG"]
    assert len(dataset) == 7
    assert dataset[-1] == ((3, 32, 32), [2])
    image, label = ImageFolder(root)[3]
    np.testing.assert_array_equal(image, picture(0).transpose(2, 0, 1))
    assert image.flags.c_contiguous
    assert label == 2
    assert ImageFolder(root, loader=os.path.basename)[0] == ("0.png", 0)


MODES = {
    "grey": ("png", picture(1, channels=1)),
    "transparent": ("png", picture(1, channels=4)),
    "jpeg": ("jpeg", picture(1)),
    "bmp": ("bmp", picture(1, 5, 7)),
    "tiff": ("tiff", picture(1, 5, 7)),
    "webp": ("webp", picture(1, 5, 7)),
    "ppm": ("ppm", picture(1, 5, 7)),
}


@pytest.mark.parametrize(("kind", "pixels"), MODES.values(), ids=MODES.keys())
def test_pixels_are_pillows(tmp_path: Path, kind: str, pixels: np.ndarray) -> None:
    path = tmp_path / f"x.{kind}"
    path.write_bytes(image_bytes(pixels, kind))
    with Image.open(path) as image:
        wanted = np.asarray(image.convert("RGB"))
    result = load_image(path)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, wanted.transpose(2, 0, 1))


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(picture(1)).quantize(8)
    image.save(tmp_path / "x.png", transparency=bytes(range(8)))
    assert load_image(tmp_path / "x.png").shape == (3, 32, 32)  # and no warning


def test_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"root is .*absent.*No such file or directory; it must be a folder of class"):
        ImageFolder(tmp_path / "absent")
    with pytest.raises(DataError, match="which has no folder in it; it must have one for each class"):
        ImageFolder(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    for read in (ImageFolder, decode_folder):
        with pytest.raises(DataError, match=r"no image in class folder empty; each needs .* \.jpg, \.jpeg"):
            read(tmp_path)
        with pytest.raises(UsageError, match="on_error is 'ignore'; it must be one of raise, skip"):
            read(tmp_path, on_error="ignore")


GOOD = {"jpeg": picture(1), "png": picture(1)}
DAMAGES = {
    "no image": lambda content: b"hello" * 50,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "header only": lambda content: content[:30],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("kind", GOOD)
def test_damaged_image(root: Path, kind: str, damage) -> None:
    bad = root / "bee" / f"5.{kind}"
    bad.write_bytes(damage(image_bytes(GOOD[kind], kind)))
    dataset = ImageFolder(root)
    with pytest.raises(DataError, match=re.escape(str(bad)) + ": cannot be decoded .*; get the file again"):
        dataset[3]
    with pytest.raises(DataError, match=re.escape(str(bad))):
        decode_folder(root)
    skipping, array = ImageFolder(root, on_error="skip"), decode_folder(root, on_error="skip")
    for labels, skipped in ((skipping.targets, skipping.skipped), (array.labels.tolist(), array.skipped)):
        assert labels == [0, 1, 1, 2, 2, 2]
        assert len(skipped) == 1
        assert str(bad) in skipped[0]
    for at in range(6):
        np.testing.assert_array_equal(array.images[at], skipping[at][0])


def test_a_class_of_damaged_images_only(root: Path) -> None:
    (root / "ant" / "0.png").write_bytes(b"?")
    for read in (ImageFolder, decode_folder):
        with pytest.raises(DataError, match=r"class folder ant; .*; 1 damaged files were skipped: .*0\.png"):
            read(root, on_error="skip")


def test_huge_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bmp"
    content = bytearray(image_bytes(picture(1), "bmp"))
    content[18:26] = (20_000).to_bytes(4, "little") * 2
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own
        with pytest.raises(DataError, match=r"x\.bmp"):
            load_image(path)


def test_without_pillow(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(UsageError, match=r'not installed: pip install "jaxport\[data\]"'):
        ImageFolder(root)[0]
