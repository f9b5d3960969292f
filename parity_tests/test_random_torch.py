"""jaxport.random against torch's CPU generator: every kind of draw over sizes, dtypes and seeds, bit for bit.

The boundary, on PyTorch 2.13 with its AVX2 kernels (those of every x86-64 processor since 2015):

- words, rand, uniform, randint, randperm, bernoulli, random_split and DataLoader orders are integers and exact scalings
  of integers: equal to the last bit everywhere, except that `bernoulli` with a number p is another stream where PyTorch
  hands it to MKL (on Intel processors).
- float32, float16 and bfloat16 normals are bit-equal: the roundings of PyTorch's vector code are replayed.
- all normals of fewer than 16 elements take ln, sin and cos of the C library, as Python's math does: bit-equal.
- float64 normals take them too: bit-equal where NumPy does the same (as here), and at most 2 units in the last place of
  the largest off where NumPy has vector code of its own (AVX-512).
- `trunc_normal_` outside the bulk compares ln u, which may be a last bit off, with a density: a draw in some 10⁷ may be
  accepted by one and not by the other.

After each draw the two generators' states are compared too, all 5,056 bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from jaxport import random
from jaxport.data.dataset import ArrayDataset, random_split
from jaxport.random import Generator, epoch_order, epoch_orders, finish_epoch

torch = pytest.importorskip("torch")
ULPS = 2

SEEDS = (0, 1, 42, 2**31, 2**63 - 1, 2**64 - 1, -1, -(2**63))
SHAPES: tuple[tuple[int, ...], ...] = (
    *((n,) for n in (0, 1, 7, 15, 16, 17, 24, 31, 32, 100, 1000, 10007)),
    (),
    (3, 5),
    (4, 4),
    (5, 7, 3),
    (2, 3, 4, 5),
    (0, 3),
)
FLOATS = (
    (np.float32, torch.float32),
    (np.float64, torch.float64),
    (np.float16, torch.float16),
    (ml_dtypes.bfloat16, torch.bfloat16),
)
INTEGERS = ((np.int64, torch.int64), (np.int32, torch.int32))

# A draw: (our generator, torch's, shape, our dtype, torch's) → (ours, theirs).
Draw = Callable[[Generator, Any, tuple[int, ...], Any, Any], tuple[Any, Any]]


def probabilities(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.linspace(0.0, 1.0, int(np.prod(shape)), dtype=np.float64).astype(dtype).reshape(shape)


DRAWS: dict[str, tuple[Draw, tuple[Any, ...]]] = {
    "rand": (
        lambda ours, theirs, shape, d, t: (ours.rand(*shape, dtype=d), torch.rand(shape, dtype=t, generator=theirs)),
        FLOATS,
    ),
    "uniform": (
        lambda ours, theirs, shape, d, t: (
            random.uniform_(np.empty(shape, d), -0.3, 1.7, generator=ours),
            torch.empty(shape, dtype=t).uniform_(-0.3, 1.7, generator=theirs),
        ),
        FLOATS,
    ),
    "randn": (
        lambda ours, theirs, shape, d, t: (ours.randn(*shape, dtype=d), torch.randn(shape, dtype=t, generator=theirs)),
        FLOATS,
    ),
    "normal": (
        lambda ours, theirs, shape, d, t: (
            random.normal_(np.empty(shape, d), 0.7, 0.3, generator=ours),
            torch.empty(shape, dtype=t).normal_(0.7, 0.3, generator=theirs),
        ),
        FLOATS,
    ),
    "trunc_normal": (
        lambda ours, theirs, shape, d, t: (
            random.trunc_normal_(np.empty(shape, d), 0.1, 1.5, -1.0, 2.0, generator=ours),
            torch.nn.init.trunc_normal_(torch.empty(shape, dtype=t), 0.1, 1.5, -1.0, 2.0, generator=theirs),
        ),
        FLOATS,
    ),
    "trunc_normal tail": (
        lambda ours, theirs, shape, d, t: (
            random.trunc_normal_(np.empty(shape, d), 0.0, 1.0, 1.5, 4.0, generator=ours),
            torch.nn.init.trunc_normal_(torch.empty(shape, dtype=t), 0.0, 1.0, 1.5, 4.0, generator=theirs),
        ),
        FLOATS[:2],
    ),
    "randint": (
        lambda ours, theirs, shape, d, t: (
            ours.randint(-3, 10, shape, d),
            torch.randint(-3, 10, shape, dtype=t, generator=theirs),
        ),
        INTEGERS,
    ),
    "randint, the widest range of 32 bits": (
        lambda ours, theirs, shape, d, t: (
            ours.randint(0, 2**28 - 1, shape, d),
            torch.randint(0, 2**28 - 1, shape, dtype=t, generator=theirs),
        ),
        INTEGERS,
    ),
    "randint, the narrowest range of 64 bits": (
        lambda ours, theirs, shape, d, t: (
            ours.randint(-5, 2**28 - 5, shape, d),
            torch.randint(-5, 2**28 - 5, shape, dtype=t, generator=theirs),
        ),
        INTEGERS,
    ),
    "randint, nearly all of int64": (
        lambda ours, theirs, shape, d, t: (
            ours.randint(-(2**63), 2**63 - 1, shape, d),
            torch.randint(-(2**63), 2**63 - 1, shape, dtype=t, generator=theirs),
        ),
        INTEGERS[:1],
    ),
    "bernoulli of a number": (
        lambda ours, theirs, shape, d, t: (
            random.bernoulli_(np.empty(shape, d), 0.3, generator=ours),
            torch.empty(shape, dtype=t).bernoulli_(0.3, generator=theirs),
        ),
        (*FLOATS, *INTEGERS),
    ),
    "bernoulli of an array": (
        lambda ours, theirs, shape, d, t: (
            ours.bernoulli(probabilities(shape, d), dtype=d),
            torch.bernoulli(torch.tensor(probabilities(shape, np.float64)).to(t), generator=theirs),
        ),
        FLOATS[:2],
    ),
    "random": (
        lambda ours, theirs, shape, d, t: (
            np.array([ours.random63() for _ in range(min(int(np.prod(shape)), 40))], d),
            torch.empty(min(int(np.prod(shape)), 40), dtype=t).random_(generator=theirs),
        ),
        INTEGERS[:1],
    ),
    "randperm": (
        lambda ours, theirs, shape, d, t: (
            ours.randperm(int(np.prod(shape))),
            torch.randperm(int(np.prod(shape)), generator=theirs),
        ),
        INTEGERS[:1],
    ),
}


def bits(tensor: Any) -> np.ndarray:
    """Return a tensor as NumPy holds it; bfloat16 as uint16."""
    return tensor.view(torch.int16).numpy().view(np.uint16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


def differences(ours: np.ndarray, theirs: Any) -> int:
    """Return how many elements differ in any bit; shape and dtype must agree."""
    a, b = np.ascontiguousarray(ours), np.ascontiguousarray(bits(theirs))
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch."), (ours.dtype, theirs.dtype)
    assert ours.shape == tuple(theirs.shape)
    whole = np.dtype(f"u{a.dtype.itemsize}")
    return int(np.count_nonzero(a.view(whole) != b.view(whole)))


@pytest.mark.parametrize("name", list(DRAWS))
def test_draws(name):
    draw, dtypes = DRAWS[name]
    if "number" in name and runs_on_intel():
        pytest.skip("PyTorch hands bernoulli_(p) to MKL on this processor, whose stream is another")
    problems = []
    for seed in SEEDS:
        for own, other in dtypes:
            # One after the other from the same generators, so that a second normal kept from a pair is used.
            ours, theirs = Generator(seed), torch.Generator().manual_seed(seed)
            for shape in SHAPES:
                count = differences(*draw(ours, theirs, shape, own, other))
                if count or not np.array_equal(ours.get_state(), theirs.get_state().numpy()):
                    problems.append(f"seed {seed}, {other}, shape {shape}: {count} differ")
    assert problems == []


def runs_on_intel() -> bool:
    with open("/proc/cpuinfo") as file:
        return "GenuineIntel" in file.read()


def test_words():
    for seed in SEEDS:
        ours, theirs = Generator(seed), torch.Generator().manual_seed(seed)
        assert ours.initial_seed() == theirs.initial_seed()
        # torch has no words of its own in Python: integers below 2²⁷ are their low bits.
        assert np.array_equal(ours.random(1000) % 2**27, torch.randint(2**27, (1000,), generator=theirs).numpy())
        wide = torch.randint(-(2**62), 2**62, (1000,), generator=theirs).numpy()
        assert np.array_equal((ours.random64(1000) % 2**63).astype(np.int64) - 2**62, wide)


def test_kinds_in_turn():
    ours, theirs = Generator(7), torch.Generator().manual_seed(7)
    for shape in ((3,), (100,), (5,), (17,)):
        for name, (draw, dtypes) in DRAWS.items():
            if "number" not in name:
                assert differences(*draw(ours, theirs, shape, *dtypes[0])) == 0, name


def test_state_both_ways():
    theirs = torch.Generator().manual_seed(11)
    torch.randn(5, generator=theirs)  # an odd number: half a pair is kept
    ours = Generator(0)
    ours.set_state(theirs.get_state().numpy())
    assert differences(ours.randn(3), torch.randn(3, generator=theirs)) == 0
    ours.rand(1000)
    theirs.set_state(torch.from_numpy(ours.get_state()))
    assert differences(ours.randn(40), torch.randn(40, generator=theirs)) == 0
    assert ours.initial_seed() == theirs.initial_seed() == 11


def test_many_normals():
    # Enough for rare roundings: 4 million of each.
    for own, other in FLOATS[:2]:
        ours, theirs = Generator(5), torch.Generator().manual_seed(5)
        a, b = ours.normal(0.1, 1.3, 4_000_001, own), torch.empty(4_000_001, dtype=other)
        b = b.normal_(0.1, 1.3, generator=theirs).numpy()
        assert np.abs(a - b).max() <= ULPS * np.spacing(np.abs(b).max())
        assert np.count_nonzero(a != b) == 0


# ------------------------------------------------------------------------------------------------------------- orders


def torch_orders(n: int, epochs: int, batch_size: int, drop_last: bool, generator: Any) -> list[np.ndarray]:
    dataset = torch.utils.data.TensorDataset(torch.arange(n))
    loader = torch.utils.data.DataLoader(dataset, batch_size, shuffle=True, drop_last=drop_last, generator=generator)
    return [np.concatenate([np.zeros(0, np.int64), *(batch.numpy() for (batch,) in loader)]) for _ in range(epochs)]


LOADERS = {f"n={n} batch={b} drop={d}": (n, b, d) for n in (1, 2, 10, 33, 200) for b in (1, 4, 32) for d in (0, 1)}


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("row", LOADERS)
def test_loader_orders(row, explicit):
    n, batch_size, drop_last = LOADERS[row]
    for seed in (0, 42, -1):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed) if explicit else None
        wanted = torch_orders(n, 4, batch_size, bool(drop_last), generator)
        found = epoch_orders(n, seed, explicit=explicit)
        for theirs, ours in zip(wanted, found, strict=False):
            assert np.array_equal(ours[: len(theirs)], theirs)
            assert ours.dtype == theirs.dtype
            assert len(theirs) == n - n % batch_size * drop_last


@pytest.mark.parametrize("explicit", [False, True])
def test_loader_with_other_draws_between(explicit):
    # The weights before, dropout-like draws in each epoch and after it, from the same generator as the loader's.
    torch.manual_seed(3)
    ours, theirs = Generator(3), torch.Generator().manual_seed(3) if explicit else torch.default_generator
    loader = torch.utils.data.DataLoader(torch.arange(10), 4, shuffle=True, generator=theirs if explicit else None)
    assert differences(ours.randn(20), torch.randn(20, generator=theirs)) == 0
    for _ in range(3):
        order = epoch_order(10, ours, explicit=explicit)
        for number, batch in enumerate(loader):
            assert np.array_equal(order[4 * number :][:4], batch.numpy())
            if explicit and len(batch) < 4:
                finish_epoch(10, ours)
            assert differences(ours.rand(5), torch.rand(5, generator=theirs)) == 0
        assert differences(ours.randn(5), torch.randn(5, generator=theirs)) == 0


def test_loader_of_full_batches_with_other_draws_between():
    ours, theirs = Generator(3), torch.Generator().manual_seed(3)
    loader = torch.utils.data.DataLoader(torch.arange(10), 5, shuffle=True, generator=theirs)
    for _ in range(3):
        order = epoch_order(10, ours, explicit=True)
        for number, batch in enumerate(loader):
            assert np.array_equal(order[5 * number :][:5], batch.numpy())
            assert differences(ours.rand(5), torch.rand(5, generator=theirs)) == 0
        finish_epoch(10, ours)
        assert differences(ours.randn(5), torch.randn(5, generator=theirs)) == 0


def test_loader_that_does_not_shuffle():
    torch.manual_seed(3)
    ours, loader = Generator(3), torch.utils.data.DataLoader(torch.arange(10), 4)
    for _ in range(2):
        list(loader)
        ours.random63()
        assert differences(ours.rand(5), torch.rand(5)) == 0


SPLITS: dict[str, tuple[int, list[Any]]] = {
    "whole numbers": (10, [3, 7]),
    "an empty part": (10, [0, 10]),
    "fractions": (30, [0.3, 0.3, 0.4]),
    "fractions with a remainder": (11, [0.5, 0.25, 0.25]),
    "many fractions": (1003, [0.1] * 10),
    "one part": (5, [1.0]),
    "everything in the first": (5, [1, 0]),
    "one example": (1, [1]),
}


@pytest.mark.parametrize("row", SPLITS)
def test_random_split(row):
    n, lengths = SPLITS[row]
    for seed in SEEDS:
        ours = random_split(ArrayDataset(np.arange(n)), lengths, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of empty parts
            theirs = torch.utils.data.random_split(range(n), lengths, generator=torch.Generator().manual_seed(seed))
        assert [part.indices.tolist() for part in ours] == [list(part.indices) for part in theirs]


@pytest.mark.parametrize("lengths", [[3, 6], [0.5, 0.4], [0.50001, 0.49998]])
def test_random_split_refuses_what_torch_refuses(lengths):
    with pytest.raises(ValueError, match="length"):
        torch.utils.data.random_split(range(10), lengths)
    with pytest.raises(ValueError, match="lengths"):
        random_split(ArrayDataset(np.arange(10)), lengths)
