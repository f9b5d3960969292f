"""The suite can fail: mistakes in recurrent layers are planted and must be reported."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest
import test_nn_rnn as layers
from cases import Case, case_findings

from jaxport.nn import rnn_base, rnn_scan
from jaxport.nn.rnn_scan import CELLS, Cell

pytestmark = layers.pytestmark


def case(id: str) -> Case:
    return next(row for row in [*layers.EDGE, *layers.GRID] if row.id == id)


def one_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep one of the two biases."""
    right = rnn_base.Weights
    monkeypatch.setattr(rnn_base, "Weights", lambda **weights: right(**(weights | {"b_hh": None})))


def swapped_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the gates as i, g, f, o."""

    def advance(a: Any, b: Any, state: Any) -> Any:
        i, f, g, o = jnp.split(a + b, 4, axis=-1)
        return rnn_scan._lstm_advance(jnp.concatenate([i, g, f, o], -1), jnp.zeros_like(b), state)

    monkeypatch.setitem(CELLS, "LSTM", dataclasses.replace(CELLS["LSTM"], advance=advance))


def bias_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add b_hn to b_in, outside r·(…), as a cell with one bias must."""
    monkeypatch.setitem(CELLS, "GRU", dataclasses.replace(CELLS["GRU"], summed=True))


def other_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let z weigh the new state rather than the old one."""

    def advance(a: Any, b: Any, state: Any) -> Any:
        (new,), kept = rnn_scan._gru_advance(a, b, state)
        return (kept[2] + state[0] - new,), kept

    monkeypatch.setitem(CELLS, "GRU", dataclasses.replace(CELLS["GRU"], advance=advance))


def _wrong_slopes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    cell: Cell = CELLS[name]
    wrong = lambda kept: (cell.slopes(kept)[0] * (1.0 + 1e-6), *cell.slopes(kept)[1:])  # noqa: E731
    monkeypatch.setitem(CELLS, name, dataclasses.replace(cell, slopes=wrong))


def coarse_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be off by one part in a million in the derivative alone."""
    for name in CELLS:
        _wrong_slopes(monkeypatch, name)


def padding_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on over the padding."""
    right = rnn_base.run_layer
    monkeypatch.setattr(rnn_base, "run_layer", lambda *args: right(*args[:4], None, args[5]))


def all_reversed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run both directions forwards."""
    right = rnn_base.run_layer
    monkeypatch.setattr(rnn_base, "run_layer", lambda *args: right(*args[:5], False))


TRAPS: list[tuple[str, Callable[[pytest.MonkeyPatch], None], str]] = [
    ("trap 10: one LSTM bias", one_bias, "LSTM-plain"),
    ("trap 10: gates in another order", swapped_gates, "LSTM-plain"),
    ("trap 11: b_hn outside r·(…)", bias_outside, "GRU-plain"),
    ("trap 11: z weighs the new state", other_update, "GRU-plain"),
    ("gradient off by 1e-6: LSTM", coarse_gradient, "LSTM-plain"),
    ("gradient off by 1e-6: GRU", coarse_gradient, "GRU-plain"),
    ("gradient off by 1e-6: RNN", coarse_gradient, "RNN-plain"),
    ("padding is read", padding_read, "LSTM-one-sequence-shorter-than-time"),
    ("no direction is backwards", all_reversed, "GRU-deep"),
]


@pytest.mark.parametrize(("plant", "id"), [trap[1:] for trap in TRAPS], ids=[trap[0] for trap in TRAPS])
def test_a_planted_mistake_is_found(monkeypatch, plant, id):
    row = case(id)
    assert case_findings(row, "float64") == []
    plant(monkeypatch)
    assert case_findings(row, "float64")
