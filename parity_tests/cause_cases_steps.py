"""More cases for the cause finder: losses and training steps."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from cause_cases import arrays, case, jax64, pt
from torch import nn

from jaxport.parity.causes import Case
from jaxport.parity.layer import Layer


def loss(module: nn.Module, x: np.ndarray, y: np.ndarray, ours: Any) -> Case:
    module.double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # KLDivLoss warns of its default
        theirs = module(pt(x), pt(y)).detach().numpy()
    described = Layer("", f"torch.nn.{type(module).__name__}", {}, {}, module)
    return Case("loss", jax64(ours, x, y), theirs, None, described, input=x, target=y)


def _nll(x: Any, y: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(x, y)


def _labels(rng: Any) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(6, 4)), np.array([0, 3, 1, 2, 3, 3])


@case("cause/weighted-mean")
def weighted_mean(rng: Any) -> Case:
    x, y = _labels(rng)
    weight = np.array([0.2, 1.5, 0.7, 2.0])
    return loss(nn.CrossEntropyLoss(pt(weight)), x, y, lambda x, y: (jnp.asarray(weight)[y] * _nll(x, y)).mean())


@case("cause/ignore-index")
def ignored_labels_are_counted(rng: Any) -> Case:
    x, y = _labels(rng)
    y[2] = y[4] = -100
    ours = lambda x, y: jnp.where(y == -100, 0.0, _nll(x, jnp.where(y < 0, 0, y))).mean()  # noqa: E731
    return loss(nn.CrossEntropyLoss(), x, y, ours)


@case("cause/label-smoothing")
def labels_are_not_smoothed(rng: Any) -> Case:
    return loss(nn.CrossEntropyLoss(label_smoothing=0.1), *_labels(rng), lambda x, y: _nll(x, y).mean())


@case("cause/half-square")
def half_of_the_square(rng: Any) -> Case:
    x, y = rng.normal(size=(2, 6, 4))
    return loss(nn.MSELoss(), x, y, lambda x, y: optax.l2_loss(x, y).mean())


@case("cause/half-square")
def half_is_seen_without_the_prediction(rng: Any) -> Case:
    return Case("loss", np.array(0.35), np.array(0.7))


@case("cause/log-clamp")
def logarithm_of_zero(rng: Any) -> Case:
    x, y = rng.random((6, 4)), rng.integers(0, 2, (6, 4)).astype(np.float64)
    x[0, 0], y[0, 0] = 0.0, 1.0
    ours = lambda p, y: -jnp.where(y == 1, jnp.log(p), jnp.log1p(-p)).mean()  # noqa: E731
    return loss(nn.BCELoss(), x, y, ours)


@case("cause/kl-reduction")
def mean_over_the_batch_only(rng: Any) -> Case:
    x, y = (np.log(v / v.sum(1, keepdims=True)) for v in rng.random((2, 6, 4)))
    ours = lambda x, y: optax.kl_divergence(x, y).mean()  # noqa: E731
    return loss(nn.KLDivLoss(), x, np.exp(y), ours)


@case("cause/huber")
def huber_for_smooth_l1(rng: Any) -> Case:
    x, y = rng.normal(size=(2, 6, 4))
    return loss(nn.SmoothL1Loss(beta=0.3), x, y, lambda x, y: optax.huber_loss(x, y, delta=0.3).mean())


def step(theirs: Any, ours: Any, rng: Any, steps: int = 1, weight: Any = None, **settings: Any) -> Case:
    """Make the case of a parameter after the last of some steps, both sides having PyTorch's state before it."""
    p = torch.nn.Parameter(pt(rng.normal(size=(3, 5)) if weight is None else weight))
    optimizer = theirs([p])
    q, transform = p.detach().numpy().copy(), ours
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # optax counts steps in int32
        state = transform.init(jnp.asarray(q))
        for _ in range(steps):
            gradient = rng.normal(size=p.shape)
            before = p.detach().numpy().copy()
            own = {k: v.numpy().copy() for k, v in optimizer.state[p].items() if isinstance(v, torch.Tensor)}
            p.grad = pt(gradient)
            optimizer.step()
            updates, state = transform.update(jnp.asarray(gradient), state, jnp.asarray(before))
            q = np.asarray(jnp.asarray(before) + updates)
    name = type(optimizer).__name__
    told = {"name": name} | {k: v for k, v in optimizer.defaults.items() if k != "lr"}
    rate = optimizer.defaults["lr"]
    given = {"previous": before, "gradient": gradient, "state": own, "optimizer": told, "learning_rate": rate}
    return Case("parameter", q, p.detach().numpy(), name="weight", step=steps, **given)


@case("cause/adam-eps")
def adam_eps_inside_the_root(rng: Any) -> Case:
    ours = optax.adam(1e-2, eps=0.0, eps_root=1e-3)
    return step(lambda p: torch.optim.Adam(p, 1e-2, eps=1e-3), ours, rng, 3)


@case("cause/bias-correction")
def moments_are_not_corrected(rng: Any) -> Case:
    raw = optax.GradientTransformation(
        lambda p: (),
        lambda g, s, p: (-1e-2 * 0.1 * g / (jnp.sqrt(1e-3 * g * g) + 1e-8), s),
    )
    return step(lambda p: torch.optim.Adam(p, 1e-2), raw, rng)


@case("cause/weight-decay")
def adamw_for_adam(rng: Any) -> Case:
    return step(lambda p: torch.optim.Adam(p, 1e-2, weight_decay=0.1), optax.adamw(1e-2, weight_decay=0.1), rng)


@case("cause/weight-decay")
def adam_for_adamw(rng: Any) -> Case:
    return step(lambda p: torch.optim.AdamW(p, 1e-2), optax.adam(1e-2), rng, 2)


@case("cause/nesterov")
def nesterov(rng: Any) -> Case:
    return step(lambda p: torch.optim.SGD(p, 0.1, 0.9), optax.sgd(0.1, 0.9, nesterov=True), rng, 3)


@case("cause/dampening")
def momentum_as_an_average(rng: Any) -> Case:
    ours = optax.chain(optax.ema(0.9, debias=False), optax.scale(-0.1))
    return step(lambda p: torch.optim.SGD(p, 0.1, 0.9), ours, rng, 1)


@case("cause/learning-rate")
def another_rate(rng: Any) -> Case:
    return step(lambda p: torch.optim.SGD(p, 0.1), optax.sgd(0.02), rng)


@case("cause/ascent")
def uphill(rng: Any) -> Case:
    return step(lambda p: torch.optim.SGD(p, 0.1), optax.sgd(-0.1), rng)


@case("cause/no-update")
def nothing_moves(rng: Any) -> Case:
    return step(lambda p: torch.optim.SGD(p, 0.1), optax.set_to_zero(), rng)


@case("cause/zero-gradient")
def adam_of_noise(rng: Any) -> Case:
    previous, noise = rng.normal(size=5), 1e-16 * rng.normal(size=(2, 5))
    ours, theirs = (previous - 1e-3 * g / (np.abs(g) + 1e-16) for g in noise)
    told = {"name": "Adam", "eps": 1e-16}
    given = {"previous": previous, "gradient": noise[1], "optimizer": told, "learning_rate": 1e-3}
    return Case("parameter", ours, theirs, name="bias", step=1, **given)


@case("cause/rnn-bias")
def one_bias_moves_once(rng: Any) -> Case:
    lstm = nn.LSTM(3, 2)
    previous, gradient = rng.normal(size=(2, 8))
    described = Layer("rnn", "torch.nn.LSTM", {}, arrays(lstm), lstm)
    ours, theirs = previous - 0.1 * gradient, previous - 0.2 * gradient
    return Case("parameter", ours, theirs, None, described, "bias_ih_l0", previous=previous, step=1)


@case("cause/clip-norm")
def clipped_by_the_bare_norm(rng: Any) -> Case:
    previous, gradient = rng.normal(size=5), 1e-3 * rng.normal(size=5)
    norm = float(np.linalg.norm(gradient))
    ours, theirs = previous - gradient / norm, previous - gradient / (norm + 1e-6)
    given = {"previous": previous, "gradient": gradient, "gradients_norm": norm, "learning_rate": 1.0}
    return Case("parameter", ours, theirs, name="bias", step=1, **given)
