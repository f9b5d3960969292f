"""Traps of sequences: 10 to 12 and 21 to 23."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from torch import nn

from .entry import Compared, fill, linear, normal, randomised, trap


class TorchTagger(nn.Module):
    """A recurrent layer and a linear one."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn, self.fc = rnn, nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        return self.fc(self.rnn(x)[0])


class JaxTagger(nnx.Module):
    """The same in NNX."""

    def __init__(self, cell: Any) -> None:
        self.rnn, self.fc = nnx.RNN(cell), nnx.Linear(5, 3, rngs=nnx.Rngs(0))

    def __call__(self, x: Any) -> Any:
        return self.fc(self.rnn(x))


def _gates(cell: Any, rnn: Any, order: str) -> None:
    """Carry the matrices of a cell with one linear layer a gate over, in PyTorch's order of the gates."""
    n = len(order)
    for part, name in (("i", "weight_ih_l0"), ("h", "weight_hh_l0")):
        for gate, block in zip(order, getattr(rnn, name).chunk(n), strict=True):
            layer = getattr(cell, f"{part}{gate}" + ("_" if part + gate == "if" else ""))
            fill(layer.kernel, block, (1, 0))


@trap(10, "output", "rnn", "cause/rnn-bias", "lint/rnn-bias", "one of the two biases was not carried over")
def lstm_with_one_of_two_biases() -> Compared:
    ours, theirs = JaxTagger(nnx.LSTMCell(4, 5, rngs=nnx.Rngs(1))), TorchTagger(nn.LSTM(4, 5, batch_first=True))
    randomised(theirs)
    cell: Any = ours.rnn.cell
    _gates(cell, theirs.rnn, "ifgo")
    for gate, block in zip("ifgo", theirs.rnn.bias_ih_l0.chunk(4), strict=True):  # type: ignore[operator]
        fill(getattr(cell, f"h{gate}").bias, block)
    linear(ours.fc, theirs.fc)
    return Compared(ours, theirs, (normal(2, 6, 4),), None)


@trap(10, "output", "rnn", "cause/gate-order", "lint/rnn-bias", "weights carried over as if the order were i, g, f, o")
def lstm_with_gates_in_another_order() -> Compared:
    ours, theirs = JaxTagger(nnx.LSTMCell(4, 5, rngs=nnx.Rngs(1))), TorchTagger(nn.LSTM(4, 5, batch_first=True))
    randomised(theirs)
    cell: Any = ours.rnn.cell
    _gates(cell, theirs.rnn, "igfo")
    summed = theirs.rnn.bias_ih_l0 + theirs.rnn.bias_hh_l0  # type: ignore[operator]
    for gate, block in zip("igfo", summed.chunk(4), strict=True):
        fill(getattr(cell, f"h{gate}").bias, block)
    linear(ours.fc, theirs.fc)
    return Compared(ours, theirs, (normal(2, 6, 4),), None)


@trap(11, "output", "rnn", "cause/gru-bias", "lint/gru-bias", "b_hn cannot be carried over")
def gru_without_its_inner_bias() -> Compared:
    ours, theirs = JaxTagger(nnx.GRUCell(4, 5, rngs=nnx.Rngs(1))), TorchTagger(nn.GRU(4, 5, batch_first=True))
    randomised(theirs)
    cell: Any = ours.rnn.cell
    rnn: Any = theirs.rnn
    fill(cell.dense_i.kernel, rnn.weight_ih_l0, (1, 0))
    fill(cell.dense_h.kernel, rnn.weight_hh_l0, (1, 0))
    fill(cell.dense_i.bias, rnn.bias_ih_l0 + rnn.bias_hh_l0)
    linear(ours.fc, theirs.fc)
    return Compared(ours, theirs, (normal(2, 6, 4),), None)


class TorchAttention(nn.Module):
    """Linear, attention, linear."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.fc1, self.attn, self.fc2 = nn.Linear(4, 6), nn.MultiheadAttention(6, 2, **settings), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        x = self.fc1(x)
        return self.fc2(self.attn(x, x, x, need_weights=False)[0])


class JaxAttention(nnx.Module):
    """The same in NNX."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.fc1, self.fc2 = nnx.Linear(4, 6, rngs=rngs), nnx.Linear(6, 3, rngs=rngs)
        self.attn = nnx.MultiHeadAttention(2, 6, decode=False, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.fc2(self.attn(self.fc1(x)))


@trap(12, "output", "attn", "cause/batch-first", "lint/batch-first")
def attention_over_the_batch() -> Compared:
    x = normal(7, 5, 4)
    return Compared(JaxAttention(), randomised(TorchAttention()), (x,), options={"jax_inputs": [x]})


class TorchWords(nn.Module):
    """Embedding and linear layer."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.embed, self.fc = nn.Embedding(7, 4, **settings), nn.Linear(4, 3)

    def forward(self, ids: Any) -> Any:
        return self.fc(self.embed(ids))


class JaxWords(nnx.Module):
    """The same in NNX."""

    def __init__(self, rows: int = 7) -> None:
        rngs = nnx.Rngs(0)
        self.embed, self.fc = nnx.Embed(rows, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, ids: Any) -> Any:
        return self.fc(self.embed(ids))


IDS = np.array([[1, 2, 6, 3, 2], [0, 2, 5, 6, 1]])


@trap(21, "output", "embed", "cause/index-out-of-range", "lint/index", "the table has one row less")
def table_is_one_row_short() -> Compared:
    ours, theirs = JaxWords(6), TorchWords()
    randomised(theirs)
    fill(ours.embed.embedding, theirs.embed.weight[:6])
    linear(ours.fc, theirs.fc)
    return Compared(ours, theirs, (IDS,), None, {"gradients": False})


class Rows(nnx.Embed):
    """An embedding that takes the last row for indices beyond its table."""

    def __call__(self, inputs: Any) -> Any:
        return jnp.take(self.embedding[...], inputs, axis=0, mode="clip")


@trap(21, "output", "embed", "cause/index-out-of-range", "lint/index", "the table has one row less; JAX clamps")
def indices_are_clamped() -> Compared:
    ours, theirs = JaxWords(6), TorchWords()
    randomised(theirs)
    ours.embed = Rows(6, 4, rngs=nnx.Rngs(0))
    fill(ours.embed.embedding, theirs.embed.weight[:6])
    linear(ours.fc, theirs.fc)
    return Compared(ours, theirs, (IDS,), None, {"gradients": False})


class TorchHash(TorchWords):
    """Words, and a hash of each."""

    def forward(self, ids: Any) -> Any:
        return super().forward(ids), ids * 1_000_003 * 2_003


class JaxHash(JaxWords):
    """The same in NNX."""

    def __call__(self, ids: Any) -> Any:
        return super().__call__(ids), ids * 1_000_003 * 2_003


@trap(22, "output", "[1]", "cause/integer-width", "lint/integer-width")
def hash_wraps_around() -> Compared:
    return Compared(JaxHash(), randomised(TorchHash()), (IDS,), options={"gradients": False})


@trap(23, "gradient", "embed.weight", "cause/padding-idx", "lint/padding-idx")
def padding_gets_a_gradient() -> Compared:
    return Compared(JaxWords(), randomised(TorchWords(padding_idx=2)), (IDS,))


@trap(23, "output", "embed", "cause/max-norm", "lint/max-norm")
def rows_are_not_scaled_down() -> Compared:
    return Compared(JaxWords(), randomised(TorchWords(max_norm=0.7)), (IDS,), options={"gradients": False})
