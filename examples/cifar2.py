# %% [markdown]
# # Airplanes and automobiles
#
# Chapter 1-2 of the 20-day tutorial (pictures) in JAX: a 32 × 32 colour picture goes in, the probability of an
# automobile comes out. The six steps are the tutorial's; training is written in its function style.
#
# - Command: `python examples/cifar2.py --data DIR`, where DIR holds `cifar2/train` and `cifar2/test` with a folder for
#   each class (default: `$JAXPORT_DATA`). `--smoke` needs no data and takes a few seconds.
# - Time: about 220 s on two CPU cores.
# - Score: area under the ROC curve of the validation part, at least 0.91. The exit status is 1 if it is missed.

# %%
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.data import to_float
from jaxport.engine import compile_function

# %% [markdown]
# ## 1. Data
#
# The reader does the work of `ImageFolder` and the `DataLoader`'s processes: 12,000 JPEG files are decoded once, on all
# cores, and kept as one array for the next start. `x` is uint8 (N, 3, 32, 32); pixels become floats on the device. The
# labels become a column of floats, which BCE takes.


# %%
def read(options: chapter.Options) -> data.Splits:
    return options.load("cifar2", smoke=60)


# %% [markdown]
# ## 2. Define
#
# A class, as in the tutorial. One `pool` serves twice, since it has no weights.


# %%
class Net(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv1 = nn.Conv2d(in_channels=3, out_channels=32, kernel_size=3, rngs=rngs)
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv2 = nn.Conv2d(in_channels=32, out_channels=64, kernel_size=5, rngs=rngs)
        self.dropout = nn.Dropout2d(p=0.1, rngs=rngs)
        self.adaptive_pool = nn.AdaptiveMaxPool2d((1, 1))
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(64, 32, rngs=rngs)
        self.relu = nn.ReLU()
        self.linear2 = nn.Linear(32, 1, rngs=rngs)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: jax.Array) -> jax.Array:
        x = self.pool(self.conv1(x))
        x = self.pool(self.conv2(x))
        x = self.flatten(self.adaptive_pool(self.dropout(x)))
        return self.sigmoid(self.linear2(self.relu(self.linear1(x))))


def create_net(rngs: nnx.Rngs) -> Net:
    return Net(rngs=rngs)


# %% [markdown]
# ## 3. Train, in the function style
#
# Two functions, `train_step` and `valid_step`, and a loop that calls them. The tutorial's change the model; these
# return the new state (weights, optimiser, keys of dropout), because compiled functions have no other way. The loss and
# the accuracy of a batch are added to `totals` on the device; the loop reads them once an epoch, where the tutorial's
# `.item()` waits for the device in every step.


# %%
def train_step(task: engine.Task, state: Any, totals: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Any]:
    state, totals, _ = engine.train_step(task, state, totals, engine.Batch(x, y))
    return state, totals


def valid_step(task: engine.Task, state: Any, totals: Any, x: jax.Array, y: jax.Array) -> Any:
    return engine.eval_step(task, state.params, state.rest, totals, engine.Batch(x, y))


def train_model(net: Net, splits: data.Splits, epochs: int, batch_size: int = 50) -> dict[str, list[float]]:
    task = engine.make_task(net, nn.BCELoss(), optim.SGD(lr=0.01), [metrics.BinaryAccuracy()], prepare=to_float)
    state, totals = engine.create_state(net, task.optimizer), engine.empty_totals(task.metrics)
    first = next(batches(splits.train, np.arange(batch_size), batch_size))
    one_step, _ = compile_function(lambda *args: train_step(task, *args), state, totals, *first, donate=(0, 1))
    one_check, _ = compile_function(lambda *args: valid_step(task, *args), state, totals, *first, donate=(1,))

    rng, history = np.random.default_rng(0), {}
    for epoch in range(1, epochs + 1):
        totals, val_totals = engine.empty_totals(task.metrics), engine.empty_totals(task.metrics)
        for x, y in batches(splits.train, rng.permutation(len(splits.train.x)), batch_size):
            state, totals = one_step(state, totals, x, y)
        for x, y in batches(splits.val, np.arange(len(splits.val.x)), batch_size):
            val_totals = one_check(state, val_totals, x, y)
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        row = dict(zip(names, (*read_totals(task, totals), *read_totals(task, val_totals)), strict=True))
        for name, value in {"epoch": epoch, **row}.items():
            history.setdefault(name, []).append(value)
        print(f"epoch {epoch:2}  " + "  ".join(f"{name} {value:.4f}" for name, value in row.items()))
    nnx.update(net, state.params, state.rest)
    return history


def batches(part: data.Arrays, order: np.ndarray, size: int) -> Any:
    for start in range(0, len(order) - size + 1, size):  # 10,000 and 2,000 are multiples of 50
        chosen = order[start : start + size]
        yield jnp.asarray(part.x[chosen]), jnp.asarray(part.y[chosen, None], jnp.float32)


def read_totals(task: engine.Task, totals: engine.Totals) -> tuple[float, float]:
    return float(metrics.Mean().compute(totals.loss)), float(task.metrics[0].compute(totals.metrics[0]))


# %% [markdown]
# ## 4. Evaluate, 5. Use
#
# The curves; the area under the ROC curve, the tutorial's measure, exact over all 2,000 validation pictures (the
# tutorial averages the batches' areas); and nine of them with the net's probabilities.


# %%
def evaluate(net: Net, splits: data.Splits) -> float:
    part, measures = (splits.val.x, splits.val.y[:, None].astype(np.float32)), [metrics.BinaryAUC()]
    found = jaxport.evaluate(net, part, loss=nn.BCELoss(), metrics=measures, batch_size=50, prepare=to_float)
    print(f"validation: loss {found['loss']:.4f}  auc {found['auc']:.4f}")
    return found["auc"]


def use(net: Net, splits: data.Splits, path: Path) -> None:
    chosen = np.linspace(0, len(splits.val.x) - 1, 9).astype(int)
    probabilities = np.asarray(net.eval()(to_float(splits.val.x[chosen])))[:, 0]
    titles = [
        f"{splits.classes[int(p > 0.5)]} ({max(p, 1 - p):.2f})\nis {splits.classes[y]}"
        for p, y in zip(probabilities, splits.val.y[chosen], strict=True)
    ]
    viz.show_samples((splits.val.x[chosen], titles), 9, path)


# %% [markdown]
# ## 6. Save


# %%
def save(net: Net, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1)).eval()
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    pictures = to_float(splits.val.x[:10])
    np.testing.assert_array_equal(clone(pictures), net.eval()(pictures))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All six steps


# %%
@chapter.command("Airplanes and automobiles: chapter 1-2 in JAX.", expected={"val_auc": (0.91, 1.0)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(options), create_net(nnx.Rngs(0))
    viz.show_samples(splits.train, 9, options.out / "pictures.png", classes=splits.classes)
    print(net, jaxport.summary(net, (3, 32, 32)), sep="\n")
    history = train_model(net, splits, *((2, 12) if options.smoke else (20, 50)))
    viz.plot_history(history, options.out / "history.png", "cifar2: training")
    auc = evaluate(net, splits)
    use(net, splits, options.out / "predictions.png")
    save(net, splits, options.out / "weights.safetensors")
    return {"val_auc": auc}


# %%
main.start(__name__)
