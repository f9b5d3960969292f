# %% [markdown]
# # Two rings of points, one of them rare
#
# Chapter 5-3 of the 20-day tutorial: the focal loss, and L1 and L2 penalties on the weights. The net is that of
# `circles.py`.
#
# - Command: `python examples/circles_focal.py`. The points are in the package; `--smoke` takes fewer epochs.
# - Time: about 10 s on two CPU cores.
# - Score: validation accuracy between 0.966 and 0.99; 0.966 is what calling all points negative gets, and what one
#   first weight in five ends with, in PyTorch too. The exit status is 1 if it is missed.

# %%
from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import data, engine, metrics, nn, optim, viz
from jaxport.nn import functional as F

EXPECTED = (0.966, 0.99)

# %% [markdown]
# ## 1. Data
#
# 200 positive points at radius 5 + N(0, 1) and 6,000 negative ones at 8 + N(0, 1), mixed; 4,340 to train on and 1,860
# to validate on. `x` is float32 (N, 2), `y` is float32 (N, 1).


# %%
def read(folder: str | None) -> data.Splits:
    return data.load("rare_circles", folder)


# %% [markdown]
# ## 2. Define
#
# ReLU and sigmoid as functions, so the summary has three layers.


# %%
class DNNModel(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.fc1 = nn.Linear(2, 4, rngs=rngs)
        self.fc2 = nn.Linear(4, 8, rngs=rngs)
        self.fc3 = nn.Linear(8, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.sigmoid(self.fc3(x))


def create_net(rngs: nnx.Rngs) -> DNNModel:
    return DNNModel(rngs=rngs)


# %% [markdown]
# ## 3. The focal loss
#
# p is the probability that the net gives the true class. An easy example (p near 1) counts (1 - p)² as much, and the
# rare class three times as much as the other. A loss of one's own is a function; with `where` it can leave out the rows
# that fill up a short last batch.


# %%
def focal_loss(prediction: jax.Array, target: jax.Array, where: jax.Array | None = None) -> jax.Array:
    p = target * prediction + (1 - target) * (1 - prediction)
    bce = F.binary_cross_entropy(prediction, target, reduction="none")
    values = (0.75 * target + 0.25 * (1 - target)) * (1 - p) ** 2 * bce
    return values.mean(where=None if where is None else where[:, None])


# %% [markdown]
# ## 4. The penalties
#
# The tutorial adds 0.001 · Σ |w| + 0.0005 · Σ w² over the weights to the loss. All that training sees of them is their
# gradient, and an optimiser is a function of gradients and parameters: here it adds 0.001 · (sign(w) + w) first.
#
# For L2 alone the tutorial gives each parameter its own weight decay. `optim.groups` is PyTorch's list of dicts:
# `weight_decay()` below is such an optimiser, and takes the place of `penalised_adam()`.


# %%
def penalised_adam() -> optax.GradientTransformation:
    adam = optim.Adam(lr=0.01)

    def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def with_penalty(g: jax.Array, w: jax.Array) -> jax.Array:
            return g + 0.001 * (jnp.sign(w) + w) if w.ndim > 1 else g  # not the biases

        return adam.update(jax.tree.map(with_penalty, gradients, params), state, params)

    return optax.GradientTransformation(adam.init, update)


def weight_decay() -> optax.GradientTransformation:
    groups = [{"params": "*.weight", "weight_decay": 1e-5}, {"params": "*.bias", "weight_decay": 0.0}]
    return optim.groups(groups, partial(optim.SGD, lr=1e-2, momentum=0.9))


# %% [markdown]
# ## 5. Train


# %%
def train(net: DNNModel, splits: data.Splits, epochs: int, optimizer: optax.GradientTransformation) -> engine.History:
    model = jaxport.Model(net)
    model.compile(focal_loss, optimizer, metrics=[metrics.BinaryAccuracy()])
    history = model.fit(splits.train, epochs, validation=splits.val, batch_size=100, seed=0, verbose=0)
    for epoch in range(0, len(history), max(1, len(history) // 10)):
        print("  ".join(f"{name} {column[epoch]:.4g}" for name, column in history.columns.items()))
    return history


# %% [markdown]
# ## 6. Evaluate and use
#
# Beside each other: the true classes, and those that the net predicts.


# %%
def draw(net: DNNModel, splits: data.Splits, path: Path) -> None:
    x, truth = splits.val.x, splits.val.y[:, 0] == 1
    guess = np.asarray(net.eval()(x))[:, 0] > 0.5
    figure = Figure(figsize=(10, 5), dpi=120, layout="constrained")
    for axes, title, positive in zip(figure.subplots(1, 2), ("true", "predicted"), (truth, guess), strict=True):
        axes.scatter(*x[positive].T, s=8, color="#d55e00", label="positive")
        axes.scatter(*x[~positive].T, s=8, color="#0072b2", label="negative")
        axes.set(title=title, aspect="equal")
        axes.legend(frameon=False)
    figure.savefig(path)


# %% [markdown]
# ## 7. Save


# %%
def save(net: DNNModel, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1)).eval()
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    x = splits.val.x
    np.testing.assert_array_equal(clone(x), net.eval()(x))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All steps


# %%
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Focal loss and penalties: chapter 5-3 in JAX.")
    parser.add_argument("--data", metavar="DIR", help="not needed: the points are in the package")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/examples/circles_focal"), help="(%(default)s)"
    )
    parser.add_argument("--smoke", action="store_true", help="two epochs; the score does not count")
    options = parser.parse_args(arguments)
    try:
        splits = read(options.data)
        options.out.mkdir(parents=True, exist_ok=True)
        net = create_net(nnx.Rngs(0))
        print(jaxport.summary(net, (2,)))
        history = train(net, splits, 2 if options.smoke else 30, penalised_adam())
        other = train(create_net(nnx.Rngs(0)), splits, 2 if options.smoke else 30, weight_decay())
        print(f"with weight decay instead: {other.columns['val_accuracy'][-1]:.4f}")
        accuracy = history.columns["val_accuracy"][-1]
        viz.plot_history(history.columns, options.out / "history.png", "circles_focal: training")
        draw(net, splits, options.out / "rings.png")
        save(net, splits, options.out / "weights.safetensors")
    except (jaxport.errors.JaxportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.smoke:
        return 0 if np.isfinite(history.columns["val_loss"][-1]) else 1
    if not EXPECTED[0] <= accuracy <= EXPECTED[1]:
        print(f"missed: validation accuracy {accuracy:.4f} is not within {EXPECTED}", file=sys.stderr)
        return 1
    return 0


# %%
if __name__ == "__main__":
    if "ipykernel" in sys.modules:  # in a notebook: the options are the list
        main([])
    else:
        sys.exit(main())
