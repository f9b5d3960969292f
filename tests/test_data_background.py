"""Work ahead in threads: how far ahead, how many at once, in order, and ended; batches of other libraries."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import pytest

from jaxport.data import prefetch
from jaxport.data.collate import Batches, stacked
from jaxport.data.prefetch import in_background
from jaxport.errors import DataError, UsageError


@pytest.mark.parametrize(("workers", "ahead", "taken"), [(0, 2, 3), (1, 2, 3), (3, 2, 5), (2, 1, 3)])
def test_items_are_taken_as_they_are_needed(workers, ahead, taken):
    items = iter(range(40))
    results = in_background(lambda item: item, items, workers, ahead)
    assert [next(results), next(items)] == [0, taken]  # one result is out; so many were taken for it
    assert list(results) == [n for n in range(1, 40) if n != taken]


def test_as_many_run_at_once_as_there_are_workers():
    barrier = threading.Barrier(3)  # lets three in at once or none

    def meet(item: int) -> int:
        barrier.wait(timeout=60)
        return item

    assert list(in_background(meet, range(6), 3, 2)) == list(range(6))


def test_leaving_early_drops_what_waits_and_ends_what_runs(monkeypatch):
    started, ended, left = [], [], threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            left.set()
            super().shutdown(wait=wait)

    def work(item: int) -> None:
        started.append(item)
        if item == 1:
            left.wait(timeout=60)
            time.sleep(0.05)
        ended.append(item)

    monkeypatch.setattr(prefetch, "ThreadPoolExecutor", Pool)
    results = in_background(work, range(9), 1, 5)
    next(results)
    while len(started) < 2:
        time.sleep(0.001)
    results.close()
    assert started == ended == [0, 1]


X = np.arange(46, dtype=np.float32).reshape(23, 2)
Y = np.arange(23)


def test_batches_of_any_form():
    rows = [(X[i : i + 8], Y[i : i + 8]) for i in (0, 8, 16)]
    named = [{"x": x, "y": y} for x, y in rows]
    for source in (rows, [list(row) for row in rows], named):
        batches = Batches(source)
        assert len(batches) == 3
        found = list(batches)
        assert all(isinstance(part, jax.Array) for batch in found for part in batch)
        np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), X)
        np.testing.assert_array_equal(np.concatenate([y for _, y in found]), Y)
    (y, *none), *_ = Batches(named, ("y",), to_device=False)
    assert not none
    np.testing.assert_array_equal(y, Y[:8])


def test_a_transform_of_batches_sees_numpy():
    def doubled(batch: tuple[Any, ...]) -> tuple[Any, ...]:
        assert isinstance(batch[0], np.ndarray)
        return (batch[0] * 2,)

    found = list(Batches(iter([jax.numpy.asarray(X)]), transform=doubled, to_device=False))
    np.testing.assert_array_equal(found[0][0], X * 2)


def test_a_source_is_asked_by_one_thread_and_its_error_comes_out():
    def source() -> Any:
        for n in range(5):
            time.sleep(0.003)  # a second thread that asked meanwhile would raise "generator already executing"
            yield (np.full(1, n),)
        raise DataError("the sixth batch is damaged")

    found = []
    with pytest.raises(DataError, match="the sixth batch is damaged"):
        found.extend(int(n[0]) for (n,) in Batches(source(), to_device=False))
    batches = iter(Batches(source(), to_device=False))
    assert [int(next(batches)[0][0]) for _ in range(5)] == list(range(5))


def test_names_need_names():
    with pytest.raises(UsageError, match=r"names is \('x',\); the source's batches are tuple"):
        list(Batches([(X, Y)], ("x",)))


@pytest.mark.parametrize(
    ("example", "dtypes"),
    [
        ((True, 1, 0.5), [np.bool_, np.int32, np.float32]),
        ([np.bool_(True), np.int64(1), np.float64(0.5)], [np.bool_, np.int64, np.float64]),
        ((1, 0.5, True, np.float64(2)), [np.int32, np.float32, np.bool_, np.float64]),
        ((np.float16(1), np.uint8(1)), [np.float16, np.uint8]),
        (3, [np.int32]),
        (np.ones(2, np.int8), [np.int8]),
    ],
)
def test_what_stacked_makes_of_numbers(example, dtypes):
    found = stacked([example] * 4)
    assert [part.dtype for part in found] == dtypes
    assert {part.shape[0] for part in found} == {4}


def test_what_stacked_refuses():
    with pytest.raises(UsageError, match=r"part 0 of the examples has shapes \[\(2,\), \(3,\)\]"):
        stacked([(np.zeros(2),), (np.zeros(3),)])
    with pytest.raises(UsageError, match=r"examples have \[1, 2\] parts"):
        stacked([(1,), (1, 2)])


def test_batches_of_other_libraries():
    class Other:
        def __iter__(self) -> Any:
            yield from ({"image": X[i : i + 2], "label": Y[i : i + 2]} for i in range(0, 6, 2))

    for _ in range(2):
        batches = list(Batches(Other(), ("label", "image")))
        assert len(batches) == 3
        np.testing.assert_array_equal(batches[2][0], Y[4:6])
    (x,) = next(iter(Batches([jax.numpy.zeros(3)], to_device=False)))
    assert isinstance(x, np.ndarray)
    with pytest.raises(UsageError, match=r"names has \['mask'\]"):
        list(Batches(Other(), ("mask",)))
    with pytest.raises(UsageError, match="source is 3"):
        Batches(3)  # pyright: ignore[reportArgumentType]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_loader_of_grain_as_a_source():
    grain = pytest.importorskip("grain")
    source = grain.MapDataset.range(23).map(lambda i: (X[i], Y[i])).batch(5).to_iter_dataset()
    for _ in range(2):
        found = list(Batches(source))
        np.testing.assert_array_equal(np.concatenate([np.asarray(x) for x, _ in found]), X)
        np.testing.assert_array_equal(np.concatenate([np.asarray(y) for _, y in found]), Y)
