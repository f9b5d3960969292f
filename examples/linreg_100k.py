# %% [markdown]
# # A line through 100,000 points
#
# Section 3.3 of the PyTorch basics in JAX: the loss, the optimiser and the layer come from the library, and the points
# are many.
#
# - Command: `python examples/linreg_100k.py`. The points are in the package; `--smoke` takes fewer updates.
# - Time: about 25 s on two CPU cores.
# - Score: a loss between 0.116 and 0.171 after 10,000 updates. The exit status is 1 if it is missed.

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
from jaxport import data, engine, nn, optim

EXPECTED = (0.116, 0.171)

# %% [markdown]
# ## 1. Data
#
# y = x + 1.2 · U(0, 1), x evenly from -3 to 3. The noise has mean 0.6 and variance 1.2² / 12 = 0.12, so the line is
# y = x + 0.6 and the loss 0.12.


# %%
def read(folder: str | None) -> data.Splits:
    return data.load("line", folder)


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
    history = jaxport.fit(net, splits.train, loss=nn.MSELoss(), optimizer=optim.SGD(lr=1e-4), epochs=updates)
    losses = history.columns["loss"]
    for update in range(0, updates, max(1, updates // 5)):
        print(f"update {update:6,}: loss {losses[update]:.5f}")
    return history


# %% [markdown]
# ## 4. Evaluate and use


# %%
def draw(net: LR, splits: data.Splits, losses: list[float], path: Path) -> None:
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
def save(net: LR, splits: data.Splits, path: Path) -> None:
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
    parser = argparse.ArgumentParser(description="A line through 100,000 points, in JAX.")
    parser.add_argument("--data", metavar="DIR", help="not needed: the points are in the package")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/examples/linreg_100k"), help="(%(default)s)"
    )
    parser.add_argument("--smoke", action="store_true", help="fewer updates; the score does not count")
    options = parser.parse_args(arguments)
    try:
        splits = read(options.data)
        options.out.mkdir(parents=True, exist_ok=True)
        net = create_net(nnx.Rngs(0))
        history = train(net, splits, updates=20 if options.smoke else 10_000)
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
