# %% [markdown]
# # Two rings of points
#
# Chapters 3-1 to 3-3 of the 20-day tutorial, second half, at the highest of their three levels (`Model.fit`): a small
# network tells the points of an inner ring from those of an outer one.
#
# - Command: `python examples/circles.py`. The points are in the package; `--smoke` takes fewer epochs.
# - Time: about 10 s on two CPU cores.
# - Score: validation accuracy between 0.92 and 0.94: the rings overlap. The exit status is 1 if it is missed.

# %%
from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.nn import functional as F

# %% [markdown]
# ## 1. Data
#
# 2,000 positive points at radius 5 + N(0, 1) and 2,000 negative ones at 8 + N(0, 1), mixed; 2,800 to train on and 1,200
# to validate on. `x` is float32 (N, 2), `y` is float32 (N, 1).


# %%
def read() -> data.Splits:
    return data.load("circles")


# %% [markdown]
# ## 2. Define
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


# %% [markdown]
# ## 3. Train


# %%
def train(net: Net, splits: data.Splits, epochs: int) -> engine.History:
    model = jaxport.Model(net)
    model.compile(nn.BCELoss(), optim.Adam(lr=0.01), metrics=[metrics.BinaryAccuracy()])
    history = model.fit(splits.train, epochs, validation=splits.val, batch_size=100, seed=0, verbose=0)
    for epoch in range(0, len(history), max(1, len(history) // 10)):
        print("  ".join(f"{name} {column[epoch]:.4g}" for name, column in history.columns.items()))
    return history


# %% [markdown]
# ## 4. Evaluate and use
#
# Beside each other: the true classes, and those that the net predicts.


# %%
def draw(net: Net, splits: data.Splits, path: Path) -> None:
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
# ## 5. Save


# %%
def save(net: Net, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1)).eval()
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    x = splits.val.x
    np.testing.assert_array_equal(clone(x), net.eval()(x))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All steps


# %%
@chapter.command("Two rings of points: chapter 3-3 in JAX.", expected={"val_accuracy": (0.92, 0.94)})
def main(options: chapter.Options) -> dict[str, float]:
    splits = read()
    net = create_net(nnx.Rngs(0))
    print(jaxport.summary(net, (2,)))
    history = train(net, splits, epochs=2 if options.smoke else 100)
    viz.plot_history(history.columns, options.out / "history.png", "circles: training")
    draw(net, splits, options.out / "rings.png")
    save(net, splits, options.out / "weights.safetensors")
    return {"val_accuracy": history["val_accuracy"][-1]}


# %%
main.start(__name__)
