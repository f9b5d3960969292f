"""L-BFGS, exactly as torch.optim.LBFGS: a whole optimisation in one update, under `jax.jit` as a `lax.while_loop`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from .arguments import Rate, learning_rate, number
from .base import Optimizer, first_step, needs_params, optimizer, rate_array, refuse_complex
from .line_search import Point, strong_wolfe

CURVATURE_LIMIT = 1e-10
"""A pair of steps enters the history where y·s is above this."""


class LBFGSState(NamedTuple):
    """State of `LBFGS`, in PyTorch's names; n numbers in the parameters, flattened in the order of the pytree.

    `old_dirs` (history_size, n) holds the gradients' differences y and `old_stps` the steps s, `ro` 1/(y·s): the first
    `stored` rows after `oldest`, in a ring.
    """

    lr: jax.Array
    step: jax.Array
    func_evals: jax.Array
    n_iter: jax.Array
    d: jax.Array
    t: jax.Array
    old_dirs: jax.Array
    old_stps: jax.Array
    ro: jax.Array
    H_diag: jax.Array
    prev_flat_grad: jax.Array
    prev_loss: jax.Array
    stored: jax.Array
    oldest: jax.Array


class _Loop(NamedTuple):
    state: LBFGSState
    x: jax.Array
    loss: jax.Array
    grad: jax.Array
    iterations: jax.Array
    evaluations: jax.Array
    stop: jax.Array


def LBFGS(
    lr: Rate = 1.0,
    max_iter: int = 20,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    history_size: int = 100,
    line_search_fn: str | None = None,
) -> Optimizer:
    """L-BFGS (Liu and Nocedal 1989): each update runs up to `max_iter` iterations on the same data.

    ``update(grads, state, params, value=loss, value_fn=f)`` with f(params) → loss takes the place of
    ``optimizer.step(closure)``; `grads` and `value` are f's at `params` (PyTorch's closure is called for them), as in
    ``optax.lbfgs``. Without `value` both are computed. Arguments of f beyond the first are given by name to `update`.

    Args:
        lr: step length (without line search), first trial of the line search; an array in the state (``state.lr``).
        max_iter: iterations in one update.
        max_eval: evaluations of f in one update; None for 1.25 · max_iter.
        tolerance_grad: end when no element of the gradient is larger.
        tolerance_change: end when the loss or the parameters change by less.
        history_size: pairs kept; the state has 2 · history_size copies of the parameters.
        line_search_fn: None for steps of length lr, or "strong_wolfe".

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative lr, another line search, or an update without `value_fn`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.LBFGS.html
    """
    options = dict(locals())
    rate = learning_rate("LBFGS", lr)
    limit = max_iter * 5 // 4 if max_eval is None else max_eval
    for name in ("tolerance_grad", "tolerance_change"):
        number("LBFGS", name, options[name])
    if line_search_fn not in (None, "strong_wolfe"):
        raise ValueError(f"LBFGS: line_search_fn must be None or 'strong_wolfe', got {line_search_fn!r}")

    def init(params: optax.Params) -> LBFGSState:
        refuse_complex("LBFGS", params)
        flat = jnp.zeros_like(ravel_pytree(params)[0])
        rows, scalar, count = jnp.zeros((history_size, *flat.shape), flat.dtype), jnp.zeros((), flat.dtype), first_step
        pairs = rows, jnp.copy(rows), jnp.zeros(history_size, flat.dtype), scalar + 1
        numbers = jnp.copy(flat), jnp.copy(scalar), count(), count()
        return LBFGSState(rate_array(rate), count(), count(), count(), flat, scalar, *pairs, *numbers)

    def iterate(loop: _Loop, evaluate: Callable[[jax.Array], tuple[jax.Array, jax.Array]]) -> _Loop:
        """Take one iteration: direction from the history, then a step along it unless it leads nowhere."""
        state = _remember(loop.state, loop.grad)
        n_iter = state.n_iter + 1
        d = _direction(state, loop.grad)
        rate = state.lr.astype(d.dtype)
        t = jnp.where(n_iter == 1, jnp.minimum(1.0, 1.0 / jnp.sum(jnp.abs(loop.grad))) * rate, rate)
        state = state._replace(n_iter=n_iter, d=d, t=t, prev_flat_grad=loop.grad, prev_loss=loop.loss)
        loop = loop._replace(state=state, iterations=loop.iterations + 1)
        slope = jnp.dot(loop.grad, d)
        return jax.lax.cond(
            slope > -tolerance_change,
            lambda loop: loop._replace(stop=jnp.ones((), bool)),
            lambda loop: move(loop, Point(jnp.zeros_like(t), loop.loss, loop.grad, slope), evaluate),
            loop,
        )

    def move(loop: _Loop, start: Point, evaluate: Callable[[jax.Array], tuple[jax.Array, jax.Array]]) -> _Loop:
        d, t = loop.state.d, loop.state.t
        last = loop.iterations == max_iter

        def at(t: jax.Array) -> Point:
            loss, grad = evaluate(loop.x + t * d)
            return Point(t, loss, grad, jnp.dot(grad, d))

        if line_search_fn is None:
            new = jax.lax.cond(last, lambda: start._replace(t=t), lambda: at(t))
            count = jnp.where(last, 0, 1)
        else:
            widest = jnp.max(jnp.abs(d))
            new, count = strong_wolfe(at, start, t, widest, 1e-9, limit - loop.evaluations)
        evaluations = loop.evaluations + count
        stop = (
            last
            | (evaluations >= limit)
            | (jnp.max(jnp.abs(new.grad)) <= tolerance_grad)
            | (jnp.max(jnp.abs(d * new.t)) <= tolerance_change)
            | (jnp.abs(new.loss - loop.state.prev_loss) < tolerance_change)
        )
        state = loop.state._replace(t=new.t, func_evals=loop.state.func_evals + count)
        return _Loop(state, loop.x + new.t * d, new.loss, new.grad, loop.iterations, evaluations, stop)

    def update(
        updates: optax.Updates,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        value_fn: Callable[..., jax.Array] | None = None,
        **extra_args: Any,
    ) -> tuple[Any, LBFGSState]:
        needs_params("LBFGS", params)
        if value_fn is None:
            raise ValueError("LBFGS: needs update(grads, state, params, value=loss, value_fn=f), got value_fn=None")
        x, unravel = ravel_pytree(params)
        evaluate = _evaluation(value_fn, unravel, x.dtype, extra_args)
        loss, grad = evaluate(x) if value is None else (jnp.asarray(value).astype(x.dtype), ravel_pytree(updates)[0])
        state = state._replace(step=state.step + 1, func_evals=state.func_evals + 1)
        stop = (jnp.max(jnp.abs(grad)) <= tolerance_grad) | (max_iter <= 0)
        zero = jnp.zeros((), jnp.int32)
        loop = jax.lax.while_loop(
            lambda loop: ~loop.stop,
            lambda loop: iterate(loop, evaluate),
            _Loop(state, x, loss, grad, zero, zero + 1, stop),
        )
        return jax.tree.map(lambda new, p: new - p, unravel(loop.x), params), loop.state

    return optimizer("LBFGS", options, init, update)


def _evaluation(
    value_fn: Callable[..., jax.Array], unravel: Callable[[jax.Array], Any], dtype: Any, extra_args: dict[str, Any]
) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """Return flat parameters → (loss, flat gradient); `value_fn` gets those extra arguments that it names."""
    wanted = set(inspect.signature(value_fn).parameters)
    given = {name: value for name, value in extra_args.items() if name in wanted}

    def evaluate(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        loss, grads = jax.value_and_grad(lambda params: value_fn(params, **given))(unravel(x))
        return loss.astype(dtype), ravel_pytree(grads)[0]

    return evaluate


def _remember(state: LBFGSState, grad: jax.Array) -> LBFGSState:
    """Put the last step into the history, if the loss curves upwards along it; there is none before the first."""
    y, s = grad - state.prev_flat_grad, state.d * state.t
    curvature = jnp.dot(y, s)
    size = state.ro.shape[0]
    accepted = (state.n_iter > 0) & (curvature > CURVATURE_LIMIT)
    full = state.stored == size
    place = (state.oldest + state.stored) % size

    def put(ring: jax.Array, row: jax.Array) -> jax.Array:
        return ring.at[place].set(jnp.where(accepted, row, ring[place]))

    return state._replace(
        old_dirs=put(state.old_dirs, y),
        old_stps=put(state.old_stps, s),
        ro=put(state.ro, 1.0 / curvature),
        H_diag=jnp.where(accepted, curvature / jnp.dot(y, y), state.H_diag),
        stored=jnp.where(accepted & ~full, state.stored + 1, state.stored),
        oldest=jnp.where(accepted & full, (state.oldest + 1) % size, state.oldest),
    )


def _direction(state: LBFGSState, grad: jax.Array) -> jax.Array:
    """Return -H g by the two loops over the history, with H = H_diag · 1 before it."""
    size = state.ro.shape[0]

    def place(i: jax.Array) -> jax.Array:
        return (state.oldest + i) % size

    def backward(j: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        q, alphas = carry
        i = place(state.stored - 1 - j)
        alpha = jnp.dot(state.old_stps[i], q) * state.ro[i]
        return q - alpha * state.old_dirs[i], alphas.at[i].set(alpha)

    def forward(j: jax.Array, r: jax.Array) -> jax.Array:
        i = place(j)
        beta = jnp.dot(state.old_dirs[i], r) * state.ro[i]
        return r + (alphas[i] - beta) * state.old_stps[i]

    q, alphas = jax.lax.fori_loop(0, state.stored, backward, (-grad, jnp.zeros_like(state.ro)))
    return jax.lax.fori_loop(0, state.stored, forward, q * state.H_diag)
