# %% [markdown]
# # Handwritten digits, without a download
#
# A convolutional network on scikit-learn's 1,797 embedded digits. The net is that of chapter 6-2 of the 20-day
# tutorial (see `mnist_cnn.py`); the data needs no files. The six steps: data, define, train, evaluate, use, save.
#
# - Command: `python examples/digits.py`. `--smoke` takes a few seconds.
# - Time: about 30 s on two CPU cores.
# - Score: validation accuracy of at least 0.97. The exit status is 1 if it is missed.

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

EXPECTED = (0.97, 1.0)

# %% [markdown]
# ## 1. Data
#
# The 8×8 pictures are enlarged to MNIST's 28×28. The axes are PyTorch's: pictures, channels, height, width. Pixels
# stay bytes (uint8) until a batch is used; `to_float` then divides by 255 on the device, as torchvision's `ToTensor`
# does on the host.


# %%
def read(folder: str | None, smoke: bool) -> data.Splits:
    if smoke:
        return data.DATASETS["digits"].synthetic(64, np.random.default_rng(0))
    return data.load("digits", folder)


def show(pictures: np.ndarray, titles: list[str], path: Path) -> None:
    figure = Figure(figsize=(5, 5.6), dpi=120, layout="constrained")
    for axes, picture, title in zip(figure.subplots(3, 3).flat, pictures[:, 0], titles, strict=False):
        axes.imshow(picture, cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    figure.savefig(path)


# %% [markdown]
# ## 2. Define
#
# As in PyTorch, with one more argument: `rngs` is the source of the initial weights and of the dropout masks, since
# JAX has no global generator.


# %%
def create_net(rngs: nnx.Rngs) -> nn.Sequential:
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(in_channels=1, out_channels=32, kernel_size=3, rngs=rngs))
    net.add_module("pool1", nn.MaxPool2d(kernel_size=2, stride=2))
    net.add_module("conv2", nn.Conv2d(in_channels=32, out_channels=64, kernel_size=5, rngs=rngs))
    net.add_module("pool2", nn.MaxPool2d(kernel_size=2, stride=2))
    net.add_module("dropout", nn.Dropout2d(p=0.1, rngs=rngs))
    net.add_module("adaptive_pool", nn.AdaptiveMaxPool2d((1, 1)))
    net.add_module("flatten", nn.Flatten())
    net.add_module("linear1", nn.Linear(64, 32, rngs=rngs))
    net.add_module("relu", nn.ReLU())
    net.add_module("linear2", nn.Linear(32, 10, rngs=rngs))
    return net


# %% [markdown]
# ## 3. Train
#
# One call. 1,437 is not a multiple of 32, and XLA compiles a program for fixed shapes. So the last batch is filled up
# and the filling masked: it counts neither in the loss nor in the accuracy.


# %%
def train(net: nn.Sequential, splits: data.Splits, epochs: int) -> engine.History:
    def log(progress: engine.Progress) -> None:
        if progress.row is not None:
            values = "  ".join(f"{name} {value:.4f}" for name, value in progress.row.items())
            print(f"epoch {progress.epoch:2}  {values}")

    return jaxport.fit(
        net,
        splits.train,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.Adam(lr=0.001),
        metrics=[metrics.Accuracy()],
        epochs=epochs,
        batch_size=32,
        validation=splits.val,
        prepare=to_float,
        on_progress=log,
    )


# %% [markdown]
# ## 4. Evaluate
#
# `evaluate` switches dropout off for its own pass, whatever mode the net is in.


# %%
def evaluate(net: nn.Sequential, splits: data.Splits, history: engine.History, path: Path) -> dict[str, float]:
    viz.plot_history(history.columns, path, "digits: training")
    result = jaxport.evaluate(
        net,
        splits.val,
        loss=nn.CrossEntropyLoss(),
        metrics=[metrics.Accuracy()],
        batch_size=32,
        prepare=to_float,
    )
    print(f"validation: loss {result['loss']:.4f}  accuracy {result['accuracy']:.4f}")
    return result


# %% [markdown]
# ## 5. Use
#
# Called directly, the net is in the mode that was set last, as in PyTorch: `net.eval()` first. The picture shows the
# validation digits that it gets wrong, filled up with right ones.


# %%
def use(net: nn.Sequential, splits: data.Splits, path: Path) -> None:
    guesses = np.asarray(net.eval()(to_float(splits.val.x))).argmax(axis=1)
    chosen = np.argsort(guesses == splits.val.y, kind="stable")[:9]
    titles = [f"{splits.classes[guesses[i]]}, in truth {splits.classes[splits.val.y[i]]}" for i in chosen]
    show(splits.val.x[chosen], titles, path)
    print(f"{(guesses != splits.val.y).sum()} of {len(guesses)} wrong; the first pictures: {'; '.join(titles[:3])}")


# %% [markdown]
# ## 6. Save
#
# Random keys of dropout are not part of a `state_dict`: the file has the eight arrays that PyTorch's net has.


# %%
def save(net: nn.Sequential, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1)).eval()
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    pictures = to_float(splits.val.x[:32])
    np.testing.assert_array_equal(clone(pictures), net.eval()(pictures))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All six steps


# %%
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A convolutional network on scikit-learn's embedded digits.")
    parser.add_argument("--data", metavar="DIR", help="not needed: the digits are embedded")
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("runs/examples/digits"), help="(%(default)s)")
    parser.add_argument("--smoke", action="store_true", help="a few seconds on made-up data; the score does not count")
    options = parser.parse_args(arguments)
    try:
        splits = read(options.data, options.smoke)
        options.out.mkdir(parents=True, exist_ok=True)
        show(splits.train.x, [f"label {splits.classes[y]}" for y in splits.train.y[:9]], options.out / "pictures.png")
        net = create_net(nnx.Rngs(0))
        print(net, jaxport.summary(net, (1, 28, 28)), sep="\n")
        history = train(net, splits, epochs=1 if options.smoke else 20)
        result = evaluate(net, splits, history, options.out / "history.png")
        use(net, splits, options.out / "predictions.png")
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
