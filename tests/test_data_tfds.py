"""Data sets that tensorflow-datasets prepared, read without TensorFlow."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxport import data
from jaxport.data.tfds import TfdsDataset, load
from jaxport.errors import DataError, UsageError

for module in ("tensorflow_datasets", "array_record", "PIL"):
    pytest.importorskip(module)

BUILDER = """
import io
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

def picture(number):
    file = io.BytesIO()
    Image.fromarray(np.full((8, 6, 3), number, np.uint8)).save(file, "png")
    file.seek(0)
    return file

class Tiny(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        features = tfds.features.FeaturesDict({
            "image": tfds.features.Image(shape=(8, 6, 3)),
            "label": tfds.features.ClassLabel(names=["even", "odd"]),
            "number": np.int64,
        })
        return self.dataset_info_from_configs(features=features, supervised_keys=("image", "label"))
    def _split_generators(self, manager):
        return {"train": self._generate_examples(range(20)), "test": self._generate_examples(range(20, 25))}
    def _generate_examples(self, numbers):
        for number in numbers:
            yield number, {"image": picture(number), "label": number % 2, "number": number}
"""
PREPARE = """
import sys
from tiny.tiny import Tiny
Tiny(data_dir=sys.argv[1], file_format="array_record").download_and_prepare()
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Let tensorflow-datasets prepare a small set, in a process of its own."""
    folder = tmp_path_factory.mktemp("tfds")
    (folder / "tiny").mkdir()
    (folder / "tiny" / "tiny.py").write_text(BUILDER)
    (folder / "tiny" / "__init__.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, folder / "data"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "data"


def test_a_set_by_its_name(prepared):
    splits = data.load("tfds:tiny", prepared)
    assert (splits.train.x.shape, splits.train.x.dtype) == ((20, 3, 8, 6), np.uint8)
    assert (splits.val.y.shape, splits.val.y.dtype, splits.classes) == ((5,), np.int32, ("even", "odd"))
    numbers = splits.train.x[:, 0, 0, 0]
    np.testing.assert_array_equal(np.sort(numbers), np.arange(20))
    np.testing.assert_array_equal(splits.train.y, numbers % 2)
    assert np.all(splits.train.x == numbers[:, None, None, None])
    assert "tensorflow" not in sys.modules


def test_examples_one_by_one_and_by_key(prepared):
    examples = TfdsDataset(prepared / "tiny" / "1.0.0", "test", ("number", "image"))
    assert len(examples) == 5
    assert sorted(int(examples[i][0]) for i in range(5)) == list(range(20, 25))
    number, image = examples[-1]
    assert image.shape == (3, 8, 6)
    assert np.all(image == number)
    batches = list(data.DataLoader(examples, 2, to_device=False))
    assert [batch[1].shape[0] for batch in batches] == [2, 2, 1]


def test_errors(prepared, tmp_path, monkeypatch):
    place = prepared / "tiny" / "1.0.0"
    with pytest.raises(DataError, match=r"tfds:mnist is not found: no mnist/VERSION/dataset_info\.json"):
        load("tfds:mnist", tmp_path)
    with pytest.raises(UsageError, match="split is 'val'"):
        TfdsDataset(place, "val")
    with pytest.raises(UsageError, match=r"keys has \['picture'\]"):
        TfdsDataset(place, "test", ("picture",))
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match="no data set that tensorflow-datasets prepared"):
        load("tfds:tiny", tmp_path)
    monkeypatch.delenv("JAXPORT_DATA", raising=False)
    with pytest.raises(DataError, match="names the folder"):
        data.load("tfds:tiny")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'jaxport\[data\]'"):
        TfdsDataset(place, "test")
