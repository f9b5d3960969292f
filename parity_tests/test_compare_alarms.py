"""Right ports that a careless comparison would call wrong."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from jaxport import parity
from jaxport.errors import UsageError

RNG = np.random.default_rng(0)


class TorchPictures(torch.nn.Module):
    """A dropout between a flatten and the Linear behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.drop = torch.nn.Conv2d(2, 3, 2), torch.nn.Linear(3 * 3 * 4, 5), torch.nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(torch.relu(self.conv(x)).flatten(1)))


class Pictures(nnx.Module):
    """The same with the channels last."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(2, 3, (2, 2), padding="VALID", rngs=rngs)
        self.fc, self.drop = nnx.Linear(3 * 3 * 4, 5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.conv(x))
        return self.fc(self.drop(x.reshape(x.shape[0], -1)))


def jax_step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    loss, grads = nnx.value_and_grad(lambda model: ((model(x) - y) ** 2).mean())(model)
    optimizer.update(model, grads)
    return loss


def torch_step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def trained(model: Any, reference: Any, shape: tuple[int, ...], steps: int) -> Any:
    torch.manual_seed(0)
    batches = [(RNG.normal(0.3, 1.0, shape), RNG.normal(size=(shape[0], 5))) for _ in range(steps)]
    return parity.train(
        nnx.jit(jax_step),
        torch_step,
        batches,
        jax_model=model,
        torch_model=reference,
        jax_optimizer=optax.adam(1e-2),
        torch_optimizer=partial(torch.optim.Adam, lr=1e-2),
        dtypes=("float64",),
    )


def test_a_dropout_of_what_was_flattened() -> None:
    x = RNG.normal(0.3, 1.0, (6, 2, 4, 5)).astype(np.float32)
    report = parity.compare(Pictures(), TorchPictures(), x, randomise=True, modes=("train",))
    assert report.settings["flatten"] == {"fc": [3, 3, 4]}
    assert report.ok, report.first_divergence
    steps = trained(Pictures(), TorchPictures(), (6, 2, 4, 5), 1)
    assert steps.ok, [step for step in steps.steps if not step.ok]


def test_elements_whose_gradient_is_zero() -> None:
    """The bias of attention's keys changes nothing: Adam makes steps of its rounding."""

    class Torch(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = torch.nn.MultiheadAttention(8, 2, batch_first=True)
            self.out = torch.nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.attn(x, x, x, need_weights=False)[0].mean(1))

    class Jax(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.attn = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
            self.out = nnx.Linear(8, 5, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.out(self.attn(x).mean(1))

    report = trained(Jax(), Torch(), (6, 7, 8), 2)
    assert report.ok, [step for step in report.steps if not step.ok]


@pytest.mark.parametrize("inside", [True, False], ids=["masked", "unmasked"])
def test_a_gradient_that_is_cut_behind_the_layer(inside: bool) -> None:
    class Torch(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.fc = torch.nn.Embedding(9, 4, padding_idx=0), torch.nn.Linear(4, 3)

        def forward(self, i: torch.Tensor) -> torch.Tensor:
            return self.fc(self.emb(i))

    class Jax(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.emb, self.fc = nnx.Embed(9, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, i: jax.Array) -> jax.Array:
            x = self.emb(i)
            return self.fc(jnp.where((i != 0)[..., None], x, jax.lax.stop_gradient(x)) if inside else x)

    report = parity.compare(Jax(), Torch(), RNG.integers(0, 9, (6, 7)), randomise=True)
    assert report.ok == inside
    if inside:
        (note,) = {t.note for t in report.of("activation_gradient") if not t.decides}
        assert "cut at another place" in note


def test_terms_that_cancel() -> None:
    """A bias in front of BatchNorm, behind a small residual: its gradient is a millionth of its terms."""

    class Torch(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inner, self.bn = torch.nn.Linear(3, 4), torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return self.bn(x + 1e-7 * torch.tanh(self.inner(x)))

    class Jax(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.first, self.inner = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 4, rngs=rngs)
            self.bn = nnx.BatchNorm(4, momentum=0.9, use_fast_variance=False, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            x = self.first(x)
            return self.bn(x + 1e-7 * jnp.tanh(self.inner(x)))

    x = RNG.normal(0.3, 1.0, (7, 3)).astype(np.float32)
    report = parity.compare(Jax(), Torch(), x, randomise=True, modes=("train",))
    assert {tensor.torch_path for tensor in report.tensors if not tensor.ok} == {"bn.running_var"}
    bias = next(tensor for tensor in report.of("gradient") if tensor.torch_path == "first.bias")
    assert bias.float64
    assert bias.float64.max_rel > 1e-10
    assert bias.note.startswith("terms cancel")


def test_a_guard_that_does_not_exist() -> None:
    x = RNG.normal(0.3, 1.0, (6, 2, 4, 5)).astype(np.float32)
    with pytest.raises(UsageError, match="allow: no guard is called 'guard/nonsense'"):
        parity.compare(Pictures(), TorchPictures(), x, allow=["guard/nonsense"])
