"""The table of PyTorch's expressions and JAX's: every row is true, no chapter's name is missing, mistakes are found."""

from dataclasses import replace
from typing import Any

import jax
import pytest
import torch
from rosetta_check import findings
from rosetta_names import CHAPTERS

from jaxport.rosetta import Row, rows

if jax.default_backend() != "cpu":
    pytest.skip("the table speaks of the CPU: products on accelerators round otherwise", allow_module_level=True)

BY_ID = {row.id: row for row in rows()}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_row_is_true(row: Row):
    assert findings(row) == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_name_of_the_chapter_has_a_row(chapter: str):
    own = [row for row in rows() if chapter in row.where.split(", ")]
    found = {name.removeprefix("torch.") for row in own for name in row.names()}
    assert [name for name in CHAPTERS[chapter].split() if name.removeprefix("torch.") not in found] == []


def test_every_place_is_a_chapter_with_names_or_named_as_one_without():
    places = {place for row in rows() for place in row.where.split(", ")}
    assert places - set(CHAPTERS) == {
        "20-day 1-1",
        "20-day 1-2",
        "20-day 1-3",
        "20-day 1-4",
        "20-day 3-2",
        "20-day 3-3",
    }


def test_index_has_names_of_pytorch_alone():
    names = {name for row in rows() for name in row.names()}
    roots = {"nn": torch.nn, "F": torch.nn.functional, "optim": torch.optim, "torch": torch}
    loaders = [*vars(torch.utils.data).values(), torch.autograd.Variable]
    owners = [torch.Tensor, torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.return_types.max, *OTHERS]
    owners += [torch.optim.SGD([torch.ones(1)]), torch.utils.data.DataLoader([1]), torch.utils.data.Subset([1], [0])]
    unknown = []
    for name in names:
        root, *path = name.split(".")
        if not path:
            unknown += [] if any(getattr(item, "__name__", "") == name for item in loaders) else [name]
        elif root:
            unknown += [] if name in GONE or attribute(roots[root], path) else [name]
        else:
            unknown += [] if any(hasattr(owner, path[0]) for owner in owners) else [name]
    assert unknown == []


OTHERS = (
    torch.autograd.Function,
    torch.autograd.function.FunctionCtx,
    torch.autograd.function.BackwardCFunction,
    torch.nn.modules.module._IncompatibleKeys,
)
GONE = ("torch.cuda.FloatTensor",)  # where PyTorch is built without CUDA


def attribute(owner: Any, path: list[str]) -> bool:
    """Whether an attribute of an attribute is there."""
    return all((owner := getattr(owner, part, None)) is not None for part in path)


# Row, side, what stands there, what is planted instead.
PLANTED = [
    ("cat", "jax", "axis=0", "axis=1"),
    ("stack-inner", "jax", "axis=1", "axis=2"),
    ("sum-axis", "jax", "axis=1", "axis=2"),
    ("permute-cycle", "jax", "(2, 0, 1)", "(1, 2, 0)"),
    ("transpose", "jax", "0, 2", "0, 1"),
    ("transpose-twice", "jax", "0, 3, 1, 2", "0, 3, 2, 1"),
    ("view", "jax", "(4, 6)", "(6, 4)"),
    ("gather", "jax", "axis=1", "axis=0"),
    ("index-select", "jax", "axis=1", "axis=2"),
    ("split-sections", "jax", "[1, 3]", "[1, 2]"),
    ("std", "jax", "ddof=1", "ddof=0"),
    ("median", "jax", " - 1", ""),
    ("cumsum", "jax", "axis=0", "axis=1"),
    ("slice-dynamic", "jax", "[0] - 1", "[0]"),
    ("topk-first", "jax", "[0].T", "[1].T"),
    ("svd", "jax", "@ wh", "@ wh.T"),
    ("floor-divide-ints", "jax", "n // k", "lax.div(n, k)"),
    ("remainder", "jax", "remainder", "fmod"),
    ("round", "jax", "jnp.round(", "jnp.trunc("),
    ("clamp", "jax", "max=1", "max=2"),
    ("linspace", "jax", ", 10)", ", 10, endpoint=False)"),
    ("tensor-int32", "jax", "int32", "int16"),
    ("half-precision", "jax", "float16", "float32"),
    ("masked-fill", "jax", "60, scores)", "61, scores)"),
    ("rand", "jax", "(5, 3)", "(3, 5)"),
    ("grad-two-inputs", "jax", "(0, 1)", "(1, 0)"),
    ("second-derivative", "jax", "jax.grad(f)(s))", "f(s))"),
    ("detach", "jax", "lax.stop_gradient", ""),
    ("sgd-by-hand", "jax", "1e-2", "1e-3"),
    ("SGD-momentum", "jax", "0.9", "0.8"),
    ("nn-AvgPool2d", "jax", "padding=1", "padding=1, count_include_pad=False"),
    ("cross-entropy-weight", "jax", "0.2, 0.5", "0.5, 0.2"),
    ("DataLoader-shuffle", "jax", "order='torch'", "order='numpy'"),
    ("random-split", "jax", "seed=0", "seed=1"),
    ("layer-same-numbers", "jax", "torch_rngs(42)", "torch_rngs(43)"),
    ("named-parameters", "jax", "p.shape", "p.shape[::-1]"),
    ("max-dim", "torch", "dim=1", "dim=0"),
    ("matmul-transposed", "torch", "x @ x.T", "x.T @ x"),
    ("tensor-ints", "dtypes", "int64 → int32", ""),
    ("zeros", "dtypes", "", "int64 → int32"),
    ("all-equal", "dtypes", "Python bool → bool", ""),
    ("tensor-double", "warns", "float64", ""),
    ("zeros", "warns", "", "float64"),
    ("out-of-bounds", "jax_is", "v[2]", "v[0]"),
    ("out-of-bounds", "torch_raises", "IndexError", "KeyError"),
    ("out-of-bounds-fill", "jax_is", "jnp.nan", "v[2]"),
    ("view-refused", "torch_raises", "RuntimeError", ""),
    ("assign-refused", "jax_raises", "TypeError", ""),
    ("clamp-at-bounds", "jax_is", "0.5, 1.0, 0.5", "1.0, 1.0, 1.0"),
    ("std-default", "jax", "jnp.std(v)", "jnp.std(v, ddof=1)"),
    ("assign-repeated", "torch_is", "0.0, 1, 1", "0.0, 2, 1"),
    ("arange-traced", "jit", "", ""),
    ("bool-index", "jit", "", ""),
]


@pytest.mark.parametrize(("name", "field", "old", "new"), PLANTED, ids=lambda value: value or "-")
def test_planted_mistake_is_found(name: str, field: str, old: str, new: str):
    row = BY_ID[name]
    before = getattr(row, field)
    planted = not before if field == "jit" else before.replace(old, new) if old else new
    assert planted != before
    assert findings(replace(row, **{field: planted})) != []


def test_two_sides_that_do_not_differ_are_found():
    assert findings(replace(BY_ID["add"], torch_is="x + y", jax_is="x + y")) != []
