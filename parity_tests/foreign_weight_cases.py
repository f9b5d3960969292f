"""Single layers of Flax NNX, Flax Linen and Equinox, each with the PyTorch layer whose weights it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from jaxport.parity.foreign import Linen

Run = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One pair of layers.

    Attributes:
        name: for the test's id.
        jax: makes the JAX model.
        torch: makes the PyTorch module.
        shape: of the input, in PyTorch's axes; ints are indices below the number in `classes`.
        run: calls the JAX model with it, and returns its output in PyTorch's axes.
        run_torch: calls PyTorch's.
        classes: draw integers below it, if any.
        sums: whether a JAX leaf is a sum of two tensors, so that only the way from JAX and back is bit for bit.
    """

    name: str
    jax: Callable[[], Any]
    torch: Callable[[], torch.nn.Module]
    shape: tuple[int, ...]
    run: Run
    run_torch: Run = lambda module, x: module(x)
    classes: int = 0
    sums: bool = False

    @property
    def gradient(self) -> bool:
        """Whether gradients are compared too: those of most layers are moved as their weights are."""
        return self.sums or any(word in self.name for word in ("Attention", "groups", "ConvTranspose2d"))


def call(model: Any, *inputs: Any) -> Any:
    """Call any JAX model."""
    if isinstance(model, Linen):
        return model.module.apply(model.variables, *inputs, **model.evaluating)
    return model(*inputs)


def plain(model: Any, x: Any) -> Any:
    return call(model, x)


def last(model: Any, x: Any) -> Any:
    """Call a channels-last model."""
    return jnp.moveaxis(call(model, jnp.moveaxis(x, 1, -1)), -1, 1)


def each(model: Any, x: Any) -> Any:
    """Call an Equinox model on each example."""
    return jax.vmap(model)(x)


def key() -> Any:
    return jax.random.key(0)


def rngs() -> nnx.Rngs:
    return nnx.Rngs(0)


def linen(module: nn.Module, *shape: int, dtype: Any = jnp.float32, **evaluating: Any) -> Linen:
    return Linen(module, module.init(key(), jnp.zeros(shape, dtype), **evaluating), evaluating=evaluating)


QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Options of the compiler: in float64 rounding is far below what is judged."""
T = torch.nn
CASES: list[Case] = [
    Case("nnx.Linear", lambda: nnx.Linear(3, 5, rngs=rngs()), lambda: T.Linear(3, 5), (2, 3), plain),
    Case("nnx.Linear no bias", lambda: nnx.Linear(4, 4, use_bias=False, rngs=rngs()),
         lambda: T.Linear(4, 4, bias=False), (2, 4), plain),
    Case("nnx.Linear float32", lambda: nnx.Linear(3, 5, dtype=jnp.float32, rngs=rngs()), lambda: T.Linear(3, 5),
         (2, 3), plain),
    Case("nnx.LoRALinear", lambda: nnx.LoRALinear(3, 5, lora_rank=2, rngs=rngs()), lambda: LoRA(), (2, 3), plain),
    Case("nnx.LinearGeneral", lambda: nnx.LinearGeneral(6, (2, 4), rngs=rngs()), lambda: T.Linear(6, 8), (3, 6),
         lambda m, x: m(x).reshape(3, 8)),
    Case("nnx.LinearGeneral in", lambda: nnx.LinearGeneral((2, 3), 5, axis=(-2, -1), rngs=rngs()),
         lambda: T.Linear(6, 5), (4, 6), lambda m, x: m(x.reshape(4, 2, 3))),
    Case("nnx.Einsum", lambda: nnx.Einsum("nta,hab->nthb", (2, 3, 4), (2, 4), rngs=rngs()), lambda: T.Linear(3, 8),
         (2, 5, 3), lambda m, x: m(x).reshape(2, 5, 8)),
    Case("nnx.Conv 1d", lambda: nnx.Conv(3, 5, (4,), strides=2, padding=1, rngs=rngs()),
         lambda: T.Conv1d(3, 5, 4, stride=2, padding=1), (2, 3, 9), last),
    Case("nnx.Conv 2d groups", lambda: nnx.Conv(4, 6, (3, 2), padding=((1, 1), (0, 0)), feature_group_count=2,
                                                kernel_dilation=2, rngs=rngs()),
         lambda: T.Conv2d(4, 6, (3, 2), padding=(1, 0), groups=2, dilation=2), (2, 4, 7, 8), last),
    Case("nnx.Conv 3d", lambda: nnx.Conv(2, 3, (2, 3, 1), padding="VALID", use_bias=False, rngs=rngs()),
         lambda: T.Conv3d(2, 3, (2, 3, 1), bias=False), (2, 2, 4, 5, 3), last),
    Case("nnx.ConvTranspose 1d", lambda: nnx.ConvTranspose(3, 5, (4,), strides=2, padding="VALID", rngs=rngs()),
         lambda: T.ConvTranspose1d(3, 5, 4, stride=2), (2, 3, 5), last),
    Case("nnx.ConvTranspose 2d", lambda: nnx.ConvTranspose(3, 5, (3, 2), strides=(2, 1), padding="VALID", rngs=rngs()),
         lambda: T.ConvTranspose2d(3, 5, (3, 2), stride=(2, 1)), (2, 3, 5, 4), last),
    Case("nnx.ConvTranspose 2d transposed",
         lambda: nnx.ConvTranspose(3, 5, (3, 2), strides=2, padding="VALID", transpose_kernel=True, rngs=rngs()),
         lambda: T.ConvTranspose2d(3, 5, (3, 2), stride=2), (2, 3, 5, 4), last),
    Case("nnx.ConvTranspose 3d", lambda: nnx.ConvTranspose(2, 3, (1, 3, 2), padding="VALID", transpose_kernel=True,
                                                           rngs=rngs()),
         lambda: T.ConvTranspose3d(2, 3, (1, 3, 2)), (2, 2, 2, 3, 4), last),
    Case("nnx.BatchNorm", lambda: nnx.BatchNorm(5, epsilon=1e-5, use_running_average=True, rngs=rngs()),
         lambda: T.BatchNorm2d(5), (2, 5, 3, 4), last),
    Case("nnx.LayerNorm", lambda: nnx.LayerNorm(5, epsilon=1e-5, rngs=rngs()), lambda: T.LayerNorm(5), (2, 3, 5),
         plain),
    Case("linen.LayerNorm 2 axes",
         lambda: linen(nn.LayerNorm(1e-5, reduction_axes=(1, 2), feature_axes=(1, 2)), 2, 3, 5),
         lambda: T.LayerNorm((3, 5)), (2, 3, 5), plain),
    Case("nnx.RMSNorm", lambda: nnx.RMSNorm(5, epsilon=1e-5, rngs=rngs()), lambda: T.RMSNorm(5, eps=1e-5), (2, 3, 5),
         plain),
    Case("nnx.GroupNorm", lambda: nnx.GroupNorm(6, num_groups=3, epsilon=1e-5, rngs=rngs()), lambda: T.GroupNorm(3, 6),
         (2, 6, 3, 4), last),
    Case("nnx.InstanceNorm", lambda: nnx.InstanceNorm(5, epsilon=1e-5, rngs=rngs()),
         lambda: T.InstanceNorm2d(5, affine=True), (2, 5, 3, 4), last),
    Case("nnx.Embed", lambda: nnx.Embed(7, 3, rngs=rngs()), lambda: T.Embedding(7, 3), (2, 4), plain, classes=7),
    Case("nnx.PReLU", lambda: nnx.PReLU(), lambda: T.PReLU(), (2, 5), plain),
    Case("nnx.MultiHeadAttention", lambda: nnx.MultiHeadAttention(2, 6, decode=False, rngs=rngs()),
         lambda: T.MultiheadAttention(6, 2, batch_first=True), (3, 5, 6), plain, lambda m, x: m(x, x, x)[0]),
    Case("linen.Dense", lambda: linen(nn.Dense(5), 2, 3), lambda: T.Linear(3, 5), (2, 3), plain),
    Case("linen.Dense float32", lambda: linen(nn.Dense(5, dtype=jnp.float32), 2, 3), lambda: T.Linear(3, 5), (2, 3),
         plain),
    Case("linen.DenseGeneral", lambda: linen(nn.DenseGeneral((2, 4)), 3, 6), lambda: T.Linear(6, 8), (3, 6),
         lambda m, x: call(m, x).reshape(3, 8)),
    Case("linen.Conv", lambda: linen(nn.Conv(6, (3, 2), padding=1, feature_group_count=2), 2, 7, 8, 4),
         lambda: T.Conv2d(4, 6, (3, 2), padding=1, groups=2), (2, 4, 7, 8), last),
    Case("linen.ConvTranspose", lambda: linen(nn.ConvTranspose(5, (3, 2), strides=(2, 2), padding="VALID"), 2, 5, 4, 3),
         lambda: T.ConvTranspose2d(3, 5, (3, 2), stride=2), (2, 3, 5, 4), last),
    Case("linen.ConvTranspose transposed",
         lambda: linen(nn.ConvTranspose(5, (3, 2), padding="VALID", transpose_kernel=True), 2, 5, 4, 3),
         lambda: T.ConvTranspose2d(3, 5, (3, 2)), (2, 3, 5, 4), last),
    Case("linen.BatchNorm", lambda: linen(nn.BatchNorm(epsilon=1e-5), 2, 3, 4, 5, use_running_average=True),
         lambda: T.BatchNorm2d(5), (2, 5, 3, 4), last),
    Case("linen.LayerNorm", lambda: linen(nn.LayerNorm(epsilon=1e-5), 2, 3, 5), lambda: T.LayerNorm(5), (2, 3, 5),
         plain),
    Case("linen.RMSNorm", lambda: linen(nn.RMSNorm(epsilon=1e-5), 2, 3, 5), lambda: T.RMSNorm(5, eps=1e-5), (2, 3, 5),
         plain),
    Case("linen.GroupNorm", lambda: linen(nn.GroupNorm(3, epsilon=1e-5), 2, 3, 4, 6), lambda: T.GroupNorm(3, 6),
         (2, 6, 3, 4), last),
    Case("linen.Embed", lambda: linen(nn.Embed(7, 3), 2, 4, dtype=jnp.int32), lambda: T.Embedding(7, 3), (2, 4), plain,
         classes=7),
    Case("linen.PReLU", lambda: linen(nn.PReLU(), 2, 5), lambda: T.PReLU(), (2, 5), plain),
    Case("linen.MultiHeadAttention", lambda: linen(nn.MultiHeadDotProductAttention(2), 3, 5, 6),
         lambda: T.MultiheadAttention(6, 2, batch_first=True), (3, 5, 6), plain, lambda m, x: m(x, x, x)[0]),
    Case("eqx.Linear", lambda: eqx.nn.Linear(3, 5, key=key()), lambda: T.Linear(3, 5), (2, 3), each),
    Case("eqx.Conv2d", lambda: eqx.nn.Conv2d(4, 6, (3, 2), padding=1, groups=2, key=key()),
         lambda: T.Conv2d(4, 6, (3, 2), padding=1, groups=2), (2, 4, 7, 8), each),
    Case("eqx.ConvTranspose2d", lambda: eqx.nn.ConvTranspose2d(4, 6, (3, 2), stride=2, padding=1, output_padding=1,
                                                               groups=2, key=key()),
         lambda: T.ConvTranspose2d(4, 6, (3, 2), stride=2, padding=1, output_padding=1, groups=2), (2, 4, 7, 8), each),
    Case("eqx.LayerNorm", lambda: eqx.nn.LayerNorm(5), lambda: T.LayerNorm(5), (2, 5), each),
    Case("eqx.RMSNorm", lambda: eqx.nn.RMSNorm(5, use_bias=False), lambda: T.RMSNorm(5, eps=1e-5), (2, 5), each),
    Case("eqx.GroupNorm", lambda: eqx.nn.GroupNorm(3, 6), lambda: T.GroupNorm(3, 6), (2, 6, 3, 4), each),
    Case("eqx.Embedding", lambda: eqx.nn.Embedding(7, 3, key=key()), lambda: T.Embedding(7, 3), (4,), each, classes=7),
    Case("eqx.PReLU", lambda: eqx.nn.PReLU(), lambda: T.PReLU(), (2, 5), each),
    Case("eqx.MultiheadAttention", lambda: eqx.nn.MultiheadAttention(2, 6, key=key()),
         lambda: T.MultiheadAttention(6, 2, bias=False, batch_first=True), (3, 5, 6),
         lambda m, x: jax.vmap(lambda y: m(y, y, y))(x), lambda m, x: m(x, x, x)[0]),
]  # fmt: skip


class LoRA(T.Linear):
    """What nnx.LoRALinear computes, with its parameters' names."""

    def __init__(self) -> None:
        super().__init__(3, 5)
        self.lora = T.ParameterDict({"lora_a": torch.zeros(3, 2), "lora_b": torch.zeros(2, 5)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + x @ self.lora["lora_a"] @ self.lora["lora_b"]


def rnn(cell: Any, bidirectional: bool = False) -> Callable[[], Any]:
    """Return what makes an nnx.RNN, or one for each direction."""

    def make() -> Any:
        if not bidirectional:
            return nnx.RNN(cell(3, 4, rngs=rngs()))
        return nnx.Bidirectional(nnx.RNN(cell(3, 4, rngs=rngs())), nnx.RNN(cell(3, 4, rngs=rngs())))

    return make


def first(module: Any, x: Any) -> Any:
    return module(x)[0]


class Stacked(nnx.Module):
    """Two layers in both directions, as PyTorch has them in one module."""

    def __init__(self, cell: Any) -> None:
        layers = [nnx.Bidirectional(*(nnx.RNN(cell(n, 4, rngs=rngs())) for _ in range(2))) for n in (3, 8)]
        self.layers = nnx.List(layers)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


class Cells(T.Module):
    """A PyTorch cell over a sequence."""

    def __init__(self, cell: T.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state, outputs = None, []
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, 1)


def over(cell: Any, carry: Callable[[], Any]) -> Callable[[Any, Any], Any]:
    """Return what runs an Equinox cell over a sequence."""

    def sequence(model: Any, xs: Any) -> Any:
        step = lambda state, x: (model(x, state),) * 2  # noqa: E731
        outputs = jax.lax.scan(step, carry(), xs)[1]
        return outputs[0] if isinstance(outputs, tuple) else outputs

    return lambda model, x: jax.vmap(lambda xs: sequence(model, xs))(x)


X = (2, 5, 3)
LSTM, GRU, RNN = (
    (lambda **k: lambda: T.LSTM(3, 4, batch_first=True, **k)),
    (lambda **k: lambda: T.GRU(3, 4, batch_first=True, **k)),
    (lambda **k: lambda: T.RNN(3, 4, batch_first=True, **k)),
)
CASES += [
    Case("nnx.LSTMCell", rnn(nnx.LSTMCell), LSTM(), X, plain, first, sums=True),
    Case("nnx.OptimizedLSTMCell", rnn(nnx.OptimizedLSTMCell), LSTM(), X, plain, first, sums=True),
    Case("nnx.LSTMCell LSTMCell", rnn(nnx.LSTMCell), lambda: Cells(T.LSTMCell(3, 4)), X, plain, sums=True),
    Case("nnx.Bidirectional", rnn(nnx.OptimizedLSTMCell, True), LSTM(bidirectional=True), X, plain, first, sums=True),
    Case("nnx LSTM 2 layers", lambda: Stacked(nnx.OptimizedLSTMCell), LSTM(num_layers=2, bidirectional=True), X, plain,
         first, sums=True),
    Case("nnx.SimpleCell", rnn(nnx.SimpleCell), RNN(), X, plain, first, sums=True),
    Case("linen.LSTMCell", lambda: linen(nn.RNN(nn.LSTMCell(4)), *X), LSTM(), X, plain, first, sums=True),
    Case("linen.OptimizedLSTMCell", lambda: linen(nn.RNN(nn.OptimizedLSTMCell(4)), *X), LSTM(), X, plain, first,
         sums=True),
    Case("linen.GRUCell", lambda: linen(nn.RNN(nn.GRUCell(4)), *X), GRU(), X, plain, first, sums=True),
    Case("linen.SimpleCell", lambda: linen(nn.RNN(nn.SimpleCell(4)), *X), RNN(), X, plain, first, sums=True),
    Case("linen.Bidirectional",
         lambda: linen(nn.Bidirectional(nn.RNN(nn.LSTMCell(4)), nn.RNN(nn.LSTMCell(4))), *X),
         LSTM(bidirectional=True), X, plain, first, sums=True),
    Case("eqx.LSTMCell", lambda: eqx.nn.LSTMCell(3, 4, key=key()), lambda: Cells(T.LSTMCell(3, 4)), X,
         over(eqx.nn.LSTMCell, lambda: (jnp.zeros(4), jnp.zeros(4))), sums=True),
    Case("eqx.GRUCell", lambda: eqx.nn.GRUCell(3, 4, key=key()), GRU(), X,
         over(eqx.nn.GRUCell, lambda: jnp.zeros(4)), first, sums=True),
]  # fmt: skip


def random_torch(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Return the module in float64 with random weights, and statistics that are no identity."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.copy_(drawn.abs() + 0.5 if name.endswith("var") else drawn)
    return module


def draw(case: Case) -> np.ndarray:
    """Return an input."""
    rng = np.random.default_rng(1)
    return rng.integers(case.classes, size=case.shape) if case.classes else rng.standard_normal(case.shape)
