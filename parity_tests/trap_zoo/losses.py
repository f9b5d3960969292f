"""Traps of losses: 24 to 27. A loss is compared as a model of prediction and target."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch import nn

from jaxport.parity.foreign import Function

from .entry import Compared, normal, trap

ONCE = {"gradients": False, "modes": ("eval",)}


def _loss(ours: Any, theirs: nn.Module, prediction: np.ndarray, target: np.ndarray) -> Compared:
    function = Function(lambda params, x, y: ours(x, y), {})
    return Compared(function, theirs, (prediction, target), options=ONCE)


def _nll(x: Any, y: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(x, y)


LABELS = np.array([0, 3, 1, 2, 3, 3])


@trap(24, "output", "", "cause/weighted-mean", "lint/cross-entropy")
def weighted_mean_over_the_batch() -> Compared:
    weight = np.array([0.2, 1.5, 0.7, 2.0], np.float32)
    ours = lambda x, y: (jnp.asarray(weight, x.dtype)[y] * _nll(x, y)).mean()  # noqa: E731
    return _loss(ours, nn.CrossEntropyLoss(torch.from_numpy(weight)), normal(6, 4), LABELS)


@trap(24, "output", "", "cause/ignore-index")
def ignored_labels_are_counted() -> Compared:
    labels = np.where(LABELS == 1, -100, LABELS)
    ours = lambda x, y: jnp.where(y == -100, 0.0, _nll(x, jnp.maximum(y, 0))).mean()  # noqa: E731
    return _loss(ours, nn.CrossEntropyLoss(), normal(6, 4), labels)


@trap(24, "output", "", "cause/label-smoothing", "lint/cross-entropy")
def labels_are_not_smoothed() -> Compared:
    return _loss(lambda x, y: _nll(x, y).mean(), nn.CrossEntropyLoss(label_smoothing=0.1), normal(6, 4), LABELS)


@trap(25, "output", "", "cause/half-square", "lint/half-square")
def half_of_the_square() -> Compared:
    return _loss(lambda x, y: optax.l2_loss(x, y).mean(), nn.MSELoss(), normal(6, 4), normal(6, 4, seed=2))


@trap(26, "output", "", "cause/log-clamp", "lint/log-clamp")
def logarithm_of_zero() -> Compared:
    rng = np.random.default_rng(0)
    p, y = rng.uniform(0.1, 0.9, (6, 4)).astype(np.float32), rng.integers(0, 2, (6, 4)).astype(np.float32)
    p[0, 0], y[0, 0] = 0.0, 1.0
    ours = lambda p, y: -jnp.where(y == 1.0, jnp.log(p), jnp.log1p(-p)).mean()  # noqa: E731
    return _loss(ours, nn.BCELoss(), p, y)


@trap(27, "output", "", "cause/kl-reduction", "lint/loss-reduction")
def divergence_over_the_batch_only() -> Compared:
    rng = np.random.default_rng(0)
    x, y = (np.log(v / v.sum(1, keepdims=True)).astype(np.float32) for v in rng.uniform(0.1, 1.0, (2, 6, 4)))
    return _loss(lambda x, y: optax.kl_divergence(x, y).mean(), nn.KLDivLoss(), x, np.exp(y))


@trap(27, "output", "", "cause/huber", "lint/loss-reduction")
def huber_for_smooth_l1() -> Compared:
    ours = lambda x, y: optax.huber_loss(x, y, delta=0.3).mean()  # noqa: E731
    return _loss(ours, nn.SmoothL1Loss(beta=0.3), normal(6, 4), normal(6, 4, seed=2))
