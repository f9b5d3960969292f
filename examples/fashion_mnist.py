# %% [markdown]
# # Pictures of clothes: the quick start
#
# The quick start of the PyTorch notes in JAX: a multilayer perceptron on Fashion-MNIST, with the tutorial's two
# functions `train` and `test` written in plain JAX. Layers, loss and optimiser are jaxport's; the rest is
# `jax.value_and_grad` and `jax.jit`.
#
# - Command: `python examples/fashion_mnist.py --data DIR`, where DIR holds `fashion_mnist/` with the four files
#   (default: `$JAXPORT_DATA`). `--smoke` needs no data and takes a few seconds.
# - Time: about 15 s on two CPU cores.
# - Score: test accuracy between 0.63 and 0.67, test loss between 1.044 and 1.104 after 5 epochs. The exit status is 1
#   if one is missed.

# %%
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxport
from jaxport import chapter, data, nn, optim, viz
from jaxport.data import to_float

BATCH_SIZE = 64

# %% [markdown]
# ## Data
#
# `x` is uint8 (N, 1, 28, 28), `y` is int32 (N,), an index into ten class names. `loader` is all of a `DataLoader` that
# the tutorial uses: batches in the order of the file. The last one is short, as in PyTorch; `jax.jit` compiles each
# function a second time for its shape.


# %%
def read(options: chapter.Options) -> data.Splits:
    return options.load("fashion_mnist", smoke=200)


def loader(part: data.Arrays) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(part.x), BATCH_SIZE):
        yield part.x[start : start + BATCH_SIZE], part.y[start : start + BATCH_SIZE]


# %% [markdown]
# ## Model
#
# A class with `__init__` and `forward`, as in PyTorch, without `super().__init__()`. There is no `.to(device)`: JAX
# puts arrays on an accelerator by itself if there is one.


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


def create_net(rngs: nnx.Rngs) -> NeuralNetwork:
    return NeuralNetwork(rngs=rngs)


# %% [markdown]
# ## Loss and optimiser
#
# The optimiser is not told which parameters it has; it gets them with the gradients.


# %%
loss_fn = nn.CrossEntropyLoss()
optimizer = optim.SGD(lr=1e-3)

# %% [markdown]
# ## One step
#
# `nnx.split` takes a model apart: `graph` is its structure, `params` its weights as a tree of arrays. `nnx.merge` puts
# them together again. Between the two, the loss is a plain function of the weights, and JAX can differentiate and
# compile it. The lines stand for PyTorch's `loss.backward()`, `optimizer.step()` and `optimizer.zero_grad()`; the last
# has no counterpart, since gradients are returned and not added up.
#
# `graph` is static (`jax.jit` compiles for one structure); weights and optimiser state go in and come out.


# %%
def logits_of(graph: Any, params: Any, x: jax.Array) -> jax.Array:
    return nnx.merge(graph, params)(to_float(x))


@jax.jit(static_argnums=0, donate_argnums=(1, 2))
def train_step(graph: Any, params: Any, opt_state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Any, jax.Array]:
    loss, gradients = jax.value_and_grad(lambda params: loss_fn(logits_of(graph, params, x), y))(params)
    updates, opt_state = optimizer.update(gradients, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


@jax.jit(static_argnums=0)
def test_step(graph: Any, params: Any, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    logits = logits_of(graph, params, x)
    return loss_fn(logits, y) * len(y), (logits.argmax(axis=1) == y).sum()


# %% [markdown]
# ## Train and test
#
# `train` goes over the data once, `test` measures. The loss is printed every 100 batches: `float(loss)` is PyTorch's
# `loss.item()`, and waits for the device, so it is not done more often.
#
# The tutorial divides the sum of the batches' mean losses by their number. The last batch of the test set has 16
# pictures, which there count four times. Here each picture counts once.


# %%
def train(graph: Any, params: Any, opt_state: Any, part: data.Arrays) -> tuple[Any, Any, float]:
    total, size = jnp.zeros(()), len(part.x)
    for batch, (x, y) in enumerate(loader(part)):
        params, opt_state, loss = train_step(graph, params, opt_state, x, y)
        total += loss * len(x)
        if batch % 100 == 0:
            print(f"loss {float(loss):.6f}  [{batch * BATCH_SIZE + len(x):5d}/{size}]")
    return params, opt_state, float(total) / size


def test(graph: Any, params: Any, part: data.Arrays) -> tuple[float, float]:
    sums = [test_step(graph, params, x, y) for x, y in loader(part)]
    loss, correct = (sum(map(float, column)) / len(part.x) for column in zip(*sums, strict=True))
    print(f"test: accuracy {correct:.1%}, loss {loss:.6f}")
    return loss, correct


def run(model: NeuralNetwork, splits: data.Splits, epochs: int) -> dict[str, list[float]]:
    history: dict[str, list[float]] = {name: [] for name in ("epoch", "loss", "val_loss", "val_accuracy")}
    graph, params = nnx.split(model)
    # The steps donate their weights: the memory is reused. A copy keeps the model's own.
    params = jax.tree.map(jnp.copy, params)
    opt_state = optimizer.init(params)
    for epoch in range(1, epochs + 1):
        print(f"epoch {epoch}")
        params, opt_state, loss = train(graph, params, opt_state, splits.train)
        for column, value in zip(history.values(), (epoch, loss, *test(graph, params, splits.val)), strict=True):
            column.append(value)
    nnx.update(model, params)
    return history


# %% [markdown]
# ## Save and load
#
# `torch.save(model.state_dict(), …)` and `model.load_state_dict(torch.load(…))`, with a file that holds numbers only.
# The keys are PyTorch's. With the suffix `.pth` in place of `.safetensors` (and PyTorch installed) `save_file` writes
# a file that `torch.load` reads.


# %%
def save_and_load(model: NeuralNetwork, splits: data.Splits, path: Path) -> NeuralNetwork:
    jaxport.save_file(jaxport.state_dict(model), path)
    loaded = create_net(nnx.Rngs(1)).eval()
    jaxport.load_state_dict(loaded, jaxport.load_file(path))
    pictures = to_float(splits.val.x[:32])
    np.testing.assert_array_equal(loaded(pictures), model.eval()(pictures))
    print(f"saved {', '.join(jaxport.state_dict(model))}; the reloaded model predicts the same")
    return loaded


# %% [markdown]
# ## Use
#
# The first picture of the test set by its class name, as in the tutorial, and nine in a figure, wrong ones first. A
# model takes a batch, also of one picture.


# %%
def use(model: NeuralNetwork, splits: data.Splits, path: Path) -> None:
    x, y = splits.val.x[:9], splits.val.y[:9]
    guesses = np.asarray(model(to_float(x))).argmax(axis=1)
    print(f'predicted "{splits.classes[guesses[0]]}", actual "{splits.classes[y[0]]}"')
    viz.show_predictions(x, guesses, y, 9, path, classes=splits.classes)


# %% [markdown]
# ## All steps


# %%
@chapter.command(
    "A multilayer perceptron on Fashion-MNIST: the quick start in JAX.",
    expected={"val_accuracy": (0.63, 0.67), "val_loss": (1.044, 1.104)},
)
def main(options: chapter.Options) -> dict[str, float]:
    splits, model = read(options), create_net(nnx.Rngs(0))
    viz.show_samples(splits.train, 9, options.out / "pictures.png", classes=splits.classes)
    print(model, jaxport.summary(model, (1, 28, 28)), sep="\n")
    history = run(model, splits, epochs=2 if options.smoke else 5)
    viz.write_csv(history, options.out / "history.csv")
    viz.plot_history(history, options.out / "history.png", "fashion_mnist: training")
    loaded = save_and_load(model, splits, options.out / "weights.safetensors")
    use(loaded, splits, options.out / "predictions.png")
    return {name: history[name][-1] for name in ("val_accuracy", "val_loss")}


# %%
main.start(__name__)
