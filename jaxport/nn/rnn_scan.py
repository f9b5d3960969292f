"""Recurrences under RNN, LSTM and GRU: what a cell does to its state, and one layer's scan over time.

The gates of a cell are a_t = x_t W_ihᵀ + b_ih, for all times in one product before the scan, and h_{t-1} W_hhᵀ + b_hh,
inside it. Differentiating such a scan as it stands would add up the weights' gradients step by step. Its tangent is a
linear recurrence driven by h_{t-1} dW_hhᵀ for all t, again one product; JAX transposes that into a scan backwards and
one product for the gradient of W_hh.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .activation import relu, sigmoid, sigmoid_slope, tanh, tanh_slope
from .precision import product_precision

State = tuple[jax.Array, ...]  # (h,), or (h, c) of an LSTM; each (B, hidden)
Arrays = tuple[jax.Array, ...]


@dataclass(frozen=True)
class Cell:
    """What one kind of recurrence does.

    Attributes:
        gates: number of gates, each as wide as the hidden state.
        summed: whether the input's part of the gates and the state's enter only through their sum.
        advance: (input's part, state's part, state) → (new state, what `slopes` needs).
        slopes: the derivatives of a step, from what `advance` kept; elementwise, so for all times at once.
        tangent: (slopes, tangents of input's part, state's part and state) → tangent of the new state.
    """

    gates: int
    summed: bool
    advance: Callable[[jax.Array, jax.Array, State], tuple[State, Arrays]]
    slopes: Callable[[Arrays], Arrays]
    tangent: Callable[[Arrays, jax.Array, jax.Array, State], State]


# The slopes are taken from what the gates were before their activation: 1 - h² and σ (1 - σ) lose digits where a gate
# is saturated. They are computed for all times at once, after the scan.

# ----------------------------------------------------------------------------------------------------------- Elman


def _elman(activation: Callable[[jax.Array], jax.Array], slope: Callable[[jax.Array], jax.Array]) -> Cell:
    """h' = activation(a + b); `slope` is its derivative."""

    def advance(a: jax.Array, b: jax.Array, state: State) -> tuple[State, Arrays]:
        return (activation(a + b),), (a + b,)

    def tangent(slopes: Arrays, da: jax.Array, db: jax.Array, dstate: State) -> State:
        return (slopes[0] * (da + db),)

    return Cell(1, True, advance, lambda kept: (slope(kept[0]),), tangent)


def _relu_slope(x: jax.Array) -> jax.Array:
    # 0 at 0 and 1 at NaN, as relu has it.
    return jnp.where(x <= 0, jnp.zeros_like(x), jnp.ones_like(x))


# ------------------------------------------------------------------------------------------------------------ LSTM


def _lstm_gates(gates: jax.Array) -> Arrays:
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    return sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)


def _lstm_advance(a: jax.Array, b: jax.Array, state: State) -> tuple[State, Arrays]:
    """c' = f c + i g, h' = o tanh c', with the gates i, f, g, o in PyTorch's order."""
    i, f, g, o = _lstm_gates(a + b)
    c = f * state[1] + i * g
    return (o * tanh(c), c), (a + b, state[1], c)


def _lstm_slopes(kept: Arrays) -> Arrays:
    gates, before, c = kept
    (i, f, g, o), (at_i, at_f, at_g, at_o) = _lstm_gates(gates), jnp.split(gates, 4, axis=-1)
    to_i, to_f, to_g = g * sigmoid_slope(at_i), before * sigmoid_slope(at_f), i * tanh_slope(at_g)
    return to_i, to_f, to_g, tanh(c) * sigmoid_slope(at_o), f, o * tanh_slope(c)


def _lstm_tangent(slopes: Arrays, da: jax.Array, db: jax.Array, dstate: State) -> State:
    to_i, to_f, to_g, to_o, f, by_c = slopes
    di, df, dg, do = jnp.split(da + db, 4, axis=-1)
    dc = f * dstate[1] + to_i * di + to_f * df + to_g * dg
    return to_o * do + by_c * dc, dc


# ------------------------------------------------------------------------------------------------------------- GRU


def _gru_advance(a: jax.Array, b: jax.Array, state: State) -> tuple[State, Arrays]:
    """h' = (1 - z) n + z h, n = tanh(a_n + r b_n): the bias b_hn, a part of b_n, stands inside r·(…)."""
    (a_r, a_z, a_n), (b_r, b_z, b_n) = jnp.split(a, 3, axis=-1), jnp.split(b, 3, axis=-1)
    at_r, at_z = a_r + b_r, a_z + b_z
    r, z = sigmoid(at_r), sigmoid(at_z)
    at_n = a_n + r * b_n
    n = tanh(at_n)
    return (n + z * (state[0] - n),), (at_r, at_z, at_n, b_n, state[0])


def _gru_slopes(kept: Arrays) -> Arrays:
    at_r, at_z, at_n, b_n, h = kept
    to_n = sigmoid(-at_z) * tanh_slope(at_n)
    return to_n * b_n * sigmoid_slope(at_r), (h - tanh(at_n)) * sigmoid_slope(at_z), to_n, sigmoid(at_r), sigmoid(at_z)


def _gru_tangent(slopes: Arrays, da: jax.Array, db: jax.Array, dstate: State) -> State:
    to_r, to_z, to_n, r, z = slopes
    (da_r, da_z, da_n), (db_r, db_z, db_n) = jnp.split(da, 3, axis=-1), jnp.split(db, 3, axis=-1)
    return (to_r * (da_r + db_r) + to_z * (da_z + db_z) + to_n * (da_n + r * db_n) + z * dstate[0],)


CELLS = {
    "RNN_TANH": _elman(tanh, tanh_slope),
    "RNN_RELU": _elman(relu, _relu_slope),
    "LSTM": Cell(4, True, _lstm_advance, _lstm_slopes, _lstm_tangent),
    "GRU": Cell(3, False, _gru_advance, _gru_slopes, _gru_tangent),
}


# ------------------------------------------------------------------------------------------------------------ scan


def project(x: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Return x Wᵀ + b."""
    y = jnp.matmul(x, weight.T, precision=product_precision())
    return y if bias is None else y + jnp.broadcast_to(bias, y.shape)


def _select(mask: jax.Array | None, new: State, old: State) -> State:
    return new if mask is None else tuple(jnp.where(mask, n, o) for n, o in zip(new, old, strict=True))


def _run(cell: Cell, reverse: bool, keep: bool, operands: tuple[Any, ...]) -> tuple[State, Any]:
    """Scan over time; `keep` also what the tangent needs: all states, what `advance` kept, h before its projection."""
    a, start, w_hh, b_hh, w_hr, mask = operands

    def step(state: State, xs: tuple[jax.Array, jax.Array | None]) -> tuple[State, Any]:
        new, kept = cell.advance(xs[0], project(state[0], w_hh, b_hh), state)
        inner = new[0]
        new = new if w_hr is None else (project(inner, w_hr), *new[1:])
        new = _select(xs[1], new, state)
        return new, (new[0], kept, inner) if keep else new[0]

    return lax.scan(step, start, (a, mask), reverse=reverse)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _recurrence(cell: Cell, reverse: bool, operands: tuple[Any, ...]) -> tuple[jax.Array, State]:
    """Return all h (T, B, ·) and the last state."""
    last, outputs = _run(cell, reverse, False, operands)
    return outputs, last


@_recurrence.defjvp
def _recurrence_jvp(cell: Cell, reverse: bool, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    (operands,), ((da, dstart, dw_hh, db_hh, dw_hr, _),) = primals, tangents
    _, start, w_hh, _, w_hr, mask = operands
    last, (outputs, kept, inner) = _run(cell, reverse, True, operands)
    first = start[0][None]
    previous = jnp.concatenate([outputs[1:], first] if reverse else [first, outputs[:-1]])
    driven = project(previous, dw_hh, db_hh)
    da, db = (da + driven, None) if cell.summed else (da, driven)
    dh = None if w_hr is None else project(inner, dw_hr)

    def step(dstate: State, xs: tuple[Any, ...]) -> tuple[State, jax.Array]:
        slopes, da, db, dh, mask = xs
        back = project(dstate[0], w_hh)
        new = cell.tangent(slopes, da, back if db is None else back + db, dstate)
        new = new if w_hr is None else (project(new[0], w_hr) + dh, *new[1:])
        new = _select(mask, new, dstate)
        return new, new[0]

    dlast, doutputs = lax.scan(step, dstart, (cell.slopes(kept), da, db, dh, mask), reverse=reverse)
    return (outputs, last), (doutputs, dlast)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Weights:
    """One layer's weights in one direction, in PyTorch's names; absent ones are None."""

    w_ih: jax.Array
    w_hh: jax.Array
    b_ih: jax.Array | None = None
    b_hh: jax.Array | None = None
    w_hr: jax.Array | None = None


# Compiled here, so that outside of any jax.jit a second call of equal shapes does not compile its scan again.
@functools.partial(jax.jit, static_argnums=(0, 5))
def run_layer(
    cell: Cell, x: jax.Array, start: State, weights: Weights, mask: jax.Array | None, reverse: bool
) -> tuple[jax.Array, State]:
    """Run one layer in one direction over (T, B, input).

    `mask` (T, B, 1) is False at padding: there the state stays as it is and the output is 0. A reversed scan so starts
    at each sequence's own end.

    Returns:
        the outputs (T, B, ·) and the last state.
    """
    a, b_hh = project(x, weights.w_ih, weights.b_ih), weights.b_hh
    if cell.summed and b_hh is not None:
        a, b_hh = a + jnp.broadcast_to(b_hh, a.shape), None
    outputs, last = _recurrence(cell, reverse, (a, start, weights.w_hh, b_hh, weights.w_hr, mask))
    return (outputs if mask is None else jnp.where(mask, outputs, jnp.zeros_like(outputs))), last


def run_cell(cell: Cell, x: jax.Array, state: State, weights: Weights) -> State:
    """Advance `state` by one step."""
    a, b = project(x, weights.w_ih, weights.b_ih), project(state[0], weights.w_hh, weights.b_hh)
    return cell.advance(a, b, state)[0]
