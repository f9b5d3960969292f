"""The numbers that the tutorials' data chapters print, from the same data, loaded as a reader of them would."""

from itertools import islice

import jax
import numpy as np
import pytest
from sklearn import datasets

from jaxport import data
from jaxport.data import ArrayDataset, DataLoader, ImageFolder, random_split
from jaxport.data import transforms as T


def test_iris_is_split_and_joined():
    iris = datasets.load_iris()
    whole = ArrayDataset(iris.data, iris.target)
    train, valid = random_split(whole, [int(len(whole) * 0.8), len(whole) - int(len(whole) * 0.8)])
    features, labels = next(iter(DataLoader(train, 8, to_device=False)))
    assert (features.shape, labels.shape) == ((8, 4), (8,))
    assert (len(train), len(valid), len(train + valid)) == (120, 30, 150)


@pytest.mark.parametrize(("name", "batch", "steps"), [("mnist", 128, 469), ("fashion_mnist", 64, 938)])
def test_grey_images(real_data, name, batch, steps):
    splits = data.load(name, real_data)
    assert (len(splits.train.x), len(splits.val.x)) == (60_000, 10_000)
    loader = DataLoader(splits.train, batch, shuffle=True, transform=T.ToFloat())
    assert len(loader) == steps
    features, labels = next(iter(loader))
    assert (features.shape, labels.shape) == ((batch, 1, 28, 28), (batch,))
    assert 0.0 <= float(features.min()) < float(features.max()) <= 1.0


def test_mnist_begins_as_published(real_data):
    assert data.load("mnist", real_data).train.y[:5].tolist() == [5, 0, 4, 1, 9]


def test_the_two_classes_of_cifar(real_data):
    pytest.importorskip("PIL")
    train = ImageFolder(real_data / "cifar2" / "train")
    valid = ImageFolder(real_data / "cifar2" / "test")
    assert train.class_to_idx == {"0_airplane": 0, "1_automobile": 1}
    assert (len(train), len(valid)) == (10_000, 2_000)
    augment = T.Compose([T.RandomHorizontalFlip(), T.RandomVerticalFlip(), T.RandomRotation(45), T.ToFloat()])
    targets = T.Lambda(lambda y: y[:, None].astype(np.float32))
    loader = DataLoader(train, 50, shuffle=True, num_workers=2, transform=augment, target_transform=targets)
    assert len(loader) == 200
    for features, labels in islice(loader, 3):
        assert isinstance(features, jax.Array)
        assert (features.shape, labels.shape) == ((50, 3, 32, 32), (50, 1))
        assert set(np.unique(labels)) <= {0.0, 1.0}


def test_reviews_in_batches_of_twenty(real_data, tmp_path):
    splits = data.imdb.load(real_data / "imdb", cache=tmp_path)
    assert (len(splits.train.x), len(splits.val.x)) == (20_000, 5_000)
    tokens, labels = next(iter(DataLoader(splits.train, 20, shuffle=True)))
    assert (tokens.shape, labels.shape) == ((20, 200), (20, 1))
