"""Every trap, committed by a plain JAX model: detected, located where it is made, and its cause named."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest
from trap_zoo import ENTRIES, Entry
from trap_zoo.table import run

from jaxport.parity.traps import TRAPS


@pytest.fixture(autouse=True)
def usual_promotion(strict_jax: None) -> Iterator[None]:
    """Flax's own pooling and optax's counters need JAX's usual promotion."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.trap}-{entry.name}")
def test_the_trap_is_found(entry: Entry) -> None:
    row = run(entry)
    first = row.report.first_divergence
    assert row.detected
    assert row.located, first and (first.kind, first.torch_path)
    assert row.named, row.causes
    rules = [finding.rule for finding in row.report.findings]
    assert not entry.lint or entry.lint in rules, rules


def test_every_trap_is_committed() -> None:
    assert {entry.trap for entry in ENTRIES} == {trap.number for trap in TRAPS}
    for entry in ENTRIES:
        rules = TRAPS[entry.trap - 1].rules
        assert entry.cause in rules
        assert not entry.lint or entry.lint in rules
