"""jaxport.random without torch: numbers measured from PyTorch 2.13, states, orders, errors."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

from jaxport import nn, random
from jaxport.data.dataset import ArrayDataset, random_split
from jaxport.errors import UsageError
from jaxport.interop import state_dict
from jaxport.random import Generator, epoch_order, epoch_orders, finish_epoch, torch_rngs
from jaxport.random.box_muller import fused
from jaxport.random.permutation import exchanged

pytestmark = pytest.mark.usefixtures("strict_jax")
SEEDS = (0, 42, 2**63 - 1, -1)


def sha(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


# What PyTorch 2.13 gave on the CPU for torch.Generator().manual_seed(seed), as digests of the memory, seed by seed.
DRAWS: dict[str, tuple[Callable[[Generator], np.ndarray], tuple[str, str, str, str]]] = {
    "rand": (
        lambda g: g.rand(1000),
        ("20221bec9830215c", "80ff065ee30ad7ac", "d78fe33996caf9a8", "d78fe33996caf9a8"),
    ),
    "rand, float64": (
        lambda g: g.rand(1000, dtype=np.float64),
        ("c59b53ef72076721", "3c32285b450a7e7c", "80014175424b491b", "80014175424b491b"),
    ),
    "uniform_": (
        lambda g: random.uniform_(np.empty(1000, np.float32), -0.3, 1.7, generator=g),
        ("88362db40f648129", "08a87a2ca460dbcd", "0680099579894407", "0680099579894407"),
    ),
    "uniform_, bfloat16": (
        lambda g: random.uniform_(np.empty(1000, ml_dtypes.bfloat16), -0.3, 1.7, generator=g),
        ("08914cf05123cc6a", "b4f2dfcc58a2bdc2", "7f30414ebed8cc26", "7f30414ebed8cc26"),
    ),
    "randn, two by two": (
        lambda g: g.randn(15),
        ("feb39d97c8afee24", "8db9a5331024e1ef", "110481d58fd3f6aa", "110481d58fd3f6aa"),
    ),
    "randn, in blocks and a tail": (
        lambda g: g.randn(1000),
        ("43678415636bbad8", "13b35fb427f5f8d7", "bd567f33f1ae5735", "bd567f33f1ae5735"),
    ),
    "randn, three axes": (
        lambda g: g.randn(10, 3, 7),
        ("e7d82d9055c88c53", "639810a9f6338454", "417a19f3b44e953a", "417a19f3b44e953a"),
    ),
    "normal_": (
        lambda g: random.normal_(np.empty(1001, np.float32), 0.7, 0.3, generator=g),
        ("f11f0aea3556b59d", "430f6a8dd606a9bf", "6add4bb70a52dbcf", "6add4bb70a52dbcf"),
    ),
    "randint": (
        lambda g: g.randint(-3, 10, 1000),
        ("6f8bafa2e13535dd", "92c39fb2a670ce75", "b153dc26bb06a864", "b153dc26bb06a864"),
    ),
    "randint, wide": (
        lambda g: g.randint(-3, 2**40, 1000),
        ("65f86daca68347d1", "499420b7dfb4fd1b", "0b9b9fe303b9d2b0", "0b9b9fe303b9d2b0"),
    ),
    "randperm": (
        lambda g: g.randperm(1000),
        ("cee4a88ef6120e8e", "ac5c22de20fc5d16", "7021b23ead0339fb", "7021b23ead0339fb"),
    ),
    "bernoulli": (
        lambda g: g.bernoulli(np.full(1000, 0.3, np.float32)),
        ("2940df1eca416078", "058f2aeffb8a8661", "41c77d8593876480", "41c77d8593876480"),
    ),
    "trunc_normal_": (
        lambda g: random.trunc_normal_(np.empty(1000, np.float32), generator=g),
        ("bc1178fdf0ac2af5", "e31acf3e96089713", "822fd183787576f1", "822fd183787576f1"),
    ),
    "state": (
        lambda g: g.get_state(),
        ("1ccf17250133dec5", "5feb54a46230d321", "87d93c41244fab18", "74c65bce05a4fcdd"),
    ),
}


@pytest.mark.parametrize("row", DRAWS)
def test_draws(row):
    draw, wanted = DRAWS[row]
    assert tuple(sha(draw(Generator(seed))) for seed in SEEDS) == wanted


def test_first_numbers():
    assert Generator(42).rand(3).tolist() == [0.8822692632675171, 0.9150039553642273, 0.38286375999450684]
    assert Generator(0).randperm(10).tolist() == [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]
    assert Generator(5489).random(1)[0] == 3499211612  # mt19937's first word for its authors' own seed


ORDERS = {
    False: [[1, 2, 3, 6, 4, 5, 0], [4, 6, 1, 2, 0, 3, 5], [5, 2, 6, 0, 1, 4, 3]],
    True: [[4, 5, 3, 6, 1, 0, 2], [6, 2, 4, 5, 3, 1, 0], [2, 1, 0, 4, 6, 5, 3]],
}


@pytest.mark.parametrize("explicit", ORDERS)
def test_loader_orders(explicit):
    found = itertools.islice(epoch_orders(7, 42, explicit=explicit), 3)
    assert [order.tolist() for order in found] == ORDERS[explicit]
    generator, stepped = Generator(42), []
    for _ in range(3):
        stepped.append(epoch_order(7, generator, explicit=explicit).tolist())
        if explicit:
            finish_epoch(7, generator)
    assert stepped == ORDERS[explicit]


def test_random_split_is_the_permutation_cut():
    parts = random_split(ArrayDataset(np.arange(10)), [0.5, 0.3, 0.2], seed=0)
    assert [part.indices.tolist() for part in parts] == [[4, 1, 7, 5, 3], [9, 0, 8], [6, 2]]


def test_linear_has_torch_weights():
    found = state_dict(nn.Linear(3, 2, rngs=torch_rngs(42)))
    assert found["weight"].tolist() == [
        [0.4414065182209015, 0.47920528054237366, -0.1352572739124298],
        [0.5303604602813721, -0.1264995038509369, 0.11650390923023224],
    ]
    assert found["bias"].tolist() == [-0.28108587861061096, 0.3390677869319916]


def test_dropout_takes_keys_and_draws_nothing():
    rngs = torch_rngs(1)
    before = rngs.generator.get_state()
    layer = nn.Dropout(0.5, rngs=rngs)
    first, second = layer(jax.numpy.ones(100)), layer(jax.numpy.ones(100))
    assert not np.array_equal(first, second)
    assert np.array_equal(rngs.generator.get_state(), before)
    again = nn.Dropout(0.5, rngs=torch_rngs(1))
    assert np.array_equal(again(jax.numpy.ones(100)), first)


def test_state_round_trip():
    generator = Generator(3)
    generator.randn(5)  # half a pair is kept
    state = generator.get_state()
    wanted = generator.randn(3), generator.rand(1000), generator.randperm(10)
    generator.set_state(state)
    other = Generator(9)
    other.set_state(state)
    for found in (generator, other):
        assert np.array_equal(found.get_state(), state)
        for value, draw in zip(wanted, (found.randn(3), found.rand(1000), found.randperm(10)), strict=True):
            assert np.array_equal(value, draw)
    assert other.initial_seed() == 3
    assert np.array_equal(generator.manual_seed(4).get_state(), Generator(4).get_state())


@pytest.mark.parametrize("seed", [7, 7 + 2**32, 7 - 2**32])
def test_only_the_low_32_bits_of_a_seed_count(seed):
    assert np.array_equal(Generator(seed).random(700), Generator(7).random(700))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 1000])
def test_exchanges_are_those_of_the_loop(n):
    rng = np.random.default_rng(n)
    for _ in range(20):
        partners = rng.integers(np.arange(n), n)
        order = list(range(n))
        for i, j in enumerate(partners.tolist()):
            order[i], order[j] = order[j], order[i]
        assert exchanged(partners).tolist() == order


def test_fused_rounds_once():
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal(2000), 1.7, -0.9
    exact = [float(Fraction(x) * Fraction(b) + Fraction(c)) for x in a.tolist()]
    assert fused(a, b, c).tolist() == exact
    assert (a * b + c).tolist() != exact


def test_moments():
    generator = Generator(2)
    for dtype in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16):
        values = generator.normal(3.0, 2.0, (200, 500), dtype).astype(np.float64)
        assert abs(values.mean() - 3.0) < 5 * 2.0 / math.sqrt(values.size)
        assert abs(values.var() - 4.0) < 5 * 4.0 * math.sqrt(2 / values.size)


ERRORS: dict[str, tuple[Callable[[Generator], Any], str]] = {
    "seed of another type": (lambda g: Generator(1.5), "seed is 1.5; it must be an integer"),
    "seed too large": (lambda g: Generator(2**64), "seed is 18446744073709551616; it must be from"),
    "seed too small": (lambda g: g.manual_seed(-(2**63) - 1), "it must be from -2\\*\\*63 to"),
    "seed of rngs": (lambda g: torch_rngs(2**64), "seed is 18446744073709551616"),
    "negative count": (lambda g: g.random(-1), "n is -1; it must be at least 0"),
    "negative permutation": (lambda g: g.randperm(-3), "n is -3; it must be at least 0"),
    "count of another type": (lambda g: g.random64("3"), "n is '3'; it must be an integer"),
    "negative size": (lambda g: g.rand(2, -1), r"shape is \(2, -1\); no size may be negative"),
    "integer dtype": (lambda g: g.rand(2, dtype=np.int32), "dtype is int32; it must be float64"),
    "bounds exchanged": (lambda g: g.uniform(2.0, 1.0, 3), "low is 2.0 and high 1.0"),
    "bounds not numbers": (lambda g: g.uniform(math.nan, 1.0, 3), "low is nan"),
    "negative std": (lambda g: g.normal(0.0, -1.0, 3), "std is -1.0; it must not be negative"),
    "empty range": (lambda g: g.randint(3, 3, 2), "low is 3 and high 3; they must ascend"),
    "range too wide": (lambda g: g.randint(0, 300, 2, np.uint8), "from 0 to 256 for uint8"),
    "floating integers": (lambda g: g.randint(0, 3, 2, np.float32), "dtype is float32; it must be one of int64"),
    "probability above 1": (lambda g: g.bernoulli(1.5, 3), "p is 1.5; probabilities must be from 0 to 1"),
    "probability not a number": (lambda g: g.bernoulli(np.array([math.nan])), "probabilities must be from 0 to 1"),
    "probabilities and a shape": (lambda g: g.bernoulli(np.array([0.5]), 3), r"p has shape \(1,\); with shape=3"),
    "no examples": (lambda g: epoch_order(0, g), "n is 0; a data set to shuffle"),
    "no examples, ever": (lambda g: next(epoch_orders(0, 1)), "n is 0; a data set to shuffle"),
    "truncation of no width": (
        lambda g: random.trunc_normal_(np.empty(3), std=0.0, generator=g),
        "std is 0.0, a -2.0 and b 2.0; std must be positive",
    ),
    "bounds of a truncation": (
        lambda g: random.trunc_normal_(np.empty(3), a=2.0, b=1.0, generator=g),
        "a 2.0 and b 1.0; std must be positive and a below b",
    ),
    "one axis": (lambda g: random.xavier_normal_(np.empty(3), generator=g), "at least 2 dimensions"),
    "mode": (
        lambda g: random.kaiming_uniform_(np.empty((3, 3)), mode="fan", generator=g),  # pyright: ignore
        "mode must be 'fan_in' or 'fan_out', got 'fan'",
    ),
    "state of another size": (lambda g: g.set_state(np.zeros(5055, np.uint8)), r"shape \(5055,\); it must be uint8"),
    "state of another type": (lambda g: g.set_state(np.zeros(5056)), r"state is float64 .* it must be uint8"),
    "state of nothing": (lambda g: g.set_state(np.zeros(5056, np.uint8)), "state is not that of a seeded mt19937"),
}


@pytest.mark.parametrize("row", ERRORS)
def test_errors(row):
    call, message = ERRORS[row]
    generator = Generator(1)
    before = generator.get_state()
    with pytest.raises(ValueError, match=message) as caught:
        call(generator)
    assert np.array_equal(generator.get_state(), before)
    assert isinstance(caught.value, UsageError) or row in ("one axis", "mode")


def test_truncation_far_from_the_mean_warns():
    with pytest.warns(UserWarning, match="mean 0.0 is more than 2 std"):
        values = random.trunc_normal_(np.empty(50), a=3.0, b=4.0, generator=Generator(0))
    assert (values >= 3.0).all()
    assert (values <= 4.0).all()


def test_empty_fills_draw_nothing():
    generator = Generator(1)
    before = generator.get_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fill in (random.kaiming_uniform_, random.kaiming_normal_, random.xavier_uniform_, random.xavier_normal_):
            assert fill(np.empty((2, 0)), generator=generator).shape == (2, 0)
    assert np.array_equal(generator.get_state(), before)


def test_it_imports_numpy_alone():
    code = "import sys, json, jaxport.random; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "flax", "torch", "scipy", "optax"} & set(json.loads(run.stdout))
