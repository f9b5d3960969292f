"""Random normalisations: function, shape and options, all valid for PyTorch."""

from collections.abc import Callable
from typing import Any

import test_nn_norm as norms
from cases import Case, normal
from hypothesis import strategies as st

SIZES = st.integers(1, 5)


@st.composite
def layer(draw: Callable[..., Any], function: str) -> Case:
    lead, last = draw(st.lists(SIZES, max_size=2)), draw(st.lists(st.integers(2, 5), min_size=1, max_size=2))
    which = [name for name in ("weight", "bias") if draw(st.booleans())]
    if function == "rms_norm":
        which = [name for name in which if name == "weight"]
    eps = draw(st.sampled_from([1e-5, 1e-3, 0.1]))
    shape, tail = (*lead, *last), tuple(last)
    id = f"{function}-{shape}-{tail}-{which}-{eps}"
    return norms.affine_case(id, function, shape, tail, tuple(which), tail, eps=eps)


@st.composite
def group(draw: Callable[..., Any]) -> Case:
    groups, each = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    shape = (draw(SIZES), groups * each, *draw(st.lists(st.integers(2, 4), min_size=1, max_size=2)))
    # PyTorch fails on a bias without a weight here.
    which = ("weight", "bias")[: draw(st.integers(0, 2))]
    return norms.affine_case(f"group_norm-{shape}-{groups}-{which}", "group_norm", shape, shape[1:2], which, groups)


@st.composite
def running(draw: Callable[..., Any], function: str) -> Case:
    spatial = draw(st.lists(st.integers(2, 4), min_size=0 if function == "batch_norm" else 1, max_size=3))
    row = {
        "function": function,
        "shape": (draw(st.integers(2, 5)), draw(SIZES), *spatial),
        "own": draw(st.booleans()),
        "tracked": draw(st.booleans()),
        "parameters": draw(st.integers(0, 2)),
        "momentum": draw(st.floats(0.0, 1.0, width=32)),
        "eps": draw(st.sampled_from([1e-5, 1e-3, 0.1])),
        "offset": draw(st.sampled_from([0.0, 10.0])),
    }
    return norms.running_case(row)


@st.composite
def response(draw: Callable[..., Any]) -> Case:
    shape = (draw(SIZES), draw(st.integers(1, 8)), *draw(st.lists(SIZES, min_size=1, max_size=3)))
    size = draw(st.integers(1, 9))
    options = {"alpha": draw(st.floats(1e-4, 1.0)), "beta": draw(st.floats(0.1, 1.5)), "k": draw(st.floats(0.5, 2.0))}
    return norms.twin(f"response-{shape}-{size}-{options}", "local_response_norm", normal(shape), size, **options)


STRATEGIES: dict[str, st.SearchStrategy[Case]] = {
    "layer_norm": layer("layer_norm"),
    "rms_norm": layer("rms_norm"),
    "group_norm": group(),
    "batch_norm": running("batch_norm"),
    "instance_norm": running("instance_norm"),
    "local_response_norm": response(),
}
