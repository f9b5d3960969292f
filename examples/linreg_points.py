# %% [markdown]
# # A line through fifteen points, from two raw numbers
#
# Section 3 of PyTorch in practice in JAX: y = w x + b with w and b as bare parameters, and gradient descent on the mean
# squared error. `jaxport.random.torch_rngs(2019)` in place of `nnx.Rngs(0)` starts from the tutorial's w, -0.1187.
#
# - Command: `python examples/linreg_points.py`. The points are in the package; `--smoke` takes fewer updates.
# - Time: about 3 s on two CPU cores.
# - Score: a loss between 0.17 and 0.3 after 32 updates. The exit status is 1 if it is missed.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx

import jaxport
from jaxport import chapter, data, engine, nn, optim, viz
from jaxport.nn import functional as F

# %% [markdown]
# ## 1. Data
#
# The points are listed there; `x` and `y` are float32 (15, 1).


# %%
def read() -> data.Splits:
    return data.load("fifteen")


# %% [markdown]
# ## 2. Define
#
# w starts from N(0, 1) and b from 0.


# %%
class LinearRegression(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.w = nn.Parameter(jnp.zeros(1))
        self.b = nn.Parameter(jnp.zeros(1))
        nn.init.normal_(self.w, generator=rngs.params())

    def forward(self, x: jax.Array) -> jax.Array:
        return F.linear(x, self.w[...][:, None], self.b[...])  # x w + b


def create_net(rngs: nnx.Rngs) -> LinearRegression:
    return LinearRegression(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# One update before the loop and 31 in it are 32 updates. There is no `w.grad` to be cleared: gradients are returned.
# All updates are one compiled loop.


# %%
def train(net: LinearRegression, splits: data.Splits, updates: int) -> engine.History:
    return jaxport.fit(net, splits.train, loss=nn.MSELoss(), optimizer=optim.SGD(lr=1e-2), epochs=updates)


# %% [markdown]
# ## 4. Evaluate and use
#
# `evaluate` measures the net after the last update; the history has the loss before each. The tutorial
# prints the loss before the first update, and at 0, 10, 20 and 30 of its loop.


# %%
def evaluate(net: LinearRegression, splits: data.Splits, history: engine.History, path: Path) -> dict[str, float]:
    print(*(f"loss {loss:.6f}" for loss in (history["loss"][0], *history["loss"][1::10])), sep="\n")
    result = jaxport.evaluate(net, splits.train, loss=nn.MSELoss())
    print(f"loss {result['loss']:.6f} at the end")
    viz.plot_fit(*splits.train, net(splits.train.x), history["loss"], path)
    return result


# %% [markdown]
# ## 5. Save, and all steps


# %%
@chapter.command("A line through fifteen points, in JAX.", expected={"loss": (0.17, 0.3)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(), create_net(nnx.Rngs(0))
    history = train(net, splits, updates=5 if options.smoke else 32)
    result = evaluate(net, splits, history, options.out / "line.png")
    chapter.save(net, create_net(nnx.Rngs(1)), splits.train.x, options.out / "weights.safetensors")
    return result


# %%
main.start(__name__)
