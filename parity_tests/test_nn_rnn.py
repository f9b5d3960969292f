"""Recurrent layers, cells and packed sequences against PyTorch's: values and gradients of input, states and weights."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Arrays, Case, all_pairs, assert_same, both_dtypes, label, table

from jaxport import nn
from jaxport.nn.utils import rnn as packing

torch = pytest.importorskip("torch")
torch_packing = torch.nn.utils.rnn

# PyTorch says which of its kernels it takes; the numbers are the same.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

STEPS, BATCH, INPUT, HIDDEN = 5, 4, 3, 6


def _states(kind: str) -> int:
    return 2 if kind.startswith("LSTM") else 1


def _flat(output: Any, states: Any) -> tuple[Any, ...]:
    return (output, *(states if isinstance(states, tuple) else (states,)))


def _bundle(kind: str, states: list[Any]) -> Any:
    return None if not states else tuple(states) if kind.startswith("LSTM") else states[0]


class Recurrent:
    """One recurrent layer in both frameworks, as functions of (input, states, weights)."""

    def __init__(
        self,
        kind: str,
        options: dict[str, Any],
        *,
        hx: bool = True,
        batched: bool = True,
        lengths: list[int] | None = None,
        packed: bool = False,
        steps: int = STEPS,
        sizes: tuple[int, int] = (INPUT, HIDDEN),
    ) -> None:
        self.kind, self.options, self.lengths, self.packed, self.steps, self.sizes = (
            kind,
            options,
            lengths,
            packed,
            steps,
            sizes,
        )
        self.theirs = getattr(torch.nn, kind)(*sizes, **options)
        self.names = [name for name, _ in self.theirs.named_parameters()]
        first = options.get("batch_first", False)
        batch = BATCH if lengths is None else len(lengths)
        shape = ((batch, steps) if first else (steps, batch)) if batched else (steps,)
        self.batch_first, scans = (
            first and batched,
            options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1),
        )
        middle = (batch,) if batched else ()
        widths = (options.get("proj_size") or sizes[1], sizes[1])[: _states(kind)]
        self.shapes = [(*shape, sizes[0]), *((scans, *middle, width) for width in widths if hx)]

    def draw(self, rng: np.random.Generator) -> Arrays:
        weights = [tuple(p.shape) for p in self.theirs.parameters()]
        return tuple(0.2 + 0.6 * rng.standard_normal(shape) for shape in (*self.shapes, *weights))

    def _split(self, arrays: tuple[Any, ...]) -> tuple[Any, Any, tuple[Any, ...]]:
        states = len(self.shapes)
        return arrays[0], _bundle(self.kind, list(arrays[1:states])), arrays[states:]

    def jax_fn(self, *arrays: jax.Array) -> Any:
        x, hx, weights = self._split(arrays)
        ours = getattr(nn, self.kind)(*self.sizes, **self.options, dtype=x.dtype, rngs=0)
        for parameter, value in zip(ours.parameters(), weights, strict=True):
            parameter.set_value(value)
        if not self.packed:
            return _flat(*ours(x, hx, lengths=None if self.lengths is None else jnp.asarray(self.lengths)))
        sequence = packing.pack_padded_sequence(x, self.lengths, self.batch_first, enforce_sorted=False)
        output, states = ours(sequence, hx)
        return _flat(output.data, states)

    def torch_fn(self, *tensors: Any) -> Any:
        x, hx, weights = self._split(tensors)
        call = lambda x: torch.func.functional_call(self.theirs, dict(zip(self.names, weights, strict=True)), (x, hx))  # noqa: E731
        if self.lengths is None:
            return _flat(*call(x))
        output, states = call(torch_packing.pack_padded_sequence(x, self.lengths, self.batch_first, False))
        if self.packed:
            return _flat(output.data, states)
        return _flat(torch_packing.pad_packed_sequence(output, self.batch_first, 0.0, self.steps)[0], states)

    def case(self, id: str) -> Case:
        return Case(f"{self.kind}-{id}", self.jax_fn, self.torch_fn, self.draw)


OPTIONS = {
    "num_layers": [1, 2, 3],
    "bias": [True, False],
    "batch_first": [False, True],
    "bidirectional": [False, True],
    "hx": [True, False],
    "batched": [True, False],
    "lengths": [None, [5, 4, 2, 1], [2, 5, 1, 3], [5, 5, 5, 5]],
}
KINDS = [
    ("RNN", {"nonlinearity": ["tanh", "relu"]}),
    ("LSTM", {"proj_size": [0, 2]}),
    ("GRU", {}),
]


def _fits(row: dict[str, Any]) -> bool:
    return row["batched"] or row["lengths"] is None


def _case(kind: str, row: dict[str, Any]) -> Case:
    options = {name: value for name, value in row.items() if name not in ("hx", "batched", "lengths")}
    return Recurrent(kind, options, hx=row["hx"], batched=row["batched"], lengths=row["lengths"]).case(label(row))


GRID = [_case(kind, row) for kind, more in KINDS for row in all_pairs(OPTIONS | more, _fits)]
DEEP = {"num_layers": 2, "bidirectional": True}
EDGE = [
    Recurrent("LSTM", DEEP | {"proj_size": 4}).case("deep-projected"),
    Recurrent("LSTM", {}).case("plain"),
    Recurrent("GRU", DEEP).case("deep"),
    Recurrent("GRU", {}).case("plain"),
    Recurrent("RNN", DEEP | {"nonlinearity": "relu"}).case("deep-relu"),
    Recurrent("RNN", {}).case("plain"),
    Recurrent("LSTM", {}, steps=1).case("one-step"),
    Recurrent("GRU", {"bidirectional": True}, steps=1).case("one-step"),
    Recurrent("LSTM", {}, steps=40).case("forty-steps"),
    Recurrent("GRU", {}, sizes=(1, 1)).case("one-unit"),
    Recurrent("LSTM", {"bidirectional": True}, lengths=[3]).case("one-sequence-shorter-than-time"),
]
PACKED = [
    Recurrent(kind, DEEP | more, hx=hx, lengths=lengths, packed=True).case(f"packed-{hx}-{lengths}-{more}")
    for (kind, more), hx, lengths in itertools.product(
        [("RNN", {}), ("LSTM", {"proj_size": 2}), ("GRU", {"batch_first": True})], [True, False], [[5, 3, 1], [2, 5, 2]]
    )
]


@table(GRID)
def test_recurrent_layers_over_their_options(case):
    assert_same(case, "float64")


@both_dtypes
@table(EDGE)
def test_recurrent_layers(case, dtype):
    assert_same(case, dtype)


@table(PACKED)
def test_packed_sequences(case):
    assert_same(case, "float64")


# ---------------------------------------------------------------------------------------------- dropout, curvature


def dropout_case(kind: str, p: float, packed: bool) -> Case:
    """Replay the masks of PyTorch's own generator, one for each layer but the last."""
    lengths = [5, 3, 1] if packed else None
    model = Recurrent(kind, {"num_layers": 3, "bidirectional": True, "dropout": p}, lengths=lengths, packed=packed)
    rows = (9,) if packed else (STEPS, BATCH)

    def draw(rng: np.random.Generator) -> Arrays:
        seed = int(rng.integers(1, 1 << 30))
        torch.manual_seed(seed)
        masks = [torch.nn.functional.dropout(torch.ones(*rows, 2 * HIDDEN), p).numpy() != 0 for _ in range(2)]
        return (*model.draw(rng), *masks, np.asarray(seed))

    def jax_fn(*arrays: jax.Array) -> Any:
        with nn.replay_masks(arrays[-3:-1] if 0.0 < p < 1.0 else []):
            return model.jax_fn(*arrays[:-3])

    def torch_fn(*tensors: Any) -> Any:
        torch.manual_seed(int(tensors[-1]))
        return model.torch_fn(*tensors[:-3])

    return Case(f"{kind}-dropout-{p}-{packed}", jax_fn, torch_fn, draw)


DROPOUT = [
    dropout_case(kind, p, packed) for kind, p, packed in (("LSTM", 0.4, False), ("GRU", 0.4, True), ("RNN", 1.0, False))
]


@table(DROPOUT)
def test_dropout_between_layers_with_replayed_masks(case):
    assert_same(case, "float64")


def curvature(model: Recurrent, by: int) -> Case:
    """Return H v of f = Σ y³ in argument `by`, forward over reverse in JAX, reverse twice in PyTorch; v comes last."""

    def jax_fn(*arrays: jax.Array) -> jax.Array:
        *given, v = arrays
        value = lambda x: jnp.sum(model.jax_fn(*given[:by], x, *given[by + 1 :])[0] ** 3)  # noqa: E731
        return jax.jvp(jax.grad(value), (given[by],), (v,))[1]

    def torch_fn(*tensors: Any) -> Any:
        *given, v = tensors
        (slope,) = torch.autograd.grad((model.torch_fn(*given)[0] ** 3).sum(), given[by], create_graph=True)
        return torch.autograd.grad((slope * v).sum(), given[by], create_graph=True)[0]

    def draw(rng: np.random.Generator) -> Arrays:
        arrays = model.draw(rng)
        return (*arrays, rng.standard_normal(arrays[by].shape))

    # All arguments are leaves, and those that the result does not depend on would be errors in PyTorch: none is asked.
    return Case(f"{model.kind}-{by}", jax_fn, torch_fn, draw, differentiable=0)


CURVATURE = [
    curvature(Recurrent("LSTM", {"proj_size": 2, "bidirectional": True}, lengths=[5, 3, 1]), 4),
    curvature(Recurrent("LSTM", {}), 0),
    curvature(Recurrent("GRU", {}), 3),
    curvature(Recurrent("RNN", {}), 3),
]


def _with_leaves(case: Case) -> Case:
    def torch_fn(*tensors: Any) -> Any:
        return case.torch_fn(*(tensor.requires_grad_() for tensor in tensors)).detach()

    return Case(case.id, case.jax_fn, torch_fn, case.draw, 0)


@table([_with_leaves(case) for case in CURVATURE])
def test_second_derivatives(case):
    assert_same(case, "float64")


# ----------------------------------------------------------------------------------------------------------- cells


def cell_case(kind: str, batch: int | None, hx: bool, **options: Any) -> Case:
    theirs = getattr(torch.nn, kind)(INPUT, HIDDEN, **options)
    names, lead = [name for name, _ in theirs.named_parameters()], () if batch is None else (batch,)
    shapes = [(*lead, INPUT), *[(*lead, HIDDEN)] * (_states(kind) if hx else 0)]
    weights = [tuple(p.shape) for p in theirs.parameters()]

    def jax_fn(*arrays: jax.Array) -> Any:
        ours = getattr(nn, kind)(INPUT, HIDDEN, **options, dtype=arrays[0].dtype, rngs=0)
        for parameter, value in zip(ours.parameters(), arrays[len(shapes) :], strict=True):
            parameter.set_value(value)
        return ours(arrays[0], _bundle(kind, list(arrays[1 : len(shapes)])))

    def torch_fn(*tensors: Any) -> Any:
        given = dict(zip(names, tensors[len(shapes) :], strict=True))
        hidden = _bundle(kind, list(tensors[1 : len(shapes)]))
        return torch.func.functional_call(theirs, given, (tensors[0], hidden))

    draw = lambda rng: tuple(0.2 + 0.6 * rng.standard_normal(shape) for shape in (*shapes, *weights))  # noqa: E731
    # Without a state weight_hh meets only zeros, and PyTorch still gives it a gradient.
    return Case(f"{kind}-{batch}-{hx}-{options}", jax_fn, torch_fn, draw)


CELLS = [
    cell_case(kind, batch, hx, bias=bias, **more)
    for kind, more in (("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("LSTMCell", {}), ("GRUCell", {}))
    for batch, hx, bias in (
        (4, True, True),
        (None, True, True),
        (4, False, True),
        (None, False, False),
        (1, True, False),
    )
]


@both_dtypes
@table(CELLS)
def test_cells(case, dtype):
    assert_same(case, dtype)


# ------------------------------------------------------------------------------------------------- packed sequences

LENGTHS = [[5, 4, 2, 1], [2, 5, 1, 3], [3, 3, 3, 3], [1, 1, 2, 1], [5, 1, 1, 5]]


def _same(found: Any, wanted: Any) -> None:
    found, wanted = np.asarray(found), wanted.numpy()
    assert found.shape == wanted.shape
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("trailing", [(), (3,), (2, 3)], ids=str)
def test_packing_and_padding(lengths, batch_first, trailing):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(((4, 5) if batch_first else (5, 4)) + trailing).astype(np.float32)
    ours = packing.pack_padded_sequence(jnp.asarray(x), lengths, batch_first, enforce_sorted=False)
    theirs = torch_packing.pack_padded_sequence(torch.from_numpy(x), lengths, batch_first, enforce_sorted=False)
    for found, wanted in zip(ours, theirs, strict=True):
        _same(found, wanted)
    for options in ({}, {"batch_first": True, "padding_value": -2.5}, {"total_length": 7}):
        for found, wanted in zip(
            packing.pad_packed_sequence(ours, **options),
            torch_packing.pad_packed_sequence(theirs, **options),
            strict=True,
        ):
            _same(found, wanted)
    rows = zip(packing.unpack_sequence(ours), torch_packing.unpack_sequence(theirs), strict=True)
    for found, wanted in rows:
        _same(found, wanted)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_lists_of_sequences(batch_first, side):
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((n, 2)).astype(np.float32) for n in (4, 3, 3, 1)]
    ours, theirs = [jnp.asarray(row) for row in rows], [torch.from_numpy(row) for row in rows]
    padded = packing.pad_sequence(ours, batch_first, 1.5, side)
    wanted = torch_packing.pad_sequence(theirs, batch_first, 1.5, side)
    _same(padded, wanted)
    for found, row in zip(
        packing.unpad_sequence(padded, [4, 3, 2, 1], batch_first),
        torch_packing.unpad_sequence(wanted, torch.tensor([4, 3, 2, 1]), batch_first),
        strict=True,
    ):
        _same(found, row)
    for found, row in zip(packing.pack_sequence(ours), torch_packing.pack_sequence(theirs), strict=True):
        assert (found is None) == (row is None)
        if row is not None:
            _same(found, row)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "dropout": 0.25, "bidirectional": True}, {"bias": False, "batch_first": True}],
    ids=str,
)
def test_names_shapes_and_repr(kind, options):
    ours, theirs = getattr(nn, kind)(3, 4, **options, rngs=0), getattr(torch.nn, kind)(3, 4, **options)
    assert repr(ours) == repr(theirs)
    found = [(name, parameter.shape) for name, parameter in ours.named_parameters()]
    assert found == [(name, tuple(parameter.shape)) for name, parameter in theirs.named_parameters()]
    assert [[p.shape for p in row] for row in ours.all_weights] == [
        [tuple(p.shape) for p in row] for row in theirs.all_weights
    ]
    for name in (
        "mode",
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
        "proj_size",
    ):
        assert getattr(ours, name) == getattr(theirs, name)
    assert all(float(jnp.abs(p[...]).max()) <= 0.5 for p in ours.parameters())
