"""What jaxport.random refuses: the message names the argument and its value, and nothing is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jaxport import random
from jaxport.errors import UsageError
from jaxport.random import Generator, epoch_order, epoch_orders, torch_rngs

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
        lambda g: random.kaiming_uniform_(np.empty((3, 3)), mode="fan", generator=g),
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
