# %% [markdown]
# # Handwritten digits with a hand-written loop
#
# Chapter 6-2 of the 20-day tutorial in JAX: a small convolutional network on MNIST, trained in the tutorial's script
# style. The loop stands here in the open; what happens inside one step is two pure functions of `jaxport.engine`.
# The tutorial's third style, an object that is told to fit, is `jaxport.fit` (`--style fit`).
#
# - Command: `python examples/mnist_cnn.py --data DIR`, where DIR holds `mnist/` with MNIST's four files
#   (default: `$JAXPORT_DATA`). `--smoke` needs no data and takes a few seconds.
# - Time: about 70 s on two CPU cores.
# - Score: validation accuracy of at least 0.965 after 3 epochs. The exit status is 1 if it is missed.

# %%
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import data, engine, metrics, nn, optim, viz
from jaxport.data import to_float
from jaxport.engine.dispatch import compile_function

EXPECTED = (0.965, 1.0)
LEARNING_RATE = 0.01

# %% [markdown]
# ## 1. Data
#
# 60,000 pictures to train on and 10,000 to validate on, uint8 (N, 1, 28, 28). They stay bytes: a quarter of the memory
# of floats. `to_float` makes [0, 1] of a batch where it is used.


# %%
def read(folder: str | None, smoke: bool) -> data.Splits:
    if smoke:
        return data.DATASETS["mnist"].synthetic(72, np.random.default_rng(0))
    return data.load("mnist", folder)


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
# The layers, their names and their arguments are PyTorch's, and so is the layout of the pictures: channels first, also
# on the way into `flatten`. `rngs` gives the initial weights and the dropout masks.


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
# ## 3. Train, in the script style
#
# In PyTorch the loop changes the net and the optimiser in place. JAX compiles pure functions, so the loop carries
# everything that changes in one value and puts it back into the net at the end:
#
# - `state` holds the weights, the dropout generator's keys and Adam's averages. `train_step(task, state, …)` returns
#   the next state: that is `zero_grad`, forward, loss, `backward` and `step` at once.
# - `totals` are the running sums of loss and accuracy. They stay on the device; reading them (the tutorial's `.item()`
#   in every step) would make the loop wait, so it happens at every hundredth step only.
# - `train_step` runs the net in training mode and `eval_step` in evaluation mode. The mode is part of the task, not of
#   the moment: no `net.train()` and `net.eval()` in the loop, and no `torch.no_grad()`.
# - `Batches` stands for the `DataLoader`. The pictures are on the device; each epoch has a new order, and a step picks
#   its 128 pictures. 60,000 = 468 · 128 + 96: the last batch is filled up to 128 and the filling masked, because a
#   program is compiled for one shape.
# - `compile_function` is `jax.jit` ahead of time with the options that make XLA's convolutions fast on CPUs. `donate`
#   lets a step reuse the memory of the state that it replaces.


# %%
def train(net: nn.Sequential, splits: data.Splits, epochs: int, batch_size: int, log_every: int = 100) -> Any:
    task = engine.make_task(
        net, nn.CrossEntropyLoss(), optim.Adam(lr=LEARNING_RATE), [metrics.Accuracy()], prepare=to_float
    )
    train_data, val_data = (engine.Batch(*map(jnp.asarray, part)) for part in (splits.train, splits.val))
    batches = engine.Batches(len(splits.train.x), batch_size, shuffle=True)
    val_batches = engine.Batches(len(splits.val.x), min(batch_size, len(splits.val.x)))

    def one_step(state, totals, data, order, step):
        return engine.train_step(task, state, totals, batches.take(data, order, step))

    def one_check(totals, params, rest, data, order, step):
        return engine.eval_step(task, params, rest, totals, val_batches.take(data, order, step))

    state, totals, key = engine.create_state(net, task.optimizer), engine.empty_totals(task.metrics), jax.random.key(0)
    zero = jnp.int32(0)
    order, val_order = batches.order(key, zero), val_batches.order(key, zero)
    train_step, _ = compile_function(one_step, state, totals, train_data, order, zero, donate=(0, 1))
    check_arguments = (totals, state.params, state.rest, val_data, val_order, zero)
    eval_step, _ = compile_function(one_check, *check_arguments, donate=(0,))

    history: dict[str, list[float]] = {name: [] for name in ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")}
    for epoch in range(epochs):
        order, totals = batches.order(key, jnp.int32(epoch)), engine.empty_totals(task.metrics)
        for step in range(batches.steps):
            state, totals, _ = train_step(state, totals, train_data, order, jnp.int32(step))
            if (step + 1) % log_every == 0:
                loss, accuracy = read_totals(task, totals)
                print(f"[step {step + 1}] loss {loss:.3f}  accuracy {accuracy:.3f}")

        val_totals = engine.empty_totals(task.metrics)
        for step in range(val_batches.steps):
            val_totals = eval_step(val_totals, state.params, state.rest, val_data, val_order, jnp.int32(step))

        row = (epoch + 1, *read_totals(task, totals), *read_totals(task, val_totals))
        for column, value in zip(history.values(), row, strict=True):
            column.append(value)
        print("epoch {}  loss {:.4f}  accuracy {:.4f}  val_loss {:.4f}  val_accuracy {:.4f}".format(*row))

    nnx.update(net, state.params, state.rest)
    return history


def read_totals(task: engine.Task, totals: engine.Totals) -> tuple[float, float]:
    return float(metrics.Mean().compute(totals.loss)), float(task.metrics[0].compute(totals.metrics[0]))


# %% [markdown]
# ## The same with `fit`
#
# `fit` is this loop, with the choice of how the steps are dispatched. From the same seed the numbers are the same.


# %%
def train_with_fit(net: nn.Sequential, splits: data.Splits, epochs: int, batch_size: int) -> Any:
    history = jaxport.fit(
        net,
        splits.train,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.Adam(lr=LEARNING_RATE),
        metrics=[metrics.Accuracy()],
        epochs=epochs,
        batch_size=batch_size,
        validation=splits.val,
        prepare=to_float,
        on_progress=lambda progress: print(f"epoch {progress.epoch}  {progress.row}") if progress.row else None,
    )
    return history.columns


# %% [markdown]
# ## 4. Use
#
# Called directly, the net is in the mode that was set last, as in PyTorch. The picture shows nine validation digits.


# %%
def use(net: nn.Sequential, splits: data.Splits, path: Path) -> None:
    scores = np.asarray(net.eval()(to_float(splits.val.x[:9])))
    names = [splits.classes[i] for i in scores.argmax(axis=1)]
    titles = [f"{name}, in truth {splits.classes[y]}" for name, y in zip(names, splits.val.y[:9], strict=True)]
    show(splits.val.x[:9], titles, path)
    print(f"the first nine: {'; '.join(titles)}")


# %% [markdown]
# ## 5. Save


# %%
def save(net: nn.Sequential, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1)).eval()
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    pictures = to_float(splits.val.x[:32])
    np.testing.assert_array_equal(clone(pictures), net.eval()(pictures))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All steps


# %%
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A convolutional network on MNIST: chapter 6-2 in JAX.")
    parser.add_argument("--data", metavar="DIR", help="folder of the data sets (default: $JAXPORT_DATA)")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/examples/mnist_cnn"), help="(%(default)s)"
    )
    parser.add_argument("--smoke", action="store_true", help="a few seconds on made-up data; the score does not count")
    parser.add_argument(
        "--style", choices=("script", "fit"), default="script", help="who writes the loop (%(default)s)"
    )
    options = parser.parse_args(arguments)
    epochs, batch_size = (2, 16) if options.smoke else (3, 128)
    try:
        splits = read(options.data, options.smoke)
        options.out.mkdir(parents=True, exist_ok=True)
        show(splits.train.x, [f"label {splits.classes[y]}" for y in splits.train.y[:9]], options.out / "pictures.png")
        net = create_net(nnx.Rngs(0))
        print(net, jaxport.summary(net, (1, 28, 28)), sep="\n")
        columns = (train if options.style == "script" else train_with_fit)(net, splits, epochs, batch_size)
        viz.write_csv(columns, options.out / "history.csv")
        viz.plot_history(columns, options.out / "history.png", "mnist_cnn: training")
        use(net, splits, options.out / "predictions.png")
        save(net, splits, options.out / "weights.safetensors")
    except (jaxport.errors.JaxportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.smoke:
        return 0 if np.isfinite(columns["val_loss"][-1]) else 1
    if not EXPECTED[0] <= columns["val_accuracy"][-1] <= EXPECTED[1]:
        print(
            f"missed: validation accuracy {columns['val_accuracy'][-1]:.4f} is not within {EXPECTED}", file=sys.stderr
        )
        return 1
    return 0


# %%
if __name__ == "__main__":
    if "ipykernel" in sys.modules:  # in a notebook: the options are the list
        main([])
    else:
        sys.exit(main())
