"""The line search of torch.optim.LBFGS: a step that meets the strong Wolfe conditions, by cubic interpolation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

ARMIJO = 1e-4
"""c₁: the loss must fall by this part of what the slope promises."""

CURVATURE = 0.9
"""c₂: the slope must shrink to this part."""


class Point(NamedTuple):
    """A point on the line: how far, the loss, the gradient and the slope there."""

    t: jax.Array
    loss: jax.Array
    grad: jax.Array
    slope: jax.Array


class _Bracketing(NamedTuple):
    before: Point
    new: Point
    iterations: jax.Array


class _Zooming(NamedTuple):
    ends: Point  # two of each, stacked
    low: jax.Array  # which end has the lower loss: 0 or 1
    iterations: jax.Array
    stuck: jax.Array
    done: jax.Array


Evaluate: TypeAlias = Callable[[jax.Array], Point]


def cubic_minimum(a: Point, b: Point, low: jax.Array, high: jax.Array) -> jax.Array:
    """Return where the cubic through two points and their slopes is least, clipped to [low, high].

    The middle of the bounds where the cubic has no minimum.
    """
    d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    d2 = jnp.sqrt(jnp.where(square >= 0.0, square, 0.0))
    right = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2))
    left = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2.0 * d2))
    place = jnp.where(a.t <= b.t, right, left)
    return jnp.where(square >= 0.0, jnp.minimum(jnp.maximum(place, low), high), (low + high) / 2.0)


def _pick(ends: Point, index: jax.Array | int) -> Point:
    return jax.tree.map(lambda values: values[index], ends)


def _put(ends: Point, index: jax.Array, point: Point) -> Point:
    return jax.tree.map(lambda values, value: values.at[index].set(value), ends, point)


def _where(condition: jax.Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def strong_wolfe(
    evaluate: Evaluate, start: Point, t: jax.Array, widest: jax.Array, tolerance: float, most: jax.Array
) -> tuple[Point, jax.Array]:
    """Search along a line for a point with enough less loss and a flatter slope.

    Args:
        evaluate: distance → `Point`.
        start: the point at distance 0.
        t: first distance to try.
        widest: largest magnitude of the direction.
        tolerance: give up when the bracket is this small.
        most: largest number of iterations.

    Returns:
        The best point found, and the number of evaluations.

    Source: Nocedal and Wright, Numerical Optimization, algorithms 3.5 and 3.6, in the form that PyTorch has.
    """

    def too_high(new: Point) -> jax.Array:
        return new.loss > start.loss + ARMIJO * new.t * start.slope

    def flat(new: Point) -> jax.Array:
        return jnp.abs(new.slope) <= -CURVATURE * start.slope

    def bracketed(s: _Bracketing) -> jax.Array:
        return too_high(s.new) | ((s.iterations > 1) & (s.new.loss >= s.before.loss))

    def go_on(s: _Bracketing) -> jax.Array:
        return (s.iterations < most) & ~(bracketed(s) | flat(s.new) | (s.new.slope >= 0.0))

    def further(s: _Bracketing) -> _Bracketing:
        nearest, farthest = s.new.t + 0.01 * (s.new.t - s.before.t), s.new.t * 10.0
        return _Bracketing(s.new, evaluate(cubic_minimum(s.before, s.new, nearest, farthest)), s.iterations + 1)

    zero = jnp.zeros((), jnp.int32)
    found = jax.lax.while_loop(go_on, further, _Bracketing(start, evaluate(t), zero))
    exhausted = found.iterations >= most
    done = ~exhausted & ~bracketed(found) & flat(found.new)
    first = _where(done, found.new, _where(exhausted, start, found.before))
    ends = jax.tree.map(lambda a, b: jnp.stack([a, b]), first, found.new)
    low = jnp.where(ends.loss[0] <= ends.loss[1], 0, 1)
    state = _Zooming(ends, low, found.iterations, jnp.zeros((), bool), done)

    def open_(s: _Zooming) -> jax.Array:
        small = jnp.abs(s.ends.t[1] - s.ends.t[0]) * widest < tolerance
        return ~s.done & (s.iterations < most) & ~small

    def zoom(s: _Zooming) -> _Zooming:
        t, stuck = _trial(s.ends, s.stuck)
        new = evaluate(t)
        best, high = _pick(s.ends, s.low), 1 - s.low
        worse = too_high(new) | (new.loss >= best.loss)
        over = _put(s.ends, high, new)
        turned = ~flat(new) & (new.slope * (s.ends.t[high] - best.t) >= 0.0)
        under = _put(_where(turned, _put(s.ends, high, best), s.ends), s.low, new)
        low = jnp.where(worse, jnp.where(over.loss[0] <= over.loss[1], 0, 1), s.low)
        return _Zooming(_where(worse, over, under), low, s.iterations + 1, stuck, ~worse & flat(new))

    state = jax.lax.while_loop(open_, zoom, state)
    return _pick(state.ends, state.low), state.iterations + 1


def _trial(ends: Point, stuck: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the next distance to try, and whether it is again close to an end of the bracket."""
    least, most = jnp.min(ends.t), jnp.max(ends.t)
    t = cubic_minimum(_pick(ends, 0), _pick(ends, 1), least, most)
    margin = 0.1 * (most - least)
    close = jnp.minimum(most - t, t - least) < margin
    moved = close & (stuck | (t >= most) | (t <= least))
    inside = jnp.where(jnp.abs(t - most) < jnp.abs(t - least), most - margin, least + margin)
    return jnp.where(moved, inside, t), close & ~moved
