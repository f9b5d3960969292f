# %% [markdown]
# # Handwritten digits with SGD by hand
#
# Section 4 of the hands-on notes in JAX: one hidden layer, and stochastic gradient descent in two lines.
#
# - Command: `python examples/mnist_sgd.py --data DIR`, where DIR holds `mnist` (default:
#   `$JAXPORT_DATA`). `--smoke` needs no data and takes a few seconds.
# - Time: about 10 s on two CPU cores.
# - Score: mean training loss over the epoch between 0.875 and 0.935. The exit status is 1 if it is missed.

# %%
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import data, metrics, nn
from jaxport.data import to_float

EXPECTED = (0.875, 0.935)
criterion = nn.CrossEntropyLoss()


def to_signed(x: Any) -> Any:
    """Bring pixels to [-1, 1]."""
    return (to_float(x) - 0.5) / 0.5


# %% [markdown]
# ## 1. Data
#
# `x` is uint8 (N, 1, 28, 28), `y` is int32 (N,). Pixels stay bytes until a batch is used.


# %%
def read(folder: str | None, smoke: bool) -> data.Splits:
    if smoke:
        return data.DATASETS["mnist"].synthetic(300, np.random.default_rng(0))
    return data.load("mnist", folder)


# %% [markdown]
# ## 2. Define


# %%
def create_net(rngs: nnx.Rngs) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 200, rngs=rngs), nn.ReLU(), nn.Linear(200, 10, rngs=rngs))


# %% [markdown]
# ## 3. Train
#
# The notes change `param.data` in place, parameter by parameter. Here the parameters are a tree of arrays, and
# `jax.tree.map` makes the new tree: p - lr · g. `nnx.split` takes the net apart, `nnx.merge` puts it together.


# %%
@jax.jit(static_argnums=0)
def step(graph: Any, params: Any, x: jax.Array, y: jax.Array, lr: float) -> tuple[Any, jax.Array]:
    def loss_of(params: Any) -> jax.Array:
        return criterion(nnx.merge(graph, params)(to_signed(x)), y)

    loss, gradients = jax.value_and_grad(loss_of)(params)
    return jax.tree.map(lambda p, g: p - lr * g, params, gradients), loss


def train(net: nn.Sequential, splits: data.Splits, batch_size: int = 100, lr: float = 1e-2) -> list[float]:
    graph, params = nnx.split(net)
    order, losses = np.random.default_rng(0).permutation(len(splits.train.x)), []
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        params, loss = step(graph, params, splits.train.x[chosen], splits.train.y[chosen], lr)
        losses.append(loss)
    nnx.update(net, params)
    return np.array(jax.device_get(losses)).tolist()


def draw(losses: list[float], path: Path) -> None:
    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.semilogy(losses[::10], color="#0072b2")
    axes.set(title="every tenth batch's loss", xlabel="batch / 10", ylabel="cross-entropy")
    figure.savefig(path)


# %% [markdown]
# ## 4. Evaluate and use
#
# The validation part, and nine of its pictures, wrong ones first.


# %%
def use(net: nn.Sequential, splits: data.Splits, path: Path) -> dict[str, float]:
    loss, measures = nn.CrossEntropyLoss(), [metrics.Accuracy()]
    result = jaxport.evaluate(net, splits.val, loss=loss, metrics=measures, batch_size=100, prepare=to_signed)
    print(f"validation: loss {result['loss']:.4f}  accuracy {result['accuracy']:.4f}")
    x, y = splits.val.x[:500], splits.val.y[:500]
    guesses = np.asarray(net.eval()(to_signed(x))).argmax(axis=1)
    figure = Figure(figsize=(6, 6.8), dpi=120, layout="constrained")
    chosen = np.argsort(guesses == y, kind="stable")[:9]
    for axes, i in zip(figure.subplots(3, 3).flat, chosen, strict=True):
        axes.imshow(x[i, 0], cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(f"{splits.classes[guesses[i]]}\nis {splits.classes[y[i]]}", fontsize=9)
        axes.set_axis_off()
    figure.savefig(path)
    return result


# %% [markdown]
# ## 5. Save


# %%
def save(net: nn.Sequential, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1)).eval()
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    x = to_signed(splits.val.x[:20])
    np.testing.assert_array_equal(clone(x), net.eval()(x))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All steps


# %%
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Handwritten digits with SGD by hand, in JAX.")
    parser.add_argument("--data", metavar="DIR", help="folder of the data sets (default: $JAXPORT_DATA)")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/examples/mnist_sgd"), help="(%(default)s)"
    )
    parser.add_argument("--smoke", action="store_true", help="a few seconds on made-up data; the score does not count")
    options = parser.parse_args(arguments)
    try:
        splits = read(options.data, options.smoke)
        options.out.mkdir(parents=True, exist_ok=True)
        net = create_net(nnx.Rngs(0))
        print(net, jaxport.summary(net, (1, 28, 28)), sep="\n")
        losses = train(net, splits)
        loss = float(np.mean(losses))
        print(f"mean loss over the epoch {loss:.6f}")
        draw(losses, options.out / "history.png")
        result = use(net, splits, options.out / "predictions.png")
        save(net, splits, options.out / "weights.safetensors")
    except (jaxport.errors.JaxportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.smoke:
        return 0 if np.isfinite(result["loss"]) else 1
    if not EXPECTED[0] <= loss <= EXPECTED[1]:
        print(f"missed: mean training loss over the epoch {loss:.4f} is not within {EXPECTED}", file=sys.stderr)
        return 1
    return 0


# %%
if __name__ == "__main__":
    if "ipykernel" in sys.modules:  # in a notebook: the options are the list
        main([])
    else:
        sys.exit(main())
