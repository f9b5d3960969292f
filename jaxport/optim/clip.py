"""Gradient clipping as optax transformations, to stand in front of an optimiser in ``optax.chain``."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxport.nn.utils import clip_grad_norm_, clip_grad_value_


class ClipState(NamedTuple):
    """State of `clip_grad_norm`: the norm of the last gradients before they were clipped."""

    total_norm: jax.Array


def clip_grad_norm(max_norm: float, norm_type: float = 2.0) -> optax.GradientTransformation:
    """Scale the gradients so that their norm over all arrays is at most `max_norm`, by PyTorch's rule.

    g ← g · min(max_norm / (‖g‖ + 1e-6), 1)

    ``optax.chain(clip_grad_norm(1.0), SGD(lr=0.1))`` is PyTorch's ``clip_grad_norm_(parameters, 1.0)`` before
    ``optimizer.step()``. ``optax.clip_by_global_norm`` has no 1e-6.

    Args:
        max_norm: largest norm.
        norm_type: p of the norm; see `jaxport.nn.utils.get_total_norm`.

    Returns:
        A transformation; ``state.total_norm`` is the last norm before clipping.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html
    """

    def init(params: optax.Params) -> ClipState:
        del params
        return ClipState(jnp.zeros(()))

    def update(updates: optax.Updates, state: Any, params: optax.Params | None = None) -> tuple[Any, ClipState]:
        del params
        updates, norm = clip_grad_norm_(updates, max_norm, norm_type)
        return updates, ClipState(norm.astype(state.total_norm.dtype))

    return optax.GradientTransformation(init, update)


def clip_grad_value(clip_value: float) -> optax.GradientTransformation:
    """Clip every entry of the gradients to [-clip_value, clip_value].

    Args:
        clip_value: largest magnitude.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html
    """
    return optax.stateless(lambda updates, params: clip_grad_value_(updates, clip_value))
