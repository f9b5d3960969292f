"""embedding, embedding_bag and their modules against PyTorch's."""

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Arrays, Case, all_pairs, assert_same, both_dtypes, findings32, generator, label, rounded, table

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.interop import load_state_dict

torch = pytest.importorskip("torch")
TF = torch.nn.functional
ROWS, WIDTH = 6, 3
INF = float("inf")

EMBEDDING_OPTIONS = {
    "shape": [(), (5,), (2, 3, 4), (2, 0)],
    "padding_idx": [None, 0, 2, -1, -ROWS],
    "norm": [(None, 2.0), (1.0, 2.0), (0.5, 1.0), (0.5, INF), (1.0, 0), (2.0, 0.5), (0.0, 3.0)],
    "scale_grad_by_freq": [False, True],
}


def embedding_case(row: dict[str, Any]) -> Case:
    (max_norm, norm_type), shape = row["norm"], row["shape"]
    named = {"padding_idx": row["padding_idx"], "max_norm": max_norm, "norm_type": norm_type}
    named["scale_grad_by_freq"] = row["scale_grad_by_freq"]

    def side(module: Any) -> Callable[..., Any]:
        return lambda weight, index: module.embedding(index, weight, **named)

    def draw(rng: np.random.Generator) -> Arrays:
        return rng.standard_normal((ROWS, WIDTH)), rng.integers(0, ROWS, shape)

    return Case(label(row), side(F), side(TF), draw)


EMBEDDING = [embedding_case(row) for row in all_pairs(EMBEDDING_OPTIONS, lambda row: True)]


@both_dtypes
@table(EMBEDDING)
def test_embedding(case, dtype):
    assert_same(case, dtype)


BAG_OPTIONS = {
    "mode": ["sum", "mean", "max"],
    "bags": [(4, 5), (1, 1), (0, 3), (9, (0, 0, 3, 7, 9)), (9, (0,)), (0, (0, 0))],
    "last": [False, True],
    "padding_idx": [None, 2, -1],
    "norm": [(None, 2.0), (1.0, 2.0), (0.5, 1.0)],
    "sample_weights": [False, True],
}


def _bag_fits(row: dict[str, Any]) -> bool:
    size, layout = row["bags"]
    ends = isinstance(layout, int) or (layout[-1] == size and len(layout) > 1)
    return not (row["sample_weights"] and row["mode"] != "sum") and (ends or not row["last"])


def bag_case(row: dict[str, Any], *, ties: bool = False) -> Case:
    (size, layout), (max_norm, norm_type) = row["bags"], row["norm"]
    named = {name: row[name] for name in ("mode", "padding_idx")}
    named |= {"include_last_offset": row["last"], "max_norm": max_norm, "norm_type": norm_type}
    shape = (size, layout) if isinstance(layout, int) else (size,)

    def side(module: Any) -> Callable[..., Any]:
        def call(weight: Any, *rest: Any) -> Any:
            arrays = list(rest)
            samples = arrays.pop(0) if row["sample_weights"] else None
            offsets = arrays[1] if len(arrays) > 1 else None
            return module.embedding_bag(arrays[0], weight, offsets, per_sample_weights=samples, **named)

        return call

    def draw(rng: np.random.Generator) -> Arrays:
        weight = rng.integers(0, 2, (ROWS, WIDTH)).astype(float) if ties else rng.standard_normal((ROWS, WIDTH))
        arrays = [weight, *([rng.standard_normal(shape)] if row["sample_weights"] else [])]
        arrays.append(rng.integers(0, ROWS, shape))
        return (*arrays, *([] if isinstance(layout, int) else [np.array(layout)]))

    return Case(f"{label(row)}{'-ties' * ties}", side(F), side(TF), draw)


BAGS = [bag_case(row) for row in all_pairs(BAG_OPTIONS, _bag_fits)]
PLAIN = {"last": False, "padding_idx": None, "norm": (None, 2.0), "sample_weights": False}
BAGS += [
    bag_case(PLAIN | {"mode": "max", "bags": bags, "padding_idx": padding}, ties=True)
    for bags, padding in [((4, 5), None), ((4, 5), 2), ((9, (0, 0, 3, 7)), None), ((9, (0, 0, 3, 7)), 2)]
]


def frequency_bags(mode: str, padding_idx: int | None) -> Case:
    """Against embedding and a sum: PyTorch's own kernel for bags divides by the counts of other rows."""

    def torch_fn(weight: Any, index: Any) -> Any:
        rows = TF.embedding(index, weight, padding_idx, scale_grad_by_freq=True)
        kept = torch.ones(index.shape) if padding_idx is None else index != padding_idx
        total = (rows * kept[..., None].to(rows.dtype)).sum(1)
        return total if mode == "sum" else total / kept.sum(1).clamp(min=1)[:, None].to(rows.dtype)

    def jax_fn(weight: Any, index: Any) -> Any:
        return F.embedding_bag(index, weight, mode=mode, padding_idx=padding_idx, scale_grad_by_freq=True)

    def draw(rng: np.random.Generator) -> Arrays:
        return rng.standard_normal((ROWS, WIDTH)), rng.integers(0, ROWS, (4, 5))

    return Case(f"frequency-{mode}-{padding_idx}", jax_fn, torch_fn, draw)


BAGS += [frequency_bags(mode, padding) for mode in ("sum", "mean") for padding in (None, 2)]


@both_dtypes
@table(BAGS)
def test_embedding_bag(case, dtype):
    assert_same(case, dtype)


SPECIAL = np.array([[np.nan, -np.inf, 1.0], [0.5, -np.inf, np.inf], [-np.inf, np.nan, np.nan], [-1.0, 2.0, np.nan]])


@pytest.mark.parametrize("padding_idx", [None, 0, 3])
def test_maximum_of_special_values(padding_idx):
    index, offsets = np.array([0, 1, 1, 0, 2, 1, 2, 3, 3]), np.array([0, 2, 4, 6, 8])
    wanted = TF.embedding_bag(*map(torch.from_numpy, (index, SPECIAL, offsets)), mode="max", padding_idx=padding_idx)
    with jax.enable_x64(True):
        found = F.embedding_bag(*map(jnp.asarray, (index, SPECIAL, offsets)), mode="max", padding_idx=padding_idx)
    np.testing.assert_array_equal(np.asarray(found), wanted.numpy())


# --------------------------------------------------------------------------------------------------------- modules

MODULES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Embedding", (6, 3), {}),
    ("Embedding", (6, 3, -1, 1.0), {}),
    ("Embedding", (6, 3, 2, 0.5, 1.0, True, True), {}),
    ("Embedding", (6, 3), {"norm_type": 3, "max_norm": 2}),
    ("EmbeddingBag", (6, 3), {}),
    ("EmbeddingBag", (6, 3, 1.0, 2.0, False, "sum"), {"padding_idx": -2}),
    ("EmbeddingBag", (6, 3), {"mode": "max", "max_norm": 0.5, "norm_type": 1.0}),
    ("EmbeddingBag", (6, 3, None, 2.0, True, "mean", True), {"include_last_offset": True}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), MODULES, ids=[f"{n}{a}{k}" for n, a, k in MODULES])
def test_modules(name, args, kwargs):
    theirs, ours = getattr(torch.nn, name)(*args, **kwargs), getattr(nn, name)(*args, **kwargs, rngs=0)
    assert repr(ours) == repr(theirs)
    for attribute in ("num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type", "sparse"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    weight = rounded(generator(name).standard_normal((6, 3))).astype(np.float32)
    theirs.load_state_dict({"weight": torch.from_numpy(weight.copy())})
    load_state_dict(ours, {"weight": weight})
    index = np.array([[1, 5, 1], [3, 1, 2]])
    exact = copy.deepcopy(theirs).double()
    found, wanted, truth = ours(jnp.asarray(index)), theirs(torch.from_numpy(index)), exact(torch.from_numpy(index))
    assert findings32("output", found, wanted.detach(), truth.detach()) == []
    # With max_norm both have scaled the rows that were looked up, in place.
    assert findings32("weight", ours.weight[...], theirs.weight.detach(), exact.weight.detach()) == []


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
def test_from_pretrained(name, freeze):
    weight = rounded(generator(name).standard_normal((5, 3))).astype(np.float32)
    theirs = getattr(torch.nn, name).from_pretrained(torch.from_numpy(weight), freeze, padding_idx=1)
    ours = getattr(nn, name).from_pretrained(jnp.asarray(weight), freeze, padding_idx=1)
    assert repr(ours) == repr(theirs)
    assert ours.weight.requires_grad is theirs.weight.requires_grad is (not freeze)
    # The padding row of given weights is left as it is.
    np.testing.assert_array_equal(ours.weight[...], theirs.weight.detach())


# ----------------------------------------------------------------------------------------- what both sides refuse

TABLE = np.ones((ROWS, WIDTH), np.float32)
REFUSED: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "trap 21: index too large": ("embedding", ([0, 6], TABLE), {}),
    "trap 21: index below zero": ("embedding", ([0, -1], TABLE), {}),
    "trap 21: in a bag": ("embedding_bag", ([[0, 6]], TABLE), {}),
    "trap 21: below zero in a bag": ("embedding_bag", ([[0, -1]], TABLE), {}),
    "trap 22: floats": ("embedding", (np.ones(2), TABLE), {}),
    "trap 22: bytes": ("embedding", (np.ones(2, np.uint8), TABLE), {}),
    "trap 22: floats in a bag": ("embedding_bag", (np.ones((2, 2)), TABLE), {}),
    "trap 22: floats as offsets": ("embedding_bag", ([0, 1], TABLE, np.zeros(1)), {}),
    "trap 23: padding too large": ("embedding", ([0], TABLE, 6), {}),
    "trap 23: padding too small": ("embedding", ([0], TABLE, -7), {}),
    "trap 23: padding in a bag": ("embedding_bag", ([[0]], TABLE), {"padding_idx": 6}),
    "vector of weights": ("embedding", ([0], TABLE[0]), {}),
    "vector of weights for bags": ("embedding_bag", ([[0]], TABLE[0]), {}),
    "no offsets": ("embedding_bag", ([0, 1], TABLE), {}),
    "offsets beside a matrix": ("embedding_bag", ([[0, 1]], TABLE, [0]), {}),
    "matrix of offsets": ("embedding_bag", ([0, 1], TABLE, [[0]]), {}),
    "offsets from 1": ("embedding_bag", ([0, 1], TABLE, [1]), {}),
    "offsets beyond the end": ("embedding_bag", ([0, 1], TABLE, [0, 3]), {}),
    "no last offset": ("embedding_bag", ([0, 1], TABLE, np.zeros(0, int)), {"include_last_offset": True}),
    "three axes": ("embedding_bag", ([[[0]]], TABLE), {}),
    "bags of nothing": ("embedding_bag", (np.zeros((2, 0), int), TABLE), {}),
    "mode": ("embedding_bag", ([[0]], TABLE), {"mode": "min"}),
    "maximum by frequency": ("embedding_bag", ([[0]], TABLE), {"mode": "max", "scale_grad_by_freq": True}),
    "sparse maximum": ("embedding_bag", ([[0]], TABLE), {"mode": "max", "sparse": True}),
    "weights of a mean": ("embedding_bag", ([[0]], TABLE), {"per_sample_weights": np.ones((1, 1), np.float32)}),
    "weights of another shape": (
        "embedding_bag",
        ([[0]], TABLE),
        {"mode": "sum", "per_sample_weights": np.ones((1, 2), np.float32)},
    ),
    "integer weights": ("embedding_bag", ([[0]], TABLE.astype(int)), {"mode": "sum"}),
}


def _as(convert: Callable[[Any], Any], value: Any) -> Any:
    return convert(np.asarray(value)) if isinstance(value, (list, np.ndarray)) else value


@pytest.mark.parametrize("name", REFUSED)
def test_refused_as_in_pytorch(name):
    function, args, options = REFUSED[name]
    with pytest.raises((RuntimeError, ValueError, IndexError, AssertionError)):
        getattr(TF, function)(
            *(_as(torch.as_tensor, a) for a in args), **{k: _as(torch.as_tensor, v) for k, v in options.items()}
        )
    with jax.enable_x64(True), pytest.raises((ValueError, TypeError, IndexError), match=f"^{function}: "):
        getattr(F, function)(
            *(_as(jnp.asarray, a) for a in args), **{k: _as(jnp.asarray, v) for k, v in options.items()}
        )


def test_trap_29_initial_values_are_standard_normal():
    """Mean 0, deviation 1 (PyTorch's N(0, 1)), and the row at padding_idx 0."""
    for layer in (nn.Embedding(4000, 10, padding_idx=7, rngs=0), nn.EmbeddingBag(4000, 10, padding_idx=7, rngs=0)):
        weight = np.asarray(layer.weight[...])
        assert (weight[7] == 0).all()
        rest = np.delete(weight, 7, 0)
        assert abs(rest.mean()) < 0.02
        assert abs(rest.std() - 1.0) < 0.02
        assert abs((rest**4).mean() - 3.0) < 0.15
