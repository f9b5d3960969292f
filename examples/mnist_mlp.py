# %% [markdown]
# # Handwritten digits with one hidden layer
#
# The feed-forward network of the PyTorch notes in JAX.
#
# - Command: `python examples/mnist_mlp.py --data DIR`, where DIR holds `mnist` (default:
#   `$JAXPORT_DATA`). `--smoke` needs no data and takes a few seconds.
# - Time: about 60 s on two CPU cores.
# - Score: validation accuracy of at least 0.975. The exit status is 1 if it is missed.

# %%
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import data, engine, metrics, nn, optim, viz
from jaxport.data import to_float

EXPECTED = (0.975, 1.0)

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
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc1", nn.Linear(28 * 28, 500, rngs=rngs))
    net.add_module("relu", nn.ReLU())
    net.add_module("fc2", nn.Linear(500, 10, rngs=rngs))
    return net


# %% [markdown]
# ## 3. Train


# %%
def train(net: nn.Sequential, splits: data.Splits, epochs: int) -> engine.History:
    def log(progress: engine.Progress) -> None:
        if progress.row is not None:
            print(f"epoch {progress.epoch}  " + "  ".join(f"{k} {v:.4f}" for k, v in progress.row.items()))

    return jaxport.fit(
        net,
        splits.train,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.Adam(lr=1e-3),
        metrics=[metrics.Accuracy()],
        epochs=epochs,
        batch_size=100,
        validation=splits.val,
        prepare=to_float,
        on_progress=log,
    )


# %% [markdown]
# ## 4. Evaluate and use
#
# The validation part, and nine of its pictures, wrong ones first.


# %%
def use(net: nn.Sequential, splits: data.Splits, path: Path) -> dict[str, float]:
    loss, measures = nn.CrossEntropyLoss(), [metrics.Accuracy()]
    result = jaxport.evaluate(net, splits.val, loss=loss, metrics=measures, batch_size=100, prepare=to_float)
    print(f"validation: loss {result['loss']:.4f}  accuracy {result['accuracy']:.4f}")
    x, y = splits.val.x[:500], splits.val.y[:500]
    guesses = np.asarray(net.eval()(to_float(x))).argmax(axis=1)
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
    x = to_float(splits.val.x[:20])
    np.testing.assert_array_equal(clone(x), net.eval()(x))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All steps


# %%
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Handwritten digits with one hidden layer, in JAX.")
    parser.add_argument("--data", metavar="DIR", help="folder of the data sets (default: $JAXPORT_DATA)")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/examples/mnist_mlp"), help="(%(default)s)"
    )
    parser.add_argument("--smoke", action="store_true", help="a few seconds on made-up data; the score does not count")
    options = parser.parse_args(arguments)
    try:
        splits = read(options.data, options.smoke)
        options.out.mkdir(parents=True, exist_ok=True)
        net = create_net(nnx.Rngs(0))
        print(net, jaxport.summary(net, (1, 28, 28)), sep="\n")
        history = train(net, splits, epochs=1 if options.smoke else 5)
        viz.plot_history(history.columns, options.out / "history.png", "mnist_mlp: training")
        result = use(net, splits, options.out / "predictions.png")
        save(net, splits, options.out / "weights.safetensors")
    except (jaxport.errors.JaxportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.smoke:
        return 0 if np.isfinite(result["loss"]) else 1
    if not EXPECTED[0] <= result["accuracy"] <= EXPECTED[1]:
        print(f"missed: validation accuracy {result['accuracy']:.4f} is not within {EXPECTED}", file=sys.stderr)
        return 1
    return 0


# %%
if __name__ == "__main__":
    if "ipykernel" in sys.modules:  # in a notebook: the options are the list
        main([])
    else:
        sys.exit(main())
