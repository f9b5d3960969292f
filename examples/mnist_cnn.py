# %% [markdown]
# # Handwritten digits, trained in three styles
#
# Chapter 6-2 of the 20-day tutorial in JAX: a small convolutional network on MNIST. `--level script` writes the loop in
# the open, `--level functions` makes functions of a step of training and of validation, `--level class` tells an object
# to fit. What happens inside one step is a pure function of `jaxport.engine` in all of them.
#
# - Command: `python examples/mnist_cnn.py --data DIR`, where DIR holds `mnist/` with MNIST's four files
#   (default: `$JAXPORT_DATA`). `--smoke` needs no data and takes a few seconds.
# - Time: about 69 s on two CPU cores.
# - Score: validation accuracy after 3 epochs, of at least 0.965 (script), between 0.787 and 0.909 (functions, which
#   learn more slowly: SGD; five seeds of PyTorch reach 0.795 to 0.870) and of at least 0.9 (class, where Adam's large
#   steps make it jump, and one seed in five dies, in PyTorch as here). The exit status is 1 if it is missed.

# %%
from collections.abc import Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.data import to_float
from jaxport.engine import compile_function

Columns = dict[str, list[float]]
COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")

# %% [markdown]
# ## 1. Data
#
# 60,000 pictures to train on and 10,000 to validate on, uint8 (N, 1, 28, 28). They stay bytes: a quarter of the memory
# of floats. `to_float` makes [0, 1] of a batch where it is used.


# %%
def read(options: chapter.Options) -> data.Splits:
    return options.load("mnist", smoke=72)


# %% [markdown]
# ## 2. Define
#
# The layers, their names and their arguments are PyTorch's, and so is the layout of the pictures: channels first, also
# on the way into `flatten`. `rngs` gives the initial weights and the dropout masks. The two other styles have the same
# layers in a list.


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


class Net(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.layers = nn.ModuleList(create_net(rngs).children())

    def forward(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return x


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
def train_script(net: nn.Sequential, splits: data.Splits, epochs: int, batch_size: int) -> Columns:
    task = engine.make_task(net, nn.CrossEntropyLoss(), optim.Adam(lr=0.01), [metrics.Accuracy()], prepare=to_float)
    train_data, val_data = (engine.Batch(*map(jnp.asarray, part)) for part in (splits.train, splits.val))
    batches = engine.Batches(len(splits.train.x), batch_size, shuffle=True)
    val_batches = engine.Batches(len(splits.val.x), min(batch_size, len(splits.val.x)))

    def one_step(state: Any, totals: Any, data: Any, order: Any, step: Any) -> Any:
        return engine.train_step(task, state, totals, batches.take(data, order, step))

    def one_check(totals: Any, params: Any, rest: Any, data: Any, order: Any, step: Any) -> Any:
        return engine.eval_step(task, params, rest, totals, val_batches.take(data, order, step))

    state, totals, key = engine.create_state(net, task.optimizer), engine.empty_totals(task.metrics), jax.random.key(0)
    zero = jnp.int32(0)
    order, val_order = batches.order(key, zero), val_batches.order(key, zero)
    train_step, _ = compile_function(one_step, state, totals, train_data, order, zero, donate=(0, 1))
    check_arguments = (totals, state.params, state.rest, val_data, val_order, zero)
    eval_step, _ = compile_function(one_check, *check_arguments, donate=(0,))

    history: Columns = {name: [] for name in COLUMNS}
    for epoch in range(epochs):
        order, totals = batches.order(key, jnp.int32(epoch)), engine.empty_totals(task.metrics)
        for step in range(batches.steps):
            state, totals, _ = train_step(state, totals, train_data, order, jnp.int32(step))
            if (step + 1) % 100 == 0:
                loss, accuracy = read_totals(task, totals)
                print(f"[step {step + 1}] loss {loss:.3f}  accuracy {accuracy:.3f}")

        val_totals = engine.empty_totals(task.metrics)
        for step in range(val_batches.steps):
            val_totals = eval_step(val_totals, state.params, state.rest, val_data, val_order, jnp.int32(step))

        append(history, (epoch + 1, *read_totals(task, totals), *read_totals(task, val_totals)))

    nnx.update(net, state.params, state.rest)
    return history


def read_totals(task: engine.Task, totals: engine.Totals) -> tuple[float, float]:
    return float(metrics.Mean().compute(totals.loss)), float(task.metrics[0].compute(totals.metrics[0]))


def append(history: Columns, row: Iterable[float]) -> None:
    for name, value in zip(COLUMNS, row, strict=True):
        history[name].append(value)
    print("  ".join(f"{name} {column[-1]:.4g}" for name, column in history.items()))


# %% [markdown]
# ## 4. Train, in the function style
#
# `train_step` and `valid_step` take what they need and return what they change, since compiled functions have no other
# way. The optimiser is SGD here, as in the tutorial, and learns more slowly.


# %%
def train_step(task: engine.Task, plan: engine.Batches, state: Any, totals: Any, part: Any, order: Any, i: Any) -> Any:
    state, totals, _ = engine.train_step(task, state, totals, plan.take(part, order, i))
    return state, totals


def valid_step(task: engine.Task, plan: engine.Batches, state: Any, totals: Any, part: Any, order: Any, i: Any) -> Any:
    return state, engine.eval_step(task, state.params, state.rest, totals, plan.take(part, order, i))


def one_epoch(step: Any, task: engine.Task, plan: engine.Batches, part: Any, state: Any, epoch: int) -> Any:
    order, totals = plan.order(jax.random.key(0), jnp.int32(epoch)), engine.empty_totals(task.metrics)
    for i in range(plan.steps):
        state, totals = step(state, totals, part, order, jnp.int32(i))
    return state, read_totals(task, totals)


def train_functions(net: Net, splits: data.Splits, epochs: int, batch_size: int) -> Columns:
    task = engine.make_task(net, nn.CrossEntropyLoss(), optim.SGD(lr=0.01), [metrics.Accuracy()], prepare=to_float)
    state, history = engine.create_state(net, task.optimizer), {name: [] for name in COLUMNS}
    passes = []
    for step, arrays in (train_step, splits.train), (valid_step, splits.val):
        plan = engine.Batches(len(arrays.x), min(batch_size, len(arrays.x)), shuffle=step is train_step)
        part, order = engine.Batch(*map(jnp.asarray, arrays)), plan.order(jax.random.key(0), jnp.int32(0))
        arguments = (state, engine.empty_totals(task.metrics), part, order, jnp.int32(0))
        compiled, _ = compile_function(partial(step, task, plan), *arguments, donate=(1,))
        passes.append(partial(one_epoch, compiled, task, plan, part))
    for epoch in range(epochs):
        row = [epoch + 1]
        for one_pass in passes:  # training, then validation
            state, logs = one_pass(state, epoch)
            row += logs
        append(history, row)
    nnx.update(net, state.params, state.rest)
    return history


# %% [markdown]
# ## 5. Train, in the class style
#
# `Model` is this loop, with the choice of how the steps are dispatched. With the same optimiser its numbers are those
# of the script.


# %%
def train_class(net: Net, splits: data.Splits, epochs: int, batch_size: int) -> Columns:
    model = jaxport.Model(net)
    model.compile(nn.CrossEntropyLoss(), optim.Adam(lr=0.02), [metrics.Accuracy()], prepare=to_float)
    history = model.fit(splits.train, epochs, validation=splits.val, batch_size=batch_size, seed=0, verbose=0)
    print(history)
    return history.columns


# %% [markdown]
# ## 6. Evaluate, use, save
#
# Called directly, the net is in the mode that was set last, as in PyTorch. The picture shows nine of the first
# validation digits, wrong ones first.


# %%
STYLES = {"script": (create_net, train_script), "functions": (Net, train_functions), "class": (Net, train_class)}


@chapter.command(
    "A convolutional network on MNIST: chapter 6-2 in JAX.",
    levels=tuple(STYLES),
    expected={
        "script": {"val_accuracy": (0.965, 1.0)},
        "functions": {"val_accuracy": (0.787, 0.909)},
        "class": {"val_accuracy": (0.9, 1.0)},
    },
)
def main(options: chapter.Options) -> dict[str, float]:
    splits, (create, train) = read(options), STYLES[options.level]
    net, (x, y) = create(rngs=nnx.Rngs(0)), (part[:500] for part in splits.val)
    viz.show_samples(splits.train, 9, options.out / "pictures.png", classes=splits.classes)
    print(net, jaxport.summary(net, (1, 28, 28)), sep="\n")
    history = train(net, splits, *((2, 16) if options.smoke else (3, 128)))
    viz.write_csv(history, options.out / "history.csv")
    viz.plot_history(history, options.out / "history.png", f"mnist_cnn: training, {options.level} style")
    viz.show_predictions(x, net.eval()(to_float(x)), y, 9, options.out / "predictions.png", classes=splits.classes)
    chapter.save(net, create(rngs=nnx.Rngs(1)), to_float(x[:32]), options.out / "weights.safetensors")
    return {"val_accuracy": history["val_accuracy"][-1]}


# %%
main.start(__name__)
