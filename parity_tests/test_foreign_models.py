"""Architectures in plain Flax and Equinox against PyTorch models of other names: equal, and each mistake is found."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
import pytest
import torch
from foreign_models import FOREIGN, Foreign, Planted

from jaxport import parity
from jaxport.parity import Report

ARCHITECTURES = pytest.mark.parametrize("foreign", FOREIGN, ids=lambda foreign: foreign.name)
MISTAKES = [(foreign, planted) for foreign in FOREIGN for planted in foreign.planted]


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    """These models are written for JAX as it is: ranks and dtypes are promoted."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def _compared(foreign: Foreign, model: object, **settings: object) -> Report:
    torch.manual_seed(0)
    inputs = foreign.inputs(np.random.default_rng(1))
    return parity.compare(model, foreign.torch(), inputs, randomise=True, **settings)  # type: ignore[arg-type]


def _within(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(place + ".") for place in places)


@ARCHITECTURES
def test_the_right_one_is_equal(foreign: Foreign) -> None:
    report = _compared(foreign, foreign.jax())
    assert report.ok, [report.first_divergence, *(f for f in report.findings if f.level == "error")]
    arrays = {key for key, _ in foreign.torch().named_parameters()}
    assert {tensor.torch_path for tensor in report.of("gradient")} == arrays
    decided = {tensor.torch_path for tensor in report.of("output") if tensor.decides}
    assert len(decided) > 2
    assert report.of("output")[-1].torch_path == ""


@pytest.mark.parametrize(
    ("foreign", "planted"), MISTAKES, ids=[f"{foreign.name}-{planted.name}" for foreign, planted in MISTAKES]
)
def test_a_planted_mistake_is_found_where_it_is(foreign: Foreign, planted: Planted) -> None:
    quick = {"output": {"modes": ("eval",), "gradients": False}, "buffer": {"modes": ("train",), "gradients": False}}
    settings = quick.get(planted.kind, {"modes": ("eval",)})
    report = _compared(foreign, planted.build(), dtypes=("float64",), **settings)
    first = report.first_divergence
    assert not report.ok
    assert first is not None
    assert _within(first.torch_path, planted.where), first
    kinds = ("input", "output") if planted.kind == "output" else (planted.kind,)
    assert first.kind in kinds
