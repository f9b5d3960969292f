# %% [markdown]
# # Functions, modules and containers
#
# Chapters 4-3 and 6-1 of the 20-day tutorial, and the module chapter of the PyTorch notes' quick start: functions and
# modules, parameters, modules within modules, freezing, three ways to put a net together.
#
# - Command: `python examples/modules.py`. No files; `--smoke` does the same.
# - Time: about 8 s on two CPU cores.
# - Score: how many parameters and modules there are; the exit status is 1 if a number is not the tutorial's.

# %%
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxport
from jaxport import chapter, nn
from jaxport.chapter import show
from jaxport.nn import functional as F
from jaxport.nn import init
from jaxport.random import Generator, torch_rngs

# %% [markdown]
# ## 1. Two forms of everything
#
# `jaxport.nn.functional` has the functions, `jaxport.nn` the modules: the same functions, with their options and their
# parameters kept. Names, arguments and the shapes of parameters are PyTorch's.
#
# One argument is added. What is drawn at random needs a source, where PyTorch has one generator for the whole program:
# for a module `rngs`, a `flax.nnx.Rngs` or a seed; for a function that draws (`F.dropout2d` in training) a `key`.
# `torch_rngs(0)` is an `Rngs` whose initial values are PyTorch's after `torch.manual_seed(0)`.


# %%
def two_forms() -> bool:
    x = jnp.asarray(Generator(0).rand(2, 3, 8, 8))
    rngs = torch_rngs(0)
    words, labels = jnp.asarray([[1, 2], [4, 0]]), jnp.asarray([3, 0])
    linear, conv, embedding = nn.Linear(8, 5, rngs=rngs), nn.Conv2d(3, 4, 3, rngs=rngs), nn.Embedding(5, 2, rngs=rngs)
    scores, half = x.reshape(2, -1)[:, :5], jnp.full((2, 5), 0.5)
    pairs = {
        "F.relu, nn.ReLU": (F.relu(x), nn.ReLU()(x)),
        "F.sigmoid, nn.Sigmoid": (F.sigmoid(x), nn.Sigmoid()(x)),
        "F.tanh, nn.Tanh": (F.tanh(x), nn.Tanh()(x)),
        "F.softmax, nn.Softmax": (F.softmax(x, dim=1), nn.Softmax(dim=1)(x)),
        "F.linear, nn.Linear": (F.linear(x, *(parameter[...] for parameter in linear.parameters())), linear(x)),
        "F.conv2d, nn.Conv2d": (F.conv2d(x, *(parameter[...] for parameter in conv.parameters())), conv(x)),
        "F.max_pool2d, nn.MaxPool2d": (F.max_pool2d(x, 2), nn.MaxPool2d(2)(x)),
        "F.dropout2d, nn.Dropout2d": (F.dropout2d(x, training=False), nn.Dropout2d(rngs=rngs).eval()(x)),
        "F.embedding, nn.Embedding": (F.embedding(words, embedding.weight[...]), embedding(words)),
        "F.binary_cross_entropy, nn.BCELoss": (F.binary_cross_entropy(scores, half), nn.BCELoss()(scores, half)),
        "F.mse_loss, nn.MSELoss": (F.mse_loss(scores, half), nn.MSELoss()(scores, half)),
        "F.cross_entropy, nn.CrossEntropyLoss": (
            F.cross_entropy(scores, labels),
            nn.CrossEntropyLoss()(scores, labels),
        ),
    }
    for name, (function, module) in pairs.items():
        show(name, f"{module.shape} equal: {np.array_equal(function, module)}")
    return all(np.array_equal(function, module) for function, module in pairs.values())


# %% [markdown]
# ## 2. Parameters
#
# An `nn.Parameter` holds an array: `w[...]` is the array, `w[...] = new` puts another in its place. It is a
# `flax.nnx.Param`, so every NNX and JAX tool knows it. `requires_grad` is part of the structure, not of the data.


# %%
def parameters() -> int:
    generator = Generator(0)
    w = nn.Parameter(jnp.asarray(generator.randn(2, 2)))
    show("w, w.requires_grad", f"{w.shape} {w.requires_grad}")
    params_list = nn.ParameterList([nn.Parameter(jnp.asarray(generator.rand(8, i))) for i in range(1, 3)])
    params_dict = nn.ParameterDict({"a": jnp.asarray(generator.rand(2, 2)), "b": jnp.zeros(2)})
    show("params_list", params_list)
    show("params_dict", params_dict)
    module = nn.Module()
    module.w = w
    module.params_list = params_list
    module.params_dict = params_dict
    for name, parameter in module.named_parameters():
        show(name, parameter.shape)
    return len(list(module.parameters()))


# %% [markdown]
# ### A layer of one's own
#
# `__init__` makes the parameters, `forward` computes; there is no `super().__init__()` to forget. The initial values
# are PyTorch's: U(±1/√in_features).


# %%
class Linear(nn.Module):
    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rngs: nnx.Rngs) -> None:
        bound = in_features**-0.5
        weight, offset = nn.Parameter(jnp.zeros((out_features, in_features))), nn.Parameter(jnp.zeros(out_features))
        self.weight = init.uniform_(weight, -bound, bound, generator=rngs.params())
        self.bias = init.uniform_(offset, -bound, bound, generator=rngs.params()) if bias else None

    def forward(self, input: jax.Array) -> jax.Array:
        return F.linear(input, self.weight[...], None if self.bias is None else self.bias[...])


def own_layer() -> None:
    layer = Linear(20, 30, rngs=torch_rngs(0))
    show("Linear(20, 30)(x).shape", layer(jnp.zeros((128, 20))).shape)
    show("without a bias", [name for name, _ in Linear(20, 30, bias=False, rngs=torch_rngs(0)).named_parameters()])


# %% [markdown]
# ## 3. Modules within modules
#
# The net of `imdb.py`. `children` are the modules directly below, `modules` all of them and the net itself.


# %%
class TextNet(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.embedding = nn.Embedding(num_embeddings=10_000, embedding_dim=3, padding_idx=1, rngs=rngs)
        self.conv = nn.Sequential()
        self.conv.add_module("conv_1", nn.Conv1d(in_channels=3, out_channels=16, kernel_size=5, rngs=rngs))
        self.conv.add_module("pool_1", nn.MaxPool1d(kernel_size=2))
        self.conv.add_module("relu_1", nn.ReLU())
        self.conv.add_module("conv_2", nn.Conv1d(in_channels=16, out_channels=128, kernel_size=2, rngs=rngs))
        self.conv.add_module("pool_2", nn.MaxPool1d(kernel_size=2))
        self.conv.add_module("relu_2", nn.ReLU())
        self.dense = nn.Sequential()
        self.dense.add_module("flatten", nn.Flatten())
        self.dense.add_module("linear", nn.Linear(6144, 1, rngs=rngs))
        self.dense.add_module("sigmoid", nn.Sigmoid())

    def forward(self, x: jax.Array) -> jax.Array:
        return self.dense(self.conv(jnp.swapaxes(self.embedding(x), 1, 2)))


def tree(net: TextNet) -> dict[str, int]:
    for name, child in net.named_children():
        show(name, child)
    for path, module in net.named_modules():
        show(path or "the net itself", type(module).__name__)
    counts = {"children": len(list(net.children())), "modules": len(list(net.modules()))}
    show("how many", counts)
    return counts


# %% [markdown]
# ## 4. Freeze
#
# As in PyTorch, `requires_grad_(False)` marks the parameters. What it does is decided where a net is split: JAX
# differentiates with respect to an argument, so the parameters to be trained become one (`nn.trainable`), and all else
# another. A frozen parameter gets neither a gradient nor a place in the optimiser's state.


# %%
def freeze(net: TextNet) -> int:
    dict(net.named_children())["embedding"].requires_grad_(False)
    for parameter in net.embedding.parameters():
        show("trainable, numbers", f"{nn.trainable((), parameter)} {parameter.size}")
    _, trained, _ = nnx.split(net, nn.trainable, ...)
    show("trained", sorted({str(path[0]) for path, _ in nnx.to_flat_state(trained)}))
    summary = jaxport.summary(net, (200,), jnp.int32)
    print(summary)
    return summary.parameters - summary.frozen


# %% [markdown]
# ## 5. Three ways to put a net together
#
# The net of `cifar2.py`. First: a class of one's own, which can compute anything.


# %%
def layers(rngs: nnx.Rngs) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        conv1=nn.Conv2d(in_channels=3, out_channels=32, kernel_size=3, rngs=rngs),
        pool1=nn.MaxPool2d(kernel_size=2, stride=2),
        conv2=nn.Conv2d(in_channels=32, out_channels=64, kernel_size=5, rngs=rngs),
        pool2=nn.MaxPool2d(kernel_size=2, stride=2),
        dropout=nn.Dropout2d(p=0.1, rngs=rngs),
        adaptive_pool=nn.AdaptiveMaxPool2d((1, 1)),
        flatten=nn.Flatten(),
        linear1=nn.Linear(64, 32, rngs=rngs),
        relu=nn.ReLU(),
        linear2=nn.Linear(32, 1, rngs=rngs),
        sigmoid=nn.Sigmoid(),
    )


class OwnNet(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv1 = nn.Conv2d(in_channels=3, out_channels=32, kernel_size=3, rngs=rngs)
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv2 = nn.Conv2d(in_channels=32, out_channels=64, kernel_size=5, rngs=rngs)
        self.dropout = nn.Dropout2d(p=0.1, rngs=rngs)
        self.adaptive_pool = nn.AdaptiveMaxPool2d((1, 1))
        self.linear1 = nn.Linear(64, 32, rngs=rngs)
        self.linear2 = nn.Linear(32, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        x = self.pool(self.conv1(x))
        x = self.dropout(self.pool(self.conv2(x)))
        x = self.adaptive_pool(x).reshape(-1, 64)
        return F.sigmoid(self.linear2(F.relu(self.linear1(x))))


# %% [markdown]
# Second: `nn.Sequential`, in its three spellings. Only by name or with an `OrderedDict` have the layers names.


# %%
def one_by_one(rngs: nnx.Rngs) -> nn.Sequential:
    net = nn.Sequential()
    for name, layer in layers(rngs).items():
        net.add_module(name, layer)
    return net


def as_arguments(rngs: nnx.Rngs) -> nn.Sequential:
    return nn.Sequential(*layers(rngs).values())


def from_dict(rngs: nnx.Rngs) -> nn.Sequential:
    return nn.Sequential(layers(rngs))


# %% [markdown]
# Third: a class with containers. A Python list of modules is an error here; in PyTorch it is accepted, and its
# parameters are never trained. `nn.ModuleList` and `nn.ModuleDict` are what stands for list and dict.


# %%
class SequentialNet(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        parts = list(layers(rngs).values())
        self.conv = nn.Sequential(*parts[:6])
        self.dense = nn.Sequential(*parts[6:])

    def forward(self, x: jax.Array) -> jax.Array:
        return self.dense(self.conv(x))


class ListNet(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.layers = nn.ModuleList(layers(rngs).values())

    def forward(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return x


class DictNet(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.layers_dict = nn.ModuleDict(layers(rngs))
        del self.layers_dict["pool2"]  # the first is used twice

    def forward(self, x: jax.Array) -> jax.Array:
        for name in ("conv1", "pool1", "conv2", "pool1", "dropout", "adaptive_pool", "flatten", "linear1", "relu"):
            x = self.layers_dict[name](x)
        return self.layers_dict["sigmoid"](self.layers_dict["linear2"](x))


# %% [markdown]
# From one seed all of them get the same weights, so they must give the same. They differ in the names of their
# parameters, and so in their `state_dict`.


# %%
def compare(nets: Iterable[nn.Module]) -> list[np.ndarray]:
    x = jnp.asarray(Generator(0).rand(2, 3, 32, 32))
    outputs = []
    for net in nets:
        names = list(jaxport.state_dict(net))
        outputs.append(np.asarray(net.eval()(x)))
        show(type(net).__name__, f"{outputs[-1][:, 0]}, {names[0]} ... {names[-1]}")
    return outputs


def three_ways() -> dict[str, int]:
    spellings = [make(torch_rngs(0)) for make in (one_by_one, as_arguments, from_dict)]
    nets = [make(rngs=torch_rngs(0)) for make in (OwnNet, SequentialNet, ListNet, DictNet)]
    outputs = compare([*nets, *spellings])
    summaries = [jaxport.summary(net, (3, 32, 32)) for net in (*nets, *spellings)]
    print(nets[1], summaries[-1], sep="\n")
    equal = all(np.array_equal(output, outputs[0]) for output in outputs)
    return {"nets": len({summary.parameters for summary in summaries}), "equal": equal, "net": summaries[0].parameters}


# %% [markdown]
# ## 6. The quick start's net
#
# Calling a net runs `forward`; the parameters have their paths as names. The weights are those that PyTorch draws after
# `torch.manual_seed(0)`.


# %%
class NeuralNetwork(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(28 * 28, 512, rngs=rngs),
            nn.ReLU(),
            nn.Linear(512, 512, rngs=rngs),
            nn.ReLU(),
            nn.Linear(512, 10, rngs=rngs),
        )

    def forward(self, x: jax.Array) -> jax.Array:
        return self.linear_relu_stack(self.flatten(x))


def quick_start() -> int:
    model = NeuralNetwork(rngs=torch_rngs(0))
    print(model)
    probabilities = nn.Softmax(dim=1)(model(jnp.asarray(Generator(1).rand(1, 28, 28))))
    show("predicted class", probabilities.argmax(1))
    for name, parameter in model.named_parameters():
        show(name, f"{parameter.shape} {np.ravel(parameter[...])[:2]}")
    return probabilities.argmax(1).item()


# %% [markdown]
# ## All sections


# %%
@chapter.command(
    "Functions, modules and containers: chapters 4-3 and 6-1 in JAX.",
    expected={
        "forms": (1, 1),
        "parameters": (5, 5),
        "children": (3, 3),
        "modules": (13, 13),
        "trained": (10_625, 10_625),
        "nets": (1, 1),
        "equal": (1, 1),
        "net": (54_273, 54_273),
        "class": (1, 1),
    },
)
def main(options: chapter.Options) -> dict[str, float]:
    scores = {"forms": two_forms(), "parameters": parameters()}
    own_layer()
    net = TextNet(rngs=torch_rngs(0))
    return {**scores, **tree(net), "trained": freeze(net), **three_ways(), "class": quick_start()}


# %%
main.start(__name__)
