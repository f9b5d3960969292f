"""What the optimisers share: checks, the learning rate as an array, weight decay."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax


def non_negative(owner: str, name: str, value: float) -> float:
    """Return `value` if it is a number ≥ 0.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0.0:
        raise ValueError(f"{owner}: {name} must be a number >= 0, got {value!r}")
    return float(value)


def learning_rate(owner: str, lr: float | jax.Array) -> float | jax.Array:
    """Return `lr` if it is a number ≥ 0 or an array.

    Raises:
        ValueError: it is negative, or not a number.
    """
    return lr if isinstance(lr, jax.Array) else non_negative(owner, "lr", lr)


def rate_array(rate: float | jax.Array) -> jax.Array:
    """Return a learning rate as a new array, so that it can be changed in the state without a new compilation.

    New for every state: a step that donates its state deletes the state's arrays, and the optimiser may be used again.
    """
    return jnp.array(rate, None if isinstance(rate, jax.Array) else jnp.result_type(float))


def zeros_like(params: optax.Params) -> Any:
    """Return zeros in the shape of `params`."""
    return jax.tree.map(jnp.zeros_like, params)


def prepare_gradients(
    owner: str, grads: optax.Updates, params: optax.Params | None, weight_decay: float, maximize: bool
) -> optax.Updates:
    """Return ±g + weight_decay · p: the coupled weight decay of PyTorch's SGD and Adam.

    Raises:
        ValueError: weight decay was asked for and `params` is None.
    """
    if maximize:
        grads = jax.tree.map(jnp.negative, grads)
    if weight_decay == 0.0:
        return grads
    if params is None:
        raise ValueError(f"{owner}: weight_decay={weight_decay} needs update(grads, state, params), got params=None")
    return jax.tree.map(lambda g, p: g + weight_decay * p, grads, params)
