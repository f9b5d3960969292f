# %% [markdown]
# # A curve through points
#
# Section 4 of the PyTorch basics in JAX: one hidden layer of 20 with ReLU fits y = x³ with twenty straight pieces.
#
# - Command: `python examples/cubic.py`. The points are in the package; `--smoke` takes fewer updates.
# - Time: about 7 s on two CPU cores.
# - Score: R² of at least 0.99 after 10,000 updates. The exit status is 1 if it is missed.

# %%
from pathlib import Path

import jax
from flax import nnx

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.nn import functional as F

# %% [markdown]
# ## 1. Data
#
# y = x³ + 1.3 · U(0, 1) at 10,000 x evenly from -3 to 3. The noise has variance 1.3² / 12 = 0.14, which is the least
# loss possible.


# %%
def read() -> data.Splits:
    return data.load("cubic")


# %% [markdown]
# ## 2. Define


# %%
class Net(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.hidden = nn.Linear(1, 20, rngs=rngs)
        self.out = nn.Linear(20, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        return self.out(F.relu(self.hidden(x)))


def create_net(rngs: nnx.Rngs) -> Net:
    return Net(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# All points in each step, and all updates in one compiled loop.


# %%
def train(net: Net, splits: data.Splits, updates: int) -> engine.History:
    return jaxport.fit(net, splits.train, loss=nn.MSELoss(), optimizer=optim.SGD(lr=0.01), epochs=updates)


# %% [markdown]
# ## 4. Evaluate and use
#
# `evaluate` measures the net after the last update; the history has the loss before each.


# %%
def evaluate(net: Net, splits: data.Splits, history: engine.History, path: Path) -> dict[str, float]:
    print(history)
    result = jaxport.evaluate(net, splits.train, loss=nn.MSELoss(), metrics=[metrics.R2Score()])
    print(f"loss {result['loss']:.6f}  R² {result['r2']:.6f} at the end")
    viz.plot_fit(*splits.train, net(splits.train.x), history["loss"], path)
    return result


# %% [markdown]
# ## 5. Save, and all steps


# %%
@chapter.command("A curve through points, in JAX.", expected={"r2": (0.99, 1.0)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(), create_net(nnx.Rngs(0))
    history = train(net, splits, updates=20 if options.smoke else 10_000)
    result = evaluate(net, splits, history, options.out / "curve.png")
    chapter.save(net, create_net(nnx.Rngs(1)), splits.train.x, options.out / "weights.safetensors")
    return result


# %%
main.start(__name__)
