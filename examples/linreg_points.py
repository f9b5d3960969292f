# %% [markdown]
# # A line through fifteen points, from two raw numbers
#
# Section 3 of the hands-on notes: y = w x + b with w and b as bare parameters, and gradient descent on the mean squared
# error. `jaxport.random.torch_rngs(2019)` in place of `nnx.Rngs(0)` starts from the w of the notes, -0.1187.
#
# - Command: `python examples/linreg_points.py`. The points are in the package; `--smoke` takes fewer updates.
# - Time: about 5 s on two CPU cores.
# - Score: a loss between 0.17 and 0.3 after 32 updates. The exit status is 1 if it is missed.

# %%
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import data, engine, nn, optim
from jaxport.nn import functional as F

EXPECTED = (0.17, 0.3)

# %% [markdown]
# ## 1. Data
#
# The points are listed in the notes; `x` and `y` are float32 (15, 1).


# %%
def read(folder: str | None) -> data.Splits:
    return data.load("fifteen", folder)


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
    history = jaxport.fit(net, splits.train, loss=nn.MSELoss(), optimizer=optim.SGD(lr=1e-2), epochs=updates)
    losses = history.columns["loss"]
    for update in range(0, updates, max(1, updates // 5)):
        print(f"update {update:6,}: loss {losses[update]:.5f}")
    return history


# %% [markdown]
# ## 4. Evaluate and use


# %%
def draw(net: LinearRegression, splits: data.Splits, losses: list[float], path: Path) -> None:
    x, y = splits.train
    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    points, curve = figure.subplots(1, 2)
    some = np.linspace(0, len(x) - 1, min(len(x), 1000)).astype(int)
    points.scatter(x[some], y[some], s=6, color="#0072b2", label="points")
    at = np.linspace(x.min(), x.max(), 200, dtype=np.float32)[:, None]
    points.plot(at, net(at), color="#d55e00", linewidth=2, label="model")
    points.set(title=f"after {len(losses):,} updates", xlabel="x", ylabel="y")
    points.legend(frameon=False)
    curve.semilogy(np.arange(1, len(losses) + 1), losses, color="#0072b2")
    curve.set(title=f"loss, {losses[-1]:.5f} at the end", xlabel="update", ylabel="mean squared error")
    figure.savefig(path)


# %% [markdown]
# ## 5. Save


# %%
def save(net: LinearRegression, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1))
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    x = splits.train.x[:20]
    np.testing.assert_array_equal(clone(x), net(x))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All steps


# %%
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A line through fifteen points, in JAX.")
    parser.add_argument("--data", metavar="DIR", help="not needed: the points are in the package")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/examples/linreg_points"), help="(%(default)s)"
    )
    parser.add_argument("--smoke", action="store_true", help="fewer updates; the score does not count")
    options = parser.parse_args(arguments)
    try:
        splits = read(options.data)
        options.out.mkdir(parents=True, exist_ok=True)
        net = create_net(nnx.Rngs(0))
        history = train(net, splits, updates=5 if options.smoke else 32)
        loss = jaxport.evaluate(net, splits.train, loss=nn.MSELoss())["loss"]
        print(f"loss {loss:.6f} at the end")
        draw(net, splits, history.columns["loss"], options.out / "line.png")
        save(net, splits, options.out / "weights.safetensors")
    except (jaxport.errors.JaxportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.smoke:
        return 0 if np.isfinite(loss) else 1
    if not EXPECTED[0] <= loss <= EXPECTED[1]:
        print(f"missed: loss {loss:.4f} is not within {EXPECTED}", file=sys.stderr)
        return 1
    return 0


# %%
if __name__ == "__main__":
    if "ipykernel" in sys.modules:  # in a notebook: the options are the list
        main([])
    else:
        sys.exit(main())
