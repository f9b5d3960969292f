"""Where batches come from makes no difference: arrays, data sets, loaders, streams, data that does not fit."""

from typing import Any

import jax
import numpy as np
import pytest
from close import assert_close

from jaxport import engine, metrics, nn, optim
from jaxport.data import ArrayDataset, DataLoader, random_split
from jaxport.data import transforms as T
from jaxport.engine import sources
from jaxport.errors import UsageError
from jaxport.interop import state_dict

RNG = np.random.default_rng(2)
X, Y = RNG.standard_normal((23, 3)), RNG.integers(0, 2, 23).astype(np.int32)


class Plain:
    """An iterable of batches, without a length."""

    def __init__(self, size: int = 5) -> None:
        self.size = size

    def __iter__(self) -> Any:
        return ((X[i : i + self.size], Y[i : i + self.size]) for i in range(0, len(X), self.size))


class Examples:
    """A data set that is no array."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int32]:
        return X[index], Y[index]


def run(data: Any, validation: Any = None, **options: Any) -> dict[str, np.ndarray]:
    """Return columns and weights of two epochs, in float64, with dropout."""
    with jax.enable_x64(True):
        module = nn.Sequential(nn.Linear(3, 4, rngs=0), nn.Dropout(0.3, rngs=1), nn.Linear(4, 2, rngs=2)).double()
        given: dict[str, Any] = {"epochs": 2, "batch_size": 5, "shuffle": False, "metrics": [metrics.Accuracy()]}
        loss, optimizer = nn.CrossEntropyLoss(), optim.Adam(lr=0.05)
        history = engine.fit(module, data, validation=validation, loss=loss, optimizer=optimizer, **(given | options))
        columns = {name: np.asarray(history[name]) for name in history if name != "seconds"}
        return columns | state_dict(module)


@pytest.fixture(scope="module")
def wanted() -> dict[str, np.ndarray]:
    return run((X, Y), validation=(X, Y))


SOURCES: dict[str, Any] = {
    "data set": lambda: ArrayDataset(X, Y),
    "loader": lambda: DataLoader((X, Y), 5),
    "loader of examples": lambda: DataLoader(Examples(), 5),
    "iterable": Plain,
    "list": lambda: list(Plain()),
}


@pytest.mark.parametrize("steps_per_call", [None, 1, 3])
@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_the_numbers_of_arrays(name, steps_per_call, wanted):
    if name in ("data set", "list") and steps_per_call is not None:
        pytest.skip("as arrays, and as an iterable")
    found = run(SOURCES[name](), validation=SOURCES[name](), steps_per_call=steps_per_call)
    assert list(found) == list(wanted)
    for key in wanted:
        assert_close(found[key], wanted[key])


@pytest.mark.parametrize("dispatch", ["chunks", "steps"])
def test_data_that_does_not_fit_is_sent_in_pieces(dispatch, wanted, monkeypatch):
    monkeypatch.setattr(sources, "_UNKNOWN_MEMORY", 64)
    found = run((X, Y), validation=(X, Y), dispatch=dispatch)
    for key in wanted:
        assert_close(found[key], wanted[key])


def test_data_that_does_not_fit_is_shuffled_alike(monkeypatch):
    whole = run((X, Y), shuffle=True, seed=4)
    monkeypatch.setattr(sources, "_UNKNOWN_MEMORY", 64)
    pieces = run((X, Y), shuffle=True, seed=4)
    for key in whole:
        assert_close(pieces[key], whole[key])


def shuffled_loader(dataset: Any = (X, Y), **options: Any) -> DataLoader:
    transform = T.Compose([T.Lambda(lambda x: x * 2.0)])
    return DataLoader(dataset, 5, shuffle=True, seed=7, transform=transform, **options)


def test_a_loader_on_the_device_is_the_same_as_iterating_it(monkeypatch):
    resident, loader = run(loader := shuffled_loader()), loader
    assert (loader.epoch, loader.position) == (2, 0)
    streamed = run(shuffled_loader(Examples()))
    for key in resident:
        assert_close(resident[key], streamed[key])
    again = shuffled_loader(to_device=False)
    by_hand = [batch for _ in range(2) for batch in again]
    assert len(by_hand) == 10
    order = shuffled_loader().indices(1)
    np.testing.assert_allclose(np.asarray(by_hand[5][0]), 2.0 * X[order[:5]], rtol=1e-6)


def test_a_loader_goes_on_where_it_stood():
    two, one = run(shuffled_loader()), shuffled_loader()
    for _ in one:
        pass
    rest = run(one, epochs=1)
    assert rest["loss"][0] != two["loss"][0]
    assert one.epoch == 2


def test_drop_last_and_subsets():
    dropped = run(DataLoader((X, Y), 5, drop_last=True))
    cut = run((X[:20], Y[:20]))
    part = run(random_split(ArrayDataset(X, Y), [15, 8])[0])
    for key in cut:
        assert_close(dropped[key], cut[key])
    assert part["loss"].shape == (2,)


def test_metrics_that_collect_need_a_length():
    class Collecting(metrics.Accuracy):
        collects = True

        def init(self, examples: int = 0) -> Any:
            return super().init()

    with pytest.raises(UsageError, match=r"metric auc keeps every score: train must have a length"):
        run(Plain(), metrics=[Collecting(name="auc")])


@pytest.mark.parametrize("data", ["arrays", "list", "loader of examples"])
def test_the_area_under_the_curve_over_any_batches(data):
    from sklearn.metrics import roc_auc_score

    with jax.enable_x64(True):
        net = nn.Sequential(nn.Linear(3, 1, rngs=0), nn.Sigmoid()).double()
        y = Y.astype(np.float64)[:, None]
        given = (X, y) if data == "arrays" else [(X[i : i + 5], y[i : i + 5]) for i in range(0, 23, 5)]
        if data == "loader of examples":
            given = DataLoader(list(zip(X, y, strict=True)), 5)
        found = engine.evaluate(net, given, loss=nn.BCELoss(), metrics=[metrics.BinaryAUC()], batch_size=5)
        assert found["auc"] == pytest.approx(roc_auc_score(Y, engine.predict(net, X)[:, 0]), rel=1e-12)
