"""Random cases of the classification losses: every option and shape that PyTorch takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Arrays, Case
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from test_nn_classification import ctc_case, linear_case

import jaxport.nn.functional as F

small = st.integers(1, 5)


def _class_case(draw: Any, function: str) -> Case:
    import torch

    classes = draw(st.integers(2, 6))
    batch, places = draw(st.integers(1, 5)), tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    shape = (classes,) if draw(st.booleans()) and not places else (batch, classes, *places)
    soft = function == "cross_entropy" and draw(st.booleans())
    weighted = draw(st.booleans())
    named: dict[str, Any] = {"reduction": draw(st.sampled_from(["none", "mean", "sum"]))}
    named["ignore_index"] = -100 if soft else draw(st.sampled_from([-100, -1, 0, 1]))
    if function == "cross_entropy":
        named["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
    labels = shape[:1] + shape[2:] if len(shape) > 1 else ()

    def side(module: Any) -> Callable[..., Any]:
        def call(x: Any, target: Any, *weight: Any) -> Any:
            return getattr(module, function)(x, target, *weight, **named)

        return call

    def arrays(rng: np.random.Generator) -> Arrays:
        target: Any = rng.random(shape) if soft else rng.integers(0, classes, labels)
        if not soft and named["reduction"] != "mean":
            target = np.where(rng.random(labels) < 0.3, named["ignore_index"], target)
        elif not soft and named["ignore_index"] >= 0:
            # A mean over nothing is NaN on both sides: keep one.
            target = np.where(target == named["ignore_index"], named["ignore_index"] ^ 1, target)
        weight = (rng.uniform(0.3, 2.0, classes),) if weighted else ()
        return 0.3 + 2.0 * rng.standard_normal(shape), target, *weight

    id = f"{function}-{shape}-soft={soft}-weight={weighted}-{named}"
    return Case(id, side(F), side(torch.nn.functional), arrays, 1 + soft)


@st.composite
def cross_entropy(draw: Any) -> Case:
    return _class_case(draw, "cross_entropy")


@st.composite
def nll_loss(draw: Any) -> Case:
    return _class_case(draw, "nll_loss")


@st.composite
def linear_cross_entropy(draw: Any) -> Case:
    batch = draw(st.sampled_from([(), (1,), (4,), (7,)]))
    # Pieces beside another loss than the plain one have no effect, and PyTorch warns.
    pieces = draw(
        st.one_of(st.none(), st.builds(lambda n: {"batch_chunk_size": n}, small), st.just({}))
        | st.builds(lambda n: {"chunking_method": f"aspect_ratio:{n}"}, small)
    )
    plain = pieces is not None
    soft = not plain and draw(st.booleans())
    row = {
        "batch": batch,
        "places": draw(st.sampled_from([(), (2,), (2, 3)])) if batch and not plain else (),
        "bias": draw(st.booleans()),
        "weight": draw(st.booleans()),
        "soft": soft,
        "ignore_index": None if soft else draw(st.sampled_from([None, -100, 0, 3, 50])),
        "label_smoothing": 0.0 if plain else draw(st.sampled_from([0.0, 0.25, 1.0])),
        "pieces": pieces,
    }
    return linear_case(row)


@st.composite
def ctc_loss(draw: Any) -> Case:
    batch = draw(st.integers(1, 4))
    targets = tuple(draw(st.lists(st.integers(0, 5), min_size=batch, max_size=batch)))
    row = {
        "form": draw(st.sampled_from(["padded", "row"])),
        "lengths": draw(st.sampled_from(["tuple", "array"])),
        "blank": draw(st.integers(0, 5)),
        "zero_infinity": True,
        "targets": targets,
        "frames": tuple(draw(st.lists(st.integers(0, 11), min_size=batch, max_size=batch))),
    }
    return ctc_case(row, scores=draw(st.booleans()), repeats=draw(st.booleans()))


STRATEGIES: dict[str, SearchStrategy[Case]] = {
    "cross_entropy": cross_entropy(),
    "nll_loss": nll_loss(),
    "linear_cross_entropy": linear_cross_entropy(),
    "ctc_loss": ctc_loss(),
}
