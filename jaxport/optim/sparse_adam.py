"""SparseAdam, as torch.optim.SparseAdam for gradients that are arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .arguments import Rate, learning_rate, positive, two_betas
from .base import (
    Optimizer,
    as_scalar,
    bias_correction,
    first_step,
    map_leaves,
    optimizer,
    prepare_gradients,
    rate_array,
    refuse_complex,
    zeros_like,
)
from .hyper import Constant, Momentum


class SparseAdamState(NamedTuple):
    """State of `SparseAdam`, in PyTorch's names; `momentum` is β₁."""

    lr: jax.Array
    step: jax.Array
    exp_avg: Any
    exp_avg_sq: Any
    momentum: Constant | Momentum


def SparseAdam(
    lr: Rate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    maximize: bool = False,
) -> Optimizer:
    """Adam that leaves rows without a gradient as they are: for embeddings.

    In the rows that have a gradient g (negated by `maximize`):
    m ← m + (1 - β₁) (g - m);  v ← v + (1 - β₂) (g² - v);  p ← p - lr · √(1 - β₂ᵗ)/(1 - β₁ᵗ) · m / (√v + ε).

    PyTorch takes the rows from a sparse gradient (``nn.Embedding(sparse=True)``) and refuses a dense one. JAX has dense
    gradients here: a row of the first axis whose gradient is zero throughout counts as absent. That is PyTorch's step,
    except for a row that was looked up and got a gradient of exactly zero: PyTorch's moments decay there, ours do not.

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it compiles nothing again; > 0.
        betas: β₁ and β₂, each in [0, 1); `set_momentum` changes β₁ in the state.
        eps: ε, more than 0, added to √v before the bias correction.
        maximize: climb instead of descend.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: lr or eps not above 0, a beta outside [0, 1), or complex parameters.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.SparseAdam.html
    """
    options = dict(locals())
    rate, eps = learning_rate("SparseAdam", lr), positive("SparseAdam", "eps", eps)
    if not isinstance(rate, jax.Array):
        positive("SparseAdam", "lr", rate)
    beta1, beta2 = two_betas("SparseAdam", betas)

    def init(params: optax.Params) -> SparseAdamState:
        refuse_complex("SparseAdam", params)
        return SparseAdamState(rate_array(rate), first_step(), zeros_like(params), zeros_like(params), Constant(beta1))

    def update(
        updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, SparseAdamState]:
        grads = prepare_gradients("SparseAdam", updates, params, 0.0, maximize)
        step, beta, lr = state.step + 1, state.momentum, state.lr
        root = jnp.sqrt(bias_correction(beta2, step)).astype(lr.dtype)
        size = lr * root / bias_correction(beta, step).astype(lr.dtype)

        def rule(g: jax.Array, p: Any, m: jax.Array, v: jax.Array) -> tuple[Any, ...]:
            present = jnp.any(g != 0.0, axis=tuple(range(1, g.ndim)), keepdims=True)
            m = jnp.where(present, m + as_scalar(beta.complement, g) * (g - m), m)
            v = jnp.where(present, v + (1.0 - beta2) * (g * g - v), v)
            delta = -as_scalar(size, g) * (m / (jnp.sqrt(v) + eps))
            return jnp.where(present, delta, jnp.zeros_like(g)), m, v

        steps, exp_avg, exp_avg_sq = map_leaves(rule, grads, params, state.exp_avg, state.exp_avg_sq)
        return steps, SparseAdamState(lr, step, exp_avg, exp_avg_sq, beta)

    return optimizer("SparseAdam", options, init, update)
