"""The lattice of CTC's paths: its states, and its forward and backward recursions in logarithms."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

INF = float("inf")


def _log_sum(*terms: jax.Array) -> jax.Array:
    """Return log Σ exp(terms), -inf where all are, with derivatives that are never NaN there."""
    top = lax.stop_gradient(functools.reduce(jnp.maximum, terms))
    none = top == -INF
    safe = jnp.where(none, jnp.zeros_like(top), top)
    total = functools.reduce(jnp.add, (jnp.exp(term - safe) for term in terms))
    return jnp.where(none, jnp.full_like(top, -INF), jnp.log(jnp.where(none, jnp.ones_like(total), total)) + safe)


def _later(states: jax.Array, by: int) -> jax.Array:
    """Return the states (N, L) moved `by` places to the right, -inf coming in."""
    return jnp.pad(states, ((0, 0), (by, 0)), constant_values=-INF)[:, : states.shape[1]]


def _earlier(states: jax.Array, by: int) -> jax.Array:
    return jnp.pad(states, ((0, 0), (0, by)), constant_values=-INF)[:, by:]


def lattice(labels: jax.Array, blank: int) -> tuple[jax.Array, jax.Array]:
    """Return the path ∅ y1 ∅ y2 ∅ … (N, 2S + 1), and where it may be entered from two places before."""
    n, s = labels.shape
    path = jnp.full((n, 2 * s + 1), blank, labels.dtype).at[:, 1::2].set(labels)
    before = jnp.pad(path, ((0, 0), (2, 0)), constant_values=blank)[:, : 2 * s + 1]
    return path, (path != blank) & (path != before)


def forward(emitted: jax.Array, skip: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return α after the last frame (N, L) and at every frame (T, N, L): log P(frames up to t, in state s)."""

    def step(alpha: jax.Array, frame: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        time, emission = frame
        jumped = jnp.where(skip, _later(alpha, 2), jnp.full_like(alpha, -INF))
        moved = _log_sum(alpha, _later(alpha, 1), jumped) + emission
        alpha = jnp.where((time < lengths)[:, None], moved, alpha)
        return alpha, alpha

    # Before the first frame all paths stand on the first blank: from there both first states are entered.
    start = jnp.full(emitted.shape[1:], -INF, emitted.dtype).at[:, 0].set(0.0)
    return lax.scan(step, start, (lax.iota(lengths.dtype, emitted.shape[0]), emitted))


def backward(emitted: jax.Array, skip: jax.Array, lengths: jax.Array, targets: jax.Array) -> jax.Array:
    """Return β at every frame (T, N, L): log P(frames after t | in state s at t)."""
    enters = jnp.pad(skip, ((0, 0), (0, 2)))[:, 2:]

    def step(ahead: jax.Array, frame: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        time, emission = frame
        jumped = jnp.where(enters, _earlier(ahead, 2), jnp.full_like(ahead, -INF))
        beta = _log_sum(ahead, _earlier(ahead, 1), jumped)
        return jnp.where((time < lengths)[:, None], beta + emission, ahead), beta

    # After the last frame all paths must stand on the last blank, which is entered from both last states.
    last = lax.broadcasted_iota(targets.dtype, emitted.shape[1:], 1) == 2 * targets[:, None]
    end = jnp.where(last, 0.0, -INF).astype(emitted.dtype)
    return lax.scan(step, end, (lax.iota(lengths.dtype, emitted.shape[0]), emitted), reverse=True)[1]


def emitted_log_probs(log_probs: jax.Array, path: jax.Array) -> jax.Array:
    """Return the log-probability of each state's label, (T, N, L): whole rows over time are gathered."""
    rows = log_probs.transpose(1, 2, 0)
    return jax.vmap(lambda row, labels: row.at[labels].get(mode="fill"))(rows, path).transpose(2, 0, 1)
