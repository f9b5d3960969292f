"""Random cases of the lookup tables: every option and shape that PyTorch takes."""

from __future__ import annotations

from typing import Any

from cases import Case
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from test_nn_embedding import ROWS, bag_case, embedding_case

NORMS = st.sampled_from([(None, 2.0), (1.0, 2.0), (0.5, 1.0), (0.7, float("inf")), (1.0, 0), (2.0, 0.5), (0.3, 3.5)])
PADDING = st.one_of(st.none(), st.integers(-ROWS, ROWS - 1))


@st.composite
def embedding(draw: Any) -> Case:
    row = {
        "shape": tuple(draw(st.lists(st.integers(0, 4), max_size=3))),
        "padding_idx": draw(PADDING),
        "norm": draw(NORMS),
        "scale_grad_by_freq": draw(st.booleans()),
    }
    return embedding_case(row)


@st.composite
def embedding_bag(draw: Any) -> Case:
    size, last = draw(st.integers(0, 9)), draw(st.booleans())
    layout: Any = draw(st.integers(1, 4))
    if draw(st.booleans()):
        inner = draw(st.lists(st.integers(0, size), max_size=4))
        # PyTorch reads memory that is not its own where only the last offset is given.
        layout = (0, *sorted(inner), *([size] if last else []))
    mode = draw(st.sampled_from(["sum", "mean", "max"]))
    row = {
        "mode": mode,
        "bags": (size, layout),
        "last": last and not isinstance(layout, int),
        "padding_idx": draw(PADDING),
        "norm": draw(NORMS),
        "sample_weights": mode == "sum" and draw(st.booleans()),
    }
    return bag_case(row, ties=mode == "max" and row["norm"][0] is None and draw(st.booleans()))


STRATEGIES: dict[str, SearchStrategy[Case]] = {"embedding": embedding(), "embedding_bag": embedding_bag()}
