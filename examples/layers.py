# %% [markdown]
# # The layers
#
# Chapter 5-2 of the 20-day tutorial, and the layers of the PyTorch notes' quick start: every layer that they name is
# built and applied; its parameters are counted and the shape of its output is printed. A layer of one's own is in
# `modules.py`.
#
# - Command: `python examples/layers.py`. No files; `--smoke` finds the shapes without computing.
# - Time: about 15 s on two CPU cores.
# - Score: parameters of each family, as PyTorch counts them, and that a convolution is a product of matrices; the exit
#   status is 1 if one is wrong.

# %%
from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import chapter, nn, viz
from jaxport.random import Generator, torch_rngs

# %% [markdown]
# ## How the table is made
#
# A layer needs a source of random numbers for its initial values, and some need one while they compute (dropout,
# fractional pooling): `rngs`. `torch_rngs(0)` draws the initial values as PyTorch does after `torch.manual_seed(0)`.
#
# `jax.eval_shape` traces a call and returns shapes instead of values: what shapes a net has, and whether they fit, is
# known before anything is computed. `jax.tree.map` looks into outputs that are tuples, such as an LSTM's.
#
# Axes are PyTorch's, channels first. XLA chooses the order in memory itself. Every call below makes a row for each of
# its layers, which all take the same input.


# %%
def rand(*shape: int) -> jax.Array:
    return jnp.asarray(Generator(1).rand(*shape))


def count(layer: nn.Module) -> int:
    return sum(parameter.size for parameter in layer.parameters())


def table(compute: bool, inputs: jax.Array | tuple[jax.Array, ...], *layers: nn.Module) -> int:
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    for layer in map(nn.Module.eval, layers):
        output = layer(*arguments) if compute else jax.eval_shape(lambda layer, *x: layer(*x), layer, *arguments)
        print(f"{type(layer).__name__:<24} {count(layer):>6,} parameters, output {jax.tree.map(jnp.shape, output)}")
    return sum(count(layer) for layer in layers)


# %% [markdown]
# ## 1. Basic layers
#
# Layers that behave otherwise in training (BatchNorm, dropout) are in training mode until `eval()`, which the table
# calls. In training BatchNorm updates its running statistics as it is called; under `jax.jit` the module must be taken
# apart and put together (`nnx.split`, `nnx.merge`), or the update is lost: row 32 of `docs/differences.md`.
# `jaxport.fit` does it.


# %%
def basic(compute: bool, rngs: nnx.Rngs) -> int:
    row, image, film = rand(4, 6), rand(4, 6, 8, 8), rand(4, 6, 4, 8, 8)
    return (
        table(compute, row, nn.Linear(6, 5, rngs=rngs), nn.BatchNorm1d(6), nn.Dropout(rngs=rngs))
        + table(compute, row, nn.Threshold(0.5, 0.0), nn.ReLU(), nn.Softmax(dim=1))
        + table(compute, image, nn.Flatten(), nn.BatchNorm2d(6), nn.Dropout2d(rngs=rngs), nn.ConstantPad2d(1, 3.5))
        + table(compute, image, nn.ZeroPad2d(2), nn.GroupNorm(3, 6), nn.LayerNorm([6, 8, 8]), nn.InstanceNorm2d(6))
        + table(compute, film, nn.BatchNorm3d(6), nn.Dropout3d(rngs=rngs))
        + table(compute, rand(4, 6, 8), nn.ReplicationPad1d(2))
    )


# %% [markdown]
# ## 2. Convolution and pooling
#
# `Conv2d` three times: plain, dilated (a wider view), and with as many groups as channels (depthwise: 60 parameters
# instead of 330). `ConvTranspose2d` gives back the shape that a convolution took away. `FractionalMaxPool2d` draws its
# windows at random.


# %%
def convolution(compute: bool, rngs: nnx.Rngs) -> int:
    text, image, film = rand(4, 6, 8), rand(4, 6, 8, 8), rand(4, 6, 4, 8, 8)
    return (
        table(compute, text, nn.Conv1d(6, 5, 3, rngs=rngs), nn.MaxPool1d(2))
        + table(compute, image, nn.Conv2d(6, 5, 3, rngs=rngs), nn.Conv2d(6, 5, 3, dilation=2, rngs=rngs))
        + table(compute, image, nn.Conv2d(6, 6, 3, groups=6, rngs=rngs), nn.MaxPool2d(2), nn.AdaptiveMaxPool2d(1))
        + table(compute, film, nn.Conv3d(6, 5, 3, rngs=rngs), nn.MaxPool3d(2))
        + table(compute, image, nn.FractionalMaxPool2d(3, output_size=5, rngs=rngs), nn.AvgPool2d(2), nn.Unfold(3))
        + table(compute, image, nn.AdaptiveAvgPool2d(3), nn.ConvTranspose2d(6, 5, 3, rngs=rngs), nn.Upsample(None, 2.0))
        + table(compute, rand(4, 54, 36), nn.Fold((8, 8), 3))
    )


# %% [markdown]
# A convolution is `Unfold`, a product with the weights, and `Fold`.


# %%
def convolution_as_product(rngs: nnx.Rngs) -> float:
    x, conv = rand(2, 3, 8, 8), nn.Conv2d(3, 4, 3, bias=False, rngs=rngs)
    product = jnp.matmul(conv.weight[...].reshape(4, 27), nn.Unfold(3)(x), precision="highest")
    difference = jnp.abs(nn.Fold((6, 6), 1)(product) - conv(x)).max().item()
    print(f"convolution less its product: {difference:.1e}")
    return difference


# %% [markdown]
# ## 3. Recurrent layers
#
# As in PyTorch the first axis is time, the second the batch, unless `batch_first=True`. The output has a row for each
# time; the last one is the state of the last layer. The loop over time is a `jax.lax.scan`: its body is compiled once,
# however long the series.


# %%
def recurrent(compute: bool, rngs: nnx.Rngs) -> int:
    lstm, step = nn.LSTM(4, 5, num_layers=2, rngs=rngs), rand(3, 4)
    output, (h_n, _) = lstm(rand(7, 3, 4))
    print("output[-1] is h_n of the last layer:", bool((output[-1] == h_n[-1]).all()))
    return (
        table(compute, jnp.asarray([[1, 2, 3], [2, 3, 4]]), nn.Embedding(5, 4, rngs=rngs))
        + table(compute, rand(7, 3, 4), lstm, nn.LSTM(4, 5, bidirectional=True, rngs=rngs))
        + table(compute, rand(7, 3, 4), nn.GRU(4, 5, rngs=rngs), nn.RNN(4, 5, rngs=rngs))
        + table(compute, step, nn.LSTMCell(4, 5, rngs=rngs), nn.GRUCell(4, 5, rngs=rngs), nn.RNNCell(4, 5, rngs=rngs))
    )


# %% [markdown]
# ## 4. Transformer
#
# Here too time comes first. Attention returns its output and the weights.


# %%
def transformer(compute: bool, rngs: nnx.Rngs) -> int:
    source, target = rand(5, 3, 8), rand(6, 3, 8)
    encoder, decoder = nn.TransformerEncoderLayer(8, 2, 16, rngs=rngs), nn.TransformerDecoderLayer(8, 2, 16, rngs=rngs)
    return (
        table(compute, (source, target), nn.Transformer(8, 2, 1, 1, 16, rngs=rngs))
        + table(compute, source, encoder, nn.TransformerEncoder(encoder, 2))
        + table(compute, (target, source), decoder, nn.TransformerDecoder(decoder, 2))
        + table(compute, (source, source, source), nn.MultiheadAttention(8, 2, rngs=rngs))
    )


# %% [markdown]
# ## 5. The quick start's layers, one after the other


# %%
def stack(rngs: nnx.Rngs) -> int:
    linear, last = nn.Linear(28 * 28, 20, rngs=rngs), nn.Linear(20, 10, rngs=rngs)
    summary = viz.summary(nn.Sequential(nn.Flatten(), linear, nn.ReLU(), last, nn.Softmax(dim=1)), (28, 28))
    print(summary)
    return summary.parameters


# %% [markdown]
# ## All sections
#
# How many parameters PyTorch counts in each of them.

# %%
COUNTS = {"basic": 851, "convolution": 1795, "recurrent": 1580, "transformer": 6336, "stack": 15_910}


@chapter.command(
    "The layers: chapter 5-2 in JAX.",
    expected={name: (count, count) for name, count in COUNTS.items()} | {"product": (0, 1e-6)},
)
def main(options: chapter.Options) -> dict[str, float]:
    rngs, families = torch_rngs(0), (basic, convolution, recurrent, transformer)
    scores = {family.__name__: family(not options.smoke, rngs) for family in families}
    return {**scores, "stack": stack(rngs), "product": convolution_as_product(rngs)}


# %%
main.start(__name__)
