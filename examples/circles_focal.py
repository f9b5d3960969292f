# %% [markdown]
# # Two rings of points, one of them rare
#
# Chapter 5-3 of the 20-day tutorial: the focal loss, and L1 and L2 penalties on the weights. The net is that of
# `circles.py`.
#
# - Command: `python examples/circles_focal.py`. The points are in the package; `--smoke` takes fewer epochs.
# - Time: about 7 s on two CPU cores.
# - Score: validation accuracy between 0.966 and 0.99; 0.966 is what calling all points negative gets, and what one
#   first weight in five ends with, in PyTorch too. The exit status is 1 if it is missed.

# %%
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.nn import functional as F

# %% [markdown]
# ## 1. Data
#
# 200 positive points at radius 5 + N(0, 1) and 6,000 negative ones at 8 + N(0, 1), mixed; 4,340 to train on and 1,860
# to validate on. `x` is float32 (N, 2), `y` is float32 (N, 1).


# %%
def read() -> data.Splits:
    return data.load("rare_circles")


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
# rare class three times as much as the other: `compare_losses` prints that an easy pair of examples falls to 0.005 of
# its cross-entropy, and a hard one to 0.125. A loss of one's own is a function; with `where` it can leave out the rows
# that fill up a short last batch.


# %%
def focal_loss(prediction: jax.Array, target: jax.Array, where: jax.Array | None = None) -> jax.Array:
    p = target * prediction + (1 - target) * (1 - prediction)
    bce = F.binary_cross_entropy(prediction, target, reduction="none")
    values = (0.75 * target + 0.25 * (1 - target)) * (1 - p) ** 2 * bce
    return values.mean(where=None if where is None else where[:, None])


def compare_losses() -> None:
    target = jnp.array([[1.0], [0.0]])
    for name, prediction in ("hard", jnp.array([[0.5], [0.5]])), ("easy", jnp.array([[0.9], [0.1]])):
        focal, bce = focal_loss(prediction, target), F.binary_cross_entropy(prediction, target)
        print(f"{name} examples: focal loss {focal:.4f}, binary cross-entropy {bce:.4f}")


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

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def with_penalty(g: jax.Array, w: jax.Array) -> jax.Array:
            return g + 0.001 * (jnp.sign(w) + w) if w.ndim > 1 else g  # not the biases

        return adam.update(jax.tree.map(with_penalty, updates, params), state, params)

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
    return model.fit(splits.train, epochs, validation=splits.val, batch_size=100, seed=0, verbose=0)


# %% [markdown]
# ## 6. Evaluate and use
#
# Beside each other: the true classes, and those that the net predicts.


# %%
def draw(net: DNNModel, splits: data.Splits, path: Path) -> None:
    x, y = splits.val
    viz.plot_classes(x, y, net.eval()(x) > 0.5, path, classes=("negative", "positive"))


# %% [markdown]
# ## 7. Save, and all steps


# %%
@chapter.command("Focal loss and penalties: chapter 5-3 in JAX.", expected={"val_accuracy": (0.966, 0.99)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net, epochs = read(), create_net(nnx.Rngs(0)), 2 if options.smoke else 30
    print(jaxport.summary(net, (2,)))
    compare_losses()
    history = train(net, splits, epochs, penalised_adam())
    print(history)
    viz.plot_history(history.columns, options.out / "history.png", "circles_focal: training")
    draw(net, splits, options.out / "rings.png")
    other = train(create_net(nnx.Rngs(0)), splits, epochs, weight_decay())
    print(f"with weight decay instead: {other['val_accuracy'][-1]:.4f}")
    chapter.save(net, create_net(nnx.Rngs(1)), splits.val.x, options.out / "weights.safetensors")
    return {"val_accuracy": history["val_accuracy"][-1]}


# %%
main.start(__name__)
