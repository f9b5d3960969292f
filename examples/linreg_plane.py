# %% [markdown]
# # A plane through 400 points
#
# Chapters 3-1 to 3-3 of the 20-day tutorial, first half, at the highest of their three levels (`Model.fit`): linear
# regression in two variables, y = x w + b.
#
# - Command: `python examples/linreg_plane.py`. The points are in the package; `--smoke` takes fewer epochs.
# - Time: about 10 s on two CPU cores.
# - Score: a validation loss between 3.5 and 4.5: the noise has variance 4. The exit status is 1 if it is missed.

# %%
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import data, engine, metrics, nn, optim, viz

EXPECTED = (3.5, 4.5)

# %% [markdown]
# ## 1. Data
#
# y = 2 x₁ - 3 x₂ + 10 + N(0, 2²) for 400 points x from U(-5, 5)²; 280 to train on, 120 to validate on. `x` is float32
# (N, 2), `y` is float32 (N, 1).


# %%
def read(folder: str | None) -> data.Splits:
    return data.load("plane", folder)


# %% [markdown]
# ## 2. Define


# %%
class LinearRegression(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.fc = nn.Linear(2, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        return self.fc(x)


def create_net(rngs: nnx.Rngs) -> LinearRegression:
    return LinearRegression(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# In the tutorial the net itself inherits `compile` and `fit`; here `Model` holds a net. The optimiser is not told which
# parameters it has. The mean absolute percentage error is large, since some y are near 0.


# %%
def train(net: LinearRegression, splits: data.Splits, epochs: int) -> engine.History:
    model = jaxport.Model(net)
    model.compile(
        nn.MSELoss(),
        optim.Adam(lr=0.01),
        metrics=[metrics.MeanAbsoluteError(), metrics.MeanAbsolutePercentageError()],
    )
    history = model.fit(splits.train, epochs, validation=splits.val, batch_size=10, seed=0, verbose=0)
    for epoch in range(0, len(history), max(1, len(history) // 10)):
        print("  ".join(f"{name} {column[epoch]:.4g}" for name, column in history.columns.items()))
    return history


# %% [markdown]
# ## 4. Evaluate and use
#
# The points from both sides, with the plane's edge for x₂ = 0 and x₁ = 0.


# %%
def draw(net: LinearRegression, splits: data.Splits, path: Path) -> None:
    weight, bias = (np.asarray(parameter[...]) for parameter in (net.fc.weight, net.fc.bias))
    print(f"w = {weight[0]}, in truth [2, -3]; b = {bias[0]:.4f}, in truth 10")
    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    ends = np.array([-5.0, 5.0])
    for i, axes in enumerate(figure.subplots(1, 2)):
        axes.scatter(splits.train.x[:, i], splits.train.y[:, 0], s=12, color="#0072b2", label="points")
        axes.plot(ends, weight[0, i] * ends + bias[0], color="#d55e00", linewidth=3, label="model")
        axes.set(xlabel=f"x{i + 1}", ylabel="y")
        axes.legend(frameon=False)
    figure.savefig(path)


# %% [markdown]
# ## 5. Save


# %%
def save(net: LinearRegression, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1))
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    x = splits.val.x
    np.testing.assert_array_equal(clone(x), net(x))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All steps


# %%
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A plane through points: chapter 3-3 in JAX.")
    parser.add_argument("--data", metavar="DIR", help="not needed: the points are in the package")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/examples/linreg_plane"), help="(%(default)s)"
    )
    parser.add_argument("--smoke", action="store_true", help="two epochs; the score does not count")
    options = parser.parse_args(arguments)
    try:
        splits = read(options.data)
        options.out.mkdir(parents=True, exist_ok=True)
        net = create_net(nnx.Rngs(0))
        print(jaxport.summary(net, (2,)))
        history = train(net, splits, epochs=2 if options.smoke else 200)
        loss = history.columns["val_loss"][-1]
        viz.plot_history(history.columns, options.out / "history.png", "linreg_plane: training")
        draw(net, splits, options.out / "plane.png")
        save(net, splits, options.out / "weights.safetensors")
    except (jaxport.errors.JaxportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.smoke:
        return 0 if np.isfinite(loss) else 1
    if not EXPECTED[0] <= loss <= EXPECTED[1]:
        print(f"missed: validation loss {loss:.4f} is not within {EXPECTED}", file=sys.stderr)
        return 1
    return 0


# %%
if __name__ == "__main__":
    if "ipykernel" in sys.modules:  # in a notebook: the options are the list
        main([])
    else:
        sys.exit(main())
