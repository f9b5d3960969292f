# %% [markdown]
# # Two clusters of points
#
# Section 5 of the PyTorch basics in JAX: logistic regression.
#
# - Command: `python examples/two_clusters.py`. The points are in the package; `--smoke` takes fewer updates.
# - Time: about 10 s on two CPU cores.
# - Score: accuracy of at least 0.99 after 1,000 updates. The exit status is 1 if it is missed.

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
from jaxport.nn import functional as F

EXPECTED = (0.99, 1.0)

# %% [markdown]
# ## 1. Data
#
# 500 points about (4, 4) and 500 about (-4, -4), deviation 2. `x` is float32 (1000, 2), `y` is int32 (1000,).


# %%
def read(folder: str | None) -> data.Splits:
    return data.load("two_clusters", folder)


# %% [markdown]
# ## 2. Define
#
# The tutorial sends the sigmoid's outputs through the cross-entropy, which takes them for logits and applies a softmax.
# So the loss cannot fall below log(1 + 1/e) = 0.313, and the classes come out right all the same.


# %%
class Net(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.linear = nn.Linear(2, 2, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        return F.sigmoid(self.linear(x))


def create_net(rngs: nnx.Rngs) -> Net:
    return Net(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# All points in each step, and all updates in one compiled loop.


# %%
def train(net: Net, splits: data.Splits, updates: int) -> engine.History:
    history = jaxport.fit(
        net,
        splits.train,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.SGD(lr=0.02),
        metrics=[metrics.Accuracy()],
        epochs=updates,
    )
    for update in range(0, updates, max(1, updates // 5)):
        loss, accuracy = (history.columns[name][update] for name in ("loss", "accuracy"))
        print(f"update {update:6,}: loss {loss:.4f}  accuracy {accuracy:.4f}")
    return history


# %% [markdown]
# ## 4. Evaluate and use
#
# `argmax` is the second result of the tutorial's `torch.max(output, 1)`. Wrong points are black.


# %%
def use(net: Net, splits: data.Splits, path: Path) -> float:
    x, y = splits.train
    guesses = np.asarray(net.eval()(x)).argmax(axis=1)
    figure = Figure(figsize=(6, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(splits.classes):
        axes.scatter(*x[(guesses == number) & (y == number)].T, s=10, label=name)
    axes.scatter(*x[guesses != y].T, s=14, color="black", label="wrong")
    accuracy = float((guesses == y).mean())
    axes.set(title=f"accuracy {accuracy:.4f}", xlabel="x1", ylabel="x2")
    axes.legend(frameon=False)
    figure.savefig(path)
    print(f"accuracy {accuracy:.4f}")
    return accuracy


# %% [markdown]
# ## 5. Save


# %%
def save(net: Net, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1)).eval()
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    x = splits.train.x
    np.testing.assert_array_equal(clone(x), net.eval()(x))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All steps


# %%
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Two clusters of points, in JAX.")
    parser.add_argument("--data", metavar="DIR", help="not needed: the points are in the package")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/examples/two_clusters"), help="(%(default)s)"
    )
    parser.add_argument("--smoke", action="store_true", help="fewer updates; the score does not count")
    options = parser.parse_args(arguments)
    try:
        splits = read(options.data)
        options.out.mkdir(parents=True, exist_ok=True)
        net = create_net(nnx.Rngs(0))
        history = train(net, splits, updates=20 if options.smoke else 1_000)
        viz.plot_history(history.columns, options.out / "history.png", "two_clusters: training")
        accuracy = use(net, splits, options.out / "clusters.png")
        save(net, splits, options.out / "weights.safetensors")
    except (jaxport.errors.JaxportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.smoke:
        return 0 if np.isfinite(accuracy) else 1
    if not EXPECTED[0] <= accuracy <= EXPECTED[1]:
        print(f"missed: accuracy {accuracy:.4f} is not within {EXPECTED}", file=sys.stderr)
        return 1
    return 0


# %%
if __name__ == "__main__":
    if "ipykernel" in sys.modules:  # in a notebook: the options are the list
        main([])
    else:
        sys.exit(main())
