# %% [markdown]
# # A line through fifteen points, with a layer
#
# The linear regression of the PyTorch notes: the same fifteen points as in `linreg_points.py`, `nn.Linear` in place of
# raw numbers, and a small learning rate: 60 updates bring the line near the points, and do not end there.
#
# - Command: `python examples/linreg_note.py`. The points are in the package; `--smoke` takes fewer updates.
# - Time: about 3 s on two CPU cores.
# - Score: a loss between 0.16 and 0.65 after 60 updates. The exit status is 1 if it is missed.

# %%
from pathlib import Path

import jax
from flax import nnx

import jaxport
from jaxport import chapter, data, engine, nn, optim, viz

# %% [markdown]
# ## 1. Data
#
# `x` and `y` are float32 (15, 1).


# %%
def read() -> data.Splits:
    return data.load("fifteen")


# %% [markdown]
# ## 2. Define


# %%
class LinearRegression(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.linear = nn.Linear(1, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        return self.linear(x)


def create_net(rngs: nnx.Rngs) -> LinearRegression:
    return LinearRegression(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# With no batch size, a step takes all points.


# %%
def train(net: LinearRegression, splits: data.Splits, updates: int) -> engine.History:
    return jaxport.fit(net, splits.train, loss=nn.MSELoss(), optimizer=optim.SGD(lr=1e-3), epochs=updates)


# %% [markdown]
# ## 4. Evaluate and use
#
# `evaluate` measures the net after the last update; the history has the loss before each.


# %%
def evaluate(net: LinearRegression, splits: data.Splits, history: engine.History, path: Path) -> dict[str, float]:
    print(history)
    result = jaxport.evaluate(net, splits.train, loss=nn.MSELoss())
    print(f"loss {result['loss']:.6f} at the end")
    viz.plot_fit(*splits.train, net(splits.train.x), history["loss"], path)
    return result


# %% [markdown]
# ## 5. Save, and all steps


# %%
@chapter.command("A line through fifteen points with a layer, in JAX.", expected={"loss": (0.16, 0.65)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(), create_net(nnx.Rngs(0))
    history = train(net, splits, updates=5 if options.smoke else 60)
    result = evaluate(net, splits, history, options.out / "line.png")
    chapter.save(net, create_net(nnx.Rngs(1)), splits.train.x, options.out / "weights.safetensors")
    return result


# %%
main.start(__name__)
