# %% [markdown]
# # Two rings of points, at three levels
#
# Chapters 3-1 to 3-3 of the 20-day tutorial, second half: a small network tells the points of an inner ring from those
# of an outer one. `--level high` is `Model.fit`, `--level mid` layers, a loss and an optimiser in a loop of one's own,
# `--level low` arrays and gradients alone.
#
# - Command: `python examples/circles.py`. The points are in the package; `--smoke` takes fewer epochs.
# - Time: about 6 s on two CPU cores.
# - Score: accuracy between 0.92 and 0.94: the rings overlap. The exit status is 1 if it is missed.

# %%
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxport
from jaxport import chapter, data, metrics, nn, optim, viz
from jaxport.nn import functional as F

Columns = dict[str, list[float]]
Weights = dict[str, Any]

# %% [markdown]
# ## 1. Data
#
# 2,000 positive points at radius 5 + N(0, 1) and 2,000 negative ones at 8 + N(0, 1), mixed. `x` is float32 (N, 2), `y`
# is float32 (N, 1). The high level trains on 2,800 of them and validates on 1,200; the others train on all.


# %%
def read() -> tuple[data.Splits, data.Arrays]:
    splits = data.load("circles")
    return splits, data.Arrays(*map(np.concatenate, zip(splits.train, splits.val, strict=True)))


# %% [markdown]
# ## 2. The high level
#
# ReLU and sigmoid as functions, so the summary has three layers.


# %%
class Net(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.fc1 = nn.Linear(2, 4, rngs=rngs)
        self.fc2 = nn.Linear(4, 8, rngs=rngs)
        self.fc3 = nn.Linear(8, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.sigmoid(self.fc3(x))


def create_net(rngs: nnx.Rngs) -> Net:
    return Net(rngs=rngs)


def train_high(net: Net, splits: data.Splits, epochs: int) -> Columns:
    model = jaxport.Model(net)
    model.compile(nn.BCELoss(), optim.Adam(lr=0.01), metrics=[metrics.BinaryAccuracy()])
    history = model.fit(splits.train, epochs, validation=splits.val, batch_size=100, seed=0, verbose=0)
    print(history)
    return history.columns


# %% [markdown]
# ## 3. The middle level
#
# The same net; the loop is ours. `step` stands for PyTorch's `loss.backward()` and `optimizer.step()`: the gradients
# are returned, the optimiser makes updates of them, and what changes (weights and Adam's averages) goes in and comes
# out. `lax.scan` is a `for` loop that is compiled: over the batches of an epoch, and over the epochs.
#
# The tutorial's `optimizer` is a property and makes a new Adam in every step, without averages of earlier ones. Here it
# is one Adam.


# %%
def train_mid(net: Net, points: data.Arrays, epochs: int, seed: int = 0) -> Columns:
    graph, params = nnx.split(net)
    criterion, optimizer = nn.BCELoss(), optim.Adam(lr=1e-3)
    x, y = map(jnp.asarray, points)

    def step(carry: Any, chosen: jax.Array) -> Any:
        params, opt_state = carry

        def loss_of(params: Any) -> Any:
            prediction = nnx.merge(graph, params)(x[chosen])
            return criterion(prediction, y[chosen]), accuracy(prediction, y[chosen])

        logs, gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), logs

    (params, _), columns = run(step, (params, optimizer.init(params)), len(x), 10, epochs, seed)
    nnx.update(net, params)
    return columns


def accuracy(prediction: jax.Array, y: jax.Array) -> jax.Array:
    return ((prediction > 0.5) == (y > 0.5)).mean()


def run(
    step: Callable[..., Any], carry: Any, size: int, batch_size: int, epochs: int, seed: int
) -> tuple[Any, Columns]:
    @jax.jit
    def epoch(carry: Any, key: jax.Array) -> Any:
        order = jax.random.permutation(key, size).reshape(-1, batch_size)
        carry, logs = jax.lax.scan(step, carry, order)
        return carry, [log.mean() for log in logs]

    carry, logs = jax.lax.scan(epoch, carry, jax.random.split(jax.random.key(seed), epochs))
    losses, accuracies = np.asarray(logs).tolist()
    for i in range(0, epochs, max(1, epochs // 10)):
        print(f"epoch {i + 1:3}  loss {losses[i]:.4f}  accuracy {accuracies[i]:.4f}")
    return carry, {"epoch": list(range(1, epochs + 1)), "loss": losses, "accuracy": accuracies}


# %% [markdown]
# ## 4. The low level
#
# No layers, no loss and no optimiser: six arrays in a dictionary, which `jax.tree.map` changes together.


# %%
def create_weights(seed: int) -> Weights:
    keys, sizes = jax.random.split(jax.random.key(seed), 3), (2, 4, 8, 1)
    weights = {f"w{i + 1}": jax.random.normal(keys[i], sizes[i : i + 2]) for i in range(3)}
    return weights | {f"b{i + 1}": jnp.zeros((1, sizes[i + 1])) for i in range(3)}


def forward(weights: Weights, x: jax.Array) -> jax.Array:
    x = jnp.maximum(x @ weights["w1"] + weights["b1"], 0)
    x = jnp.maximum(x @ weights["w2"] + weights["b2"], 0)
    return jax.nn.sigmoid(x @ weights["w3"] + weights["b3"])


def bce(prediction: jax.Array, y: jax.Array) -> jax.Array:
    p = jnp.clip(prediction, 1e-7, 1 - 1e-7)  # keeps the logarithms finite
    return -(y * jnp.log(p) + (1 - y) * jnp.log(1 - p)).mean()


def train_low(weights: Weights, points: data.Arrays, epochs: int, seed: int = 0) -> tuple[Weights, Columns]:
    x, y = map(jnp.asarray, points)

    def step(weights: Weights, chosen: jax.Array) -> Any:
        def loss_of(weights: Weights) -> Any:
            prediction = forward(weights, x[chosen])
            return bce(prediction, y[chosen]), accuracy(prediction, y[chosen])

        logs, gradients = jax.value_and_grad(loss_of, has_aux=True)(weights)
        return jax.tree.map(lambda w, g: w - 0.01 * g, weights, gradients), logs

    return run(step, weights, len(x), 20, epochs, seed)


def save_low(weights: Weights, x: jax.Array, path: Path) -> None:
    jaxport.save_file(jax.tree.map(np.asarray, weights), path)
    np.testing.assert_array_equal(forward(jaxport.load_file(path), x), forward(weights, x))
    print(f"saved {', '.join(weights)}; the reloaded arrays give a net that predicts the same")


# %% [markdown]
# ## 5. Evaluate, use, save
#
# The accuracy of the lower levels is the tutorial's: the mean over the last epoch's batches, each before its update.
# The picture has the true classes beside those that the net predicts.


# %%
@chapter.command(
    "Two rings of points: chapters 3-1 to 3-3 in JAX.",
    levels=("high", "mid", "low"),
    expected={
        "high": {"val_accuracy": (0.92, 0.94)},
        "mid": {"accuracy": (0.92, 0.94)},
        "low": {"accuracy": (0.92, 0.94)},
    },
)
def main(options: chapter.Options) -> dict[str, float]:
    splits, points = read()
    net, x, file = create_net(nnx.Rngs(0)), jnp.asarray(points.x), options.out / "weights.safetensors"
    if options.level == "low":
        weights, columns = train_low(create_weights(0), points, epochs=2 if options.smoke else 1000)
        save_low(weights, x, file)
        predicted = forward(weights, x)
    else:
        print(jaxport.summary(net, (2,)))
        if options.level == "high":
            columns = train_high(net, splits, epochs=2 if options.smoke else 100)
        else:
            columns = train_mid(net, points, epochs=2 if options.smoke else 300)
        chapter.save(net, create_net(nnx.Rngs(1)), x, file)
        predicted = net.eval()(x)
    viz.plot_history(columns, options.out / "history.png", f"circles: training, {options.level} level")
    viz.plot_classes(x, points.y, predicted > 0.5, options.out / "rings.png", classes=("negative", "positive"))
    return {name: columns[name][-1] for name in main.bounds(options.level)}


# %%
main.start(__name__)
