# %% [markdown]
# # A line through 100,000 points
#
# Section 3.3 of the PyTorch basics in JAX: the loss, the optimiser and the layer come from the library, and the points
# are many.
#
# - Command: `python examples/linreg_100k.py`. The points are in the package; `--smoke` takes fewer updates.
# - Time: about 5 s on two CPU cores.
# - Score: a loss between 0.116 and 0.171 after 10,000 updates. The exit status is 1 if it is missed.

# %%
from pathlib import Path

import jax
from flax import nnx

import jaxport
from jaxport import chapter, data, engine, nn, optim, viz

# %% [markdown]
# ## 1. Data
#
# y = x + 1.2 · U(0, 1), x evenly from -3 to 3. The noise has mean 0.6 and variance 1.2² / 12 = 0.12, so the line is
# y = x + 0.6 and the loss 0.12.


# %%
def read() -> data.Splits:
    return data.load("line")


# %% [markdown]
# ## 2. Define


# %%
class LR(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.linear = nn.Linear(1, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        return self.linear(x)


def create_net(rngs: nnx.Rngs) -> LR:
    return LR(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# All points in each step, as in the tutorial. They are on the device once (PyTorch: `inputs.cuda()`), and all updates
# are one compiled loop.


# %%
def train(net: LR, splits: data.Splits, updates: int) -> engine.History:
    return jaxport.fit(net, splits.train, loss=nn.MSELoss(), optimizer=optim.SGD(lr=1e-4), epochs=updates)


# %% [markdown]
# ## 4. Evaluate and use
#
# `evaluate` measures the net after the last update; the history has the loss before each.


# %%
def evaluate(net: LR, splits: data.Splits, history: engine.History, path: Path) -> dict[str, float]:
    print(history)
    result = jaxport.evaluate(net, splits.train, loss=nn.MSELoss())
    print(f"loss {result['loss']:.6f} at the end")
    viz.plot_fit(*splits.train, net(splits.train.x), history["loss"], path)
    return result


# %% [markdown]
# ## 5. Save, and all steps


# %%
@chapter.command("A line through 100,000 points, in JAX.", expected={"loss": (0.116, 0.171)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(), create_net(nnx.Rngs(0))
    history = train(net, splits, updates=20 if options.smoke else 10_000)
    result = evaluate(net, splits, history, options.out / "line.png")
    chapter.save(net, create_net(nnx.Rngs(1)), splits.train.x, options.out / "weights.safetensors")
    return result


# %%
main.start(__name__)
