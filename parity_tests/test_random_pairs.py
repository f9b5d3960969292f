"""No false alarm: architectures drawn at random, correct on both sides, are the same in float64 and in float32.

15 in a plain run; 200 where JAXPORT_SLOW is 1. The draws are always the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import jax
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from random_layers import Activation, Conv, Flatten, Linear, Norm
from random_pairs import Architecture, architectures

from jaxport import parity

PAIRS = 200 if os.environ.get("JAXPORT_SLOW") == "1" else 15
# The gradient of its first bias is a sum that XLA rounds 6 times as coarsely as PyTorch where it does not optimise.
_PARTS = (Conv(4, (1, 1), 1, 0, 1, 1, True), Activation("gelu"), Norm("batch"), Flatten(mean=True), Norm("layer"))
LONG_SUM = Architecture((9, 7, 2), (*_PARTS, Norm("batch"), Norm("batch"), Linear(3, True)), True, 67)
# Tiny models have axes of one length, and widths that a matrix of as many rows and columns comes from.
ALLOWED = ("guard/equal-dims", "guard/square-weight")


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    """These models are written for JAX as it is: ranks and dtypes are promoted."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def alarms(pair: Architecture) -> list[str]:
    """Return what a comparison says against a pair."""
    mode = "train" if pair.training else "eval"
    report = parity.compare(pair.jax(), pair.torch(), pair.inputs(), modes=(mode,), randomise=True, allow=ALLOWED)
    bad = [
        f"{t.kind} {t.torch_path}: {t.verdict} {t.float64} {t.float32} {t.limit} {t.note}"
        for t in report.tensors
        if not t.ok
    ]
    bad += [f"{f.rule}: {f.message}" for f in report.findings if f.level == "error"]
    return bad if bad or report.ok else ["not ok"]


@settings(
    max_examples=PAIRS,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.generate),  # a smaller example takes longer to find than the first to understand
)
@given(architectures())
@example(LONG_SUM)
def test_a_correct_pair_is_no_alarm(pair: Architecture) -> None:
    assert not alarms(pair)
