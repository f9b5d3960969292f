"""train: both models trained by their users' own steps, compared after each."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from jaxport import parity
from jaxport.errors import UsageError
from jaxport.parity.result import Report

RNG = np.random.default_rng(0)
BATCHES = [(RNG.normal(size=(6, 3)) + 0.3, RNG.normal(size=(6, 2))) for _ in range(3)]


class Torch(torch.nn.Module):
    """Two Linears and a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)
        self.dropout = torch.nn.Dropout(0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.dropout(torch.tanh(self.first(x))))


class Jax(nnx.Module):
    """The same in plain Flax."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.first, self.last = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)
        self.drop = nnx.Dropout(0.25, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last(self.drop(jnp.tanh(self.first(x))))


class Linen(flax.linen.Module):
    """And in Linen."""

    @flax.linen.compact
    def __call__(self, x: jax.Array, train: bool = True) -> jax.Array:
        x = jnp.tanh(flax.linen.Dense(4, name="first")(x))
        x = flax.linen.Dropout(0.25)(x, deterministic=not train)
        return flax.linen.Dense(2, name="last")(x)


def torch_step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def _step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    loss, grads = nnx.value_and_grad(lambda model: ((model(x) - y) ** 2).mean())(model)
    optimizer.update(model, grads)
    return loss


jax_step = nnx.jit(_step)


def trained(step: Any = jax_step, optimizer: Any = None, reference: Any = None, **options: Any) -> Report:
    torch.manual_seed(0)
    return parity.train(
        step,
        options.pop("torch_step", torch_step),
        options.pop("batches", BATCHES),
        jax_model=options.pop("model", None) or Jax(),
        torch_model=Torch(),
        jax_optimizer=optimizer or optax.adam(1e-2),
        torch_optimizer=reference or partial(torch.optim.Adam, lr=1e-2),
        **options,
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (optax.adam(1e-2), partial(torch.optim.Adam, lr=1e-2)),
        (optax.sgd(0.1, momentum=0.9, nesterov=True), partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True)),
        (optax.adamw(1e-2, weight_decay=0.1), partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1)),
    ],
    ids=["adam", "nesterov", "adamw"],
)
def test_the_same_training(ours: Any, theirs: Any) -> None:
    report = trained(jax_step, ours, theirs)
    assert report.ok, [step for step in report.steps if not step.ok]
    seen = {(step.number, step.mode, step.kind) for step in report.steps}
    kinds = ("loss", "gradient", "parameter", "optimizer")
    assert seen == {(n, mode, kind) for n in (1, 2, 3) for mode in ("free", "resync", "float32") for kind in kinds}
    losses = [step for step in report.steps if step.kind == "loss" and step.mode == "free"]
    assert len({step.torch_loss for step in losses}) == 3
    assert all(step.jax_loss == pytest.approx(step.torch_loss, rel=1e-9) for step in losses)


@pytest.mark.parametrize(
    "transform", [optax.adam(1e-2), parity.recording(optax.adam(1e-2))], ids=["plain", "recording"]
)
def test_linen_with_a_functional_step(transform: Any) -> None:
    net = Linen()
    variables = net.init(jax.random.key(0), jnp.zeros((6, 3)), train=False)

    def step(params: Any, opt_state: Any, x: Any, y: Any) -> Any:
        def loss_of(trained: Any) -> Any:
            out = net.apply({"params": trained}, x, rngs={"dropout": jax.random.key(1)})
            return ((out - y) ** 2).mean()

        loss, grads = jax.value_and_grad(loss_of)(params["params"])
        updates, opt_state = transform.update(grads, opt_state, params["params"])
        return {"params": optax.apply_updates(params["params"], updates)}, opt_state, loss

    report = trained(jax.jit(step), transform, model=parity.Linen(net, variables))
    assert report.ok, [step for step in report.steps if not step.ok]
    # What is inside a step is seen where the optimiser records it; otherwise that is said.
    recorded = any(step.kind == "gradient" for step in report.steps)
    assert recorded != any(finding.rule == "train/gradients" for finding in report.findings)


def test_weight_decay_that_is_coupled_on_one_side() -> None:
    report = trained(
        jax_step, optax.adamw(1e-2, weight_decay=0.1), partial(torch.optim.Adam, lr=1e-2, weight_decay=0.1)
    )
    assert not report.ok
    first = next(step for step in report.steps if not step.ok and step.mode == "resync")
    # Adam's weight decay is part of the gradient that its moments see; the gradient itself agrees.
    assert (first.number, first.kind) == (1, "parameter")
    gradients = [step for step in report.steps if step.kind == "gradient" and step.mode == "resync"]
    assert all(step.ok for step in gradients)


def test_a_mistake_of_the_second_step_is_found_there() -> None:
    """The step count stays at zero: bias corrections are wrong from the second step on."""

    def stuck(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss = _step(model, optimizer, x, y)
        state = jax.tree.map(lambda leaf: leaf * 0 if leaf.dtype == jnp.int32 else leaf, nnx.state(optimizer))
        nnx.update(optimizer, state)
        return loss

    report = trained(nnx.jit(stuck))
    wrong = [step for step in report.steps if not step.ok and step.mode == "free"]
    assert wrong
    assert min(step.number for step in wrong) == 2


def test_training_that_does_nothing() -> None:
    report = trained(jax.jit(_step))  # a module passed through jax.jit is a copy
    assert not report.ok
    (finding,) = (finding for finding in report.findings if finding.rule == "train/no-op")
    assert (finding.level, finding.trap) == ("error", 32)


def test_gradients_that_are_not_cleared() -> None:
    def accumulating(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    report = trained(torch_step=accumulating)
    wrong = {(step.number, step.kind) for step in report.steps if not step.ok and step.mode == "free"}
    assert (2, "gradient") in wrong
    assert not any(number == 1 for number, _ in wrong)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(UsageError, match="batches: at least one"):
        trained(batches=[])
    with pytest.raises(UsageError, match="jax_step: it must return the loss"):
        trained(lambda model, optimizer, x, y: model(x))
