"""linear_cross_entropy, ctc_loss and the adaptive softmax against PyTorch's, and what NLL and cross-entropy refuse."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Arrays, Case, all_pairs, assert_same, both_dtypes, findings32, findings64, label, rounded, table

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.interop import load_state_dict

torch = pytest.importorskip("torch")
TF = torch.nn.functional
Draw = Callable[[np.random.Generator], Arrays]
REDUCTIONS = ("none", "mean", "sum")

# -------------------------------------------------------------------------------------------- linear cross-entropy

FEATURES, CLASSES = 5, 7
LINEAR_OPTIONS = {
    "batch": [(), (1,), (9,)],
    "places": [(), (2, 3)],
    "bias": [False, True],
    "weight": [False, True],
    "soft": [False, True],
    "ignore_index": [None, 2, -1],
    "label_smoothing": [0.0, 0.3],
    "pieces": [None, {}, {"batch_chunk_size": 4}, {"batch_chunk_size": 3}, {"chunking_method": "aspect_ratio:4"}],
}


def _linear_fits(row: dict[str, Any]) -> bool:
    return not (row["places"] and not row["batch"]) and not (row["soft"] and row["ignore_index"] is not None)


def linear_case(row: dict[str, Any], id: str | None = None) -> Case:
    """Both sides of a row, by every reduction that has a value."""
    batch, places, pieces, ignored = row["batch"], row["places"], row["pieces"], row["ignore_index"]
    reductions = REDUCTIONS if ignored is None else ("none", "sum")

    def side(module: Any, options: Any) -> Callable[..., Any]:
        made = None if pieces is None else options(**pieces)
        named = {"ignore_index": ignored, "label_smoothing": row["label_smoothing"], "options": made}

        def call(x: Any, w: Any, *rest: Any) -> Any:
            arrays = list(rest)
            soft = arrays.pop(0) if row["soft"] else None
            bias = arrays.pop(0) if row["bias"] else None
            target = arrays.pop(0) if soft is None else soft
            kw = named | {"linear_bias": bias, "weight": arrays.pop(0) if row["weight"] else None}
            return tuple(module.linear_cross_entropy(x, w, target, reduction=name, **kw) for name in reductions)

        return call

    def draw(rng: np.random.Generator) -> Arrays:
        arrays = [rng.standard_normal((*batch, FEATURES)), rng.standard_normal((CLASSES, *places, FEATURES))]
        arrays += [rng.random((*batch, CLASSES, *places))] if row["soft"] else []
        arrays += [rng.standard_normal((CLASSES, *places))] if row["bias"] else []
        if not row["soft"]:
            target = rng.integers(0, CLASSES, (*batch, *places))
            arrays.append(target if ignored is None else np.where(rng.random(target.shape) < 0.3, ignored, target))
        return (*arrays, rng.uniform(0.3, 2.0, CLASSES)) if row["weight"] else tuple(arrays)

    differentiable = 2 + row["soft"] + row["bias"]
    sides = side(F, nn.LinearCrossEntropyOptions), side(TF, torch.nn.LinearCrossEntropyOptions)
    return Case(id or label(row), *sides, draw, differentiable)


LINEAR = [linear_case(row) for row in all_pairs(LINEAR_OPTIONS, _linear_fits)]
PLAIN = {"batch": (9,), "places": (), "soft": False, "ignore_index": None, "label_smoothing": 0.0}
LINEAR += [
    linear_case(PLAIN | {"bias": bias, "weight": weight, "pieces": {"batch_chunk_size": size}})
    for bias, weight, size in [(True, True, 2), (False, True, 4), (True, False, 9), (False, False, 100)]
]


# PyTorch warns where the pieces have no effect.
@pytest.mark.filterwarnings("ignore::UserWarning")
@both_dtypes
@table(LINEAR)
def test_linear_cross_entropy(case, dtype):
    assert_same(case, dtype)


def test_pieces_never_hold_all_logits():
    rows, classes = 64, 1000
    x, w = jnp.ones((rows, 8)), jnp.ones((classes, 8))
    target = jnp.zeros(rows, jnp.int32)
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=4)

    def biggest(chosen: Any) -> int:
        loss = lambda x, w: F.linear_cross_entropy(x, w, target, options=chosen)  # noqa: E731
        text = jax.jit(jax.grad(loss, (0, 1))).lower(x, w).as_text()
        return f"{rows}x{classes}x" in text

    assert biggest(None)
    assert not biggest(options)


# ------------------------------------------------------------------------------------------------------------- CTC

FRAMES, BATCH, LETTERS = 11, 4, 6
CTC_OPTIONS = {
    "form": ["padded", "row"],
    "lengths": ["tuple", "array"],
    "blank": [0, 3, 5],
    "zero_infinity": [False, True],
    "targets": [(3, 1, 4, 2), (0, 2, 4, 0), (0, 0, 0, 0), (5, 5, 5, 5)],
    "frames": [(11, 9, 10, 7), (11, 11, 11, 11), (5, 11, 9, 8)],
}


def ctc_case(row: dict[str, Any], *, scores: bool = False, repeats: bool = False, id: str = "") -> Case:
    """Losses by every reduction; `scores`: of log_softmax of the argument, whose gradient is the usual one."""
    frames, lengths, blank = row["frames"], row["targets"], row["blank"]

    def side(module: Any, softmax: Any, array: Any) -> Callable[..., Any]:
        named = {"blank": blank, "zero_infinity": row["zero_infinity"]}
        counts = (frames, lengths) if row["lengths"] == "tuple" else (array(frames), array(lengths))

        def call(x: Any, targets: Any) -> Any:
            x = softmax(x) if scores else x
            return tuple(module.ctc_loss(x, targets, *counts, reduction=name, **named) for name in REDUCTIONS)

        return call

    def draw(rng: np.random.Generator) -> Arrays:
        x = 2.0 * rng.standard_normal((FRAMES, len(frames), LETTERS))
        x = x if scores else x - np.log(np.exp(x).sum(2, keepdims=True))
        letters = [letter for letter in range(LETTERS) if letter != blank]
        targets = rng.choice(letters[:1] if repeats else letters, (len(frames), max(lengths, default=0)))
        if row["form"] == "row":
            targets = np.concatenate([line[:n] for line, n in zip(targets, lengths, strict=True)])
        return x, targets.astype(np.int64)

    jax_softmax = lambda x: F.log_softmax(x, 2)  # noqa: E731
    sides = side(F, jax_softmax, np.asarray), side(TF, lambda x: TF.log_softmax(x, 2), torch.tensor)
    return Case(f"{id}{label(row)}", *sides, draw, 1)


def _possible(row: dict[str, Any]) -> bool:
    """An infinite loss makes the sum's gradient NaN and hides the others; it has cases of its own."""
    return row["zero_infinity"] or all(2 * n <= t for t, n in zip(row["frames"], row["targets"], strict=True))


CTC = [ctc_case(row) for row in all_pairs(CTC_OPTIONS, _possible)]
USUAL = {"form": "padded", "lengths": "tuple", "blank": 0, "zero_infinity": False}
USUAL |= {"targets": (3, 1, 4, 2), "frames": (11, 9, 10, 7)}
CTC += [
    ctc_case(USUAL, scores=True, id="scores-"),
    ctc_case(USUAL, repeats=True, id="repeats-"),
    ctc_case(USUAL | {"zero_infinity": True, "targets": (6, 1, 6, 2)}, repeats=True, id="too-many-repeats-"),
    ctc_case(USUAL | {"frames": (2, 11, 0, 0), "targets": (3, 2, 0, 1)}, id="impossible-"),
    ctc_case(USUAL | {"frames": (2, 11, 0, 0), "targets": (3, 2, 0, 1), "zero_infinity": True}, id="impossible-"),
]


def single_ctc(blank: int, shape: tuple[int, ...]) -> Case:
    """One sequence without a batch axis, its lengths scalars or vectors of one."""

    def side(module: Any, array: Any) -> Callable[..., Any]:
        counts = array(np.full(shape, 9)), array(np.full(shape, 3))
        return lambda x, y: tuple(module.ctc_loss(x, y, *counts, blank, name) for name in REDUCTIONS)

    def draw(rng: np.random.Generator) -> Arrays:
        return rng.standard_normal((FRAMES, LETTERS)) - 2.0, rng.integers(1, 3, 3)

    return Case(f"single-{blank}-{shape}", side(F, jnp.asarray), side(TF, torch.as_tensor), draw, 1)


CTC += [single_ctc(0, ()), single_ctc(4, (1,))]


@both_dtypes
@table(CTC)
def test_ctc_loss(case, dtype):
    assert_same(case, dtype)


def test_ctc_gradient_where_a_class_is_impossible():
    """PyTorch divides 0 by 0 there; everywhere else the gradients agree."""
    rng = np.random.default_rng(3)
    x = np.log(rng.dirichlet(np.ones(4), (6, 1)))
    x[1, 0, 3] = x[2, 0, 1] = -np.inf
    counts = (np.array([[1, 2]]), (6,), (2,))
    with jax.enable_x64(True):
        loss = lambda x: F.ctc_loss(x, jnp.asarray(counts[0]), *counts[1:], reduction="sum")  # noqa: E731
        found = np.asarray(jax.grad(loss)(jnp.asarray(x)))
    leaf = torch.tensor(x, requires_grad=True)
    TF.ctc_loss(leaf, torch.as_tensor(counts[0]), *counts[1:], reduction="sum").backward()
    wanted = leaf.grad.numpy()
    assert np.isnan(wanted).sum() == 2
    assert (found[np.isnan(wanted)] == 0).all()
    assert findings64("gradient", found[~np.isnan(wanted)], wanted[~np.isnan(wanted)]) == []


# ------------------------------------------------------------------------------------------------ adaptive softmax


def adaptive(method: str, batch: tuple[int, ...], *args: Any, **kwargs: Any) -> Case:
    """Inputs, targets and all parameters, by position."""
    template = torch.nn.AdaptiveLogSoftmaxWithLoss(*args, **kwargs)
    names = list(template.state_dict())
    shapes = [tuple(value.shape) for value in template.state_dict().values()]

    def jax_fn(x: jax.Array, *rest: jax.Array) -> Any:
        layer = nn.AdaptiveLogSoftmaxWithLoss(*args, **kwargs, rngs=0)
        parameters = dict(layer.named_parameters())
        assert list(parameters) == names
        for name, value in zip(names, rest, strict=False):
            parameters[name].set_value(value)
        return getattr(layer, method)(x, *rest[len(names) :])

    def torch_fn(x: Any, *rest: Any) -> Any:
        inputs = x, *rest[len(names) :]
        calls = {"forward": lambda layer: layer(*inputs)}
        layer = torch.nn.AdaptiveLogSoftmaxWithLoss(*args, **kwargs).to(x.dtype)
        if method != "forward":
            calls[method] = lambda layer: getattr(layer, method)(*inputs)

        class Call(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = layer

            def forward(self) -> Any:
                return calls[method](self.layer)

        values = {f"layer.{name}": value for name, value in zip(names, rest, strict=False)}
        outputs = torch.func.functional_call(Call(), values, ())
        if method != "forward":
            return outputs
        # PyTorch leaves out the tails of which no target is: their gradients are 0, not missing.
        return outputs.output, outputs.loss + 0.0 * sum(value.sum() for value in values.values())

    def draw(rng: np.random.Generator) -> Arrays:
        arrays = [rng.standard_normal((*batch, args[0])), *(rng.standard_normal(shape) for shape in shapes)]
        return (*arrays, rng.integers(0, args[1], batch)) if method == "forward" else tuple(arrays)

    return Case(f"{method}-{batch}-{args}-{kwargs}", jax_fn, torch_fn, draw, 0 if method == "predict" else None)


ADAPTIVE = [
    adaptive("forward", (9,), 16, 20, [4, 10, 13], 2.0),
    adaptive("forward", (9,), 8, 20, [4], head_bias=True),
    adaptive("forward", (), 8, 20, [1, 19], div_value=2.0),
    adaptive("forward", (1,), 16, 12, (2, 3)),
    adaptive("log_prob", (9,), 16, 20, [4, 10, 13], 2.0),
    adaptive("predict", (30,), 16, 20, [4, 10, 13], 2.0),
    adaptive("predict", (30,), 16, 20, [1], 2.0, True),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@both_dtypes
@table(ADAPTIVE)
def test_adaptive_log_softmax(case, dtype):
    assert_same(case, dtype)


def test_adaptive_log_softmax_layout():
    ours = nn.AdaptiveLogSoftmaxWithLoss(16, 20, [4, 10, 13], 2.0, True, rngs=0)
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [4, 10, 13], 2.0, True)
    load_state_dict(ours, {key: value.detach().numpy() for key, value in theirs.state_dict().items()})
    assert repr(ours) == repr(theirs)
    for name in ("in_features", "n_classes", "cutoffs", "div_value", "shortlist_size", "n_clusters", "head_size"):
        assert list(np.atleast_1d(getattr(ours, name))) == list(np.atleast_1d(getattr(theirs, name))), name


# ------------------------------------------------------------------------------------- what both sides refuse


def _x() -> np.ndarray:
    return rounded(np.random.default_rng(0).standard_normal((4, 3)))


REFUSED: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "trap 21: class too large": ("cross_entropy", [_x(), np.array([0, 1, 2, 3])], {}),
    "trap 21: class below zero": ("cross_entropy", [_x(), np.array([0, 1, -1, 2])], {}),
    "trap 21: with smoothing": ("cross_entropy", [_x(), np.array([0, 1, 3, 2])], {"label_smoothing": 0.1}),
    "trap 21: nll": ("nll_loss", [_x(), np.array([0, 1, 3, 2])], {}),
    "trap 21: linear": ("linear_cross_entropy", [_x(), _x()[:3], np.array([0, 1, 3, 2])], {}),
    "scalar input": ("cross_entropy", [np.array(1.0), np.array(0)], {}),
    "integer input": ("nll_loss", [np.ones((4, 3), int), np.array([0, 1, 2, 2])], {}),
    "scalar target": ("cross_entropy", [_x(), np.array(0)], {}),
    "boolean target": ("cross_entropy", [_x(), np.array([True, False, True, True])], {}),
    "flat target": ("nll_loss", [_x()[:, :, None], np.array([0, 1, 2, 2])], {}),
    "weight too long": ("nll_loss", [_x(), np.array([0, 1, 2, 2]), np.ones(4)], {}),
    "weight of integers": ("cross_entropy", [_x(), np.array([0, 1, 2, 2]), np.ones(3, int)], {}),
    "probabilities and a class ignored": ("cross_entropy", [_x(), np.abs(_x())], {"ignore_index": 0}),
    "reduction": ("cross_entropy", [_x(), np.array([0, 1, 2, 2])], {"reduction": "average"}),
    "smoothing": ("cross_entropy", [_x(), np.array([0, 1, 2, 2])], {"label_smoothing": 1.5}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_as_in_pytorch(name):
    function, arrays, options = REFUSED[name]
    with pytest.raises((RuntimeError, ValueError, IndexError, NotImplementedError)):
        getattr(TF, function)(*map(torch.as_tensor, arrays), **options)
    with (
        jax.enable_x64(True),
        pytest.raises((ValueError, TypeError, IndexError), match=f"^{function.removeprefix('linear_')}: "),
    ):
        getattr(F, function)(*map(jnp.asarray, arrays), **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("function", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize(("shape", "places"), [((0, 3), (0,)), ((2, 3, 0), (2, 0)), ((0, 0), (0,)), ((3,), (1,))])
def test_empty_and_odd_shapes(function, shape, places, reduction):
    x, y = np.ones(shape, np.float32), np.ones(places, int)
    loss = lambda x: getattr(TF, function)(x, torch.from_numpy(y), reduction=reduction).numpy()  # noqa: E731
    found = getattr(F, function)(jnp.asarray(x), jnp.asarray(y), reduction=reduction)
    assert findings32(function, found, loss(torch.from_numpy(x)), loss(torch.from_numpy(x).double())) == []


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_bytes_are_classes(smoothing):
    """PyTorch takes uint8 classes too; -100 is none of them."""
    x, y = _x().astype(np.float32), np.array([0, 2, 1, 2], np.uint8)
    loss = lambda x: TF.cross_entropy(x, torch.from_numpy(y), label_smoothing=smoothing).numpy()  # noqa: E731
    found = F.cross_entropy(jnp.asarray(x), jnp.asarray(y), label_smoothing=smoothing)
    assert findings32("cross_entropy", found, loss(torch.from_numpy(x)), loss(torch.from_numpy(x).double())) == []


@pytest.mark.parametrize(("reduction", "smoothing"), list(itertools.product(REDUCTIONS, (0.0, 0.2))))
def test_a_class_out_of_range_is_nan_where_it_cannot_be_seen(reduction, smoothing):
    loss = jax.jit(lambda x, y: F.cross_entropy(x, y, reduction=reduction, label_smoothing=smoothing))
    found = np.asarray(loss(jnp.asarray(_x(), jnp.float32), jnp.asarray([0, 1, 3, -1])))
    assert np.isnan(found[..., 2:]).all() if reduction == "none" else np.isnan(found)
