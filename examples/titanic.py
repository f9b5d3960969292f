# %% [markdown]
# # Who survived the Titanic
#
# Chapter 1-1 of the 20-day tutorial (structured data) in JAX: fifteen numbers about a passenger go in, the
# probability of survival comes out. The six steps are the tutorial's: data, define, train, evaluate, use, save.
#
# - Command: `python examples/titanic.py --data DIR`, where DIR holds `titanic/train.csv` and `titanic/test.csv`
#   (default: `$JAXPORT_DATA`). `--smoke` needs no data and takes a few seconds.
# - Time: about 8 s on two CPU cores.
# - Score: validation accuracy between 0.767 and 0.836. The exit status is 1 if it is missed.

# %%
from pathlib import Path

import numpy as np
from flax import nnx
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.data.titanic import FEATURES

# %% [markdown]
# ## 1. Data
#
# The reader does what the tutorial does with pandas: class, sex and port of embarkation become one-hot columns, a
# missing age becomes 0 with a flag beside it, and a missing cabin is a flag alone. It returns NumPy arrays: `x` is
# float32 (N, 15) and `y` is float32 (N, 1), for 712 passengers to train on and 179 to validate on.
#
# There is no `TensorDataset` and no `DataLoader`. The arrays are small, so `fit` puts them on the device once and
# picks each batch there.


# %%
def read(options: chapter.Options) -> data.Splits:
    return options.load("titanic", smoke=200)


# %% [markdown]
# Three pictures before any model: how many died and survived, how old the passengers were, and whether age and
# survival go together. They do for children, whose share among the survivors is larger.


# %%
def explore(splits: data.Splits, path: Path) -> None:
    x, survived = splits.train.x, splits.train.y[:, 0] == 1
    age, known = x[:, FEATURES.index("Age")], x[:, FEATURES.index("Age_null")] == 0
    figure = Figure(figsize=(13, 3.8), dpi=120, layout="constrained")
    counts, ages, density = figure.subplots(1, 3)

    bars = counts.bar(splits.classes, [int((~survived).sum()), int(survived.sum())], color=["#777777", "#0072b2"])
    counts.bar_label(bars)
    counts.margins(y=0.12)  # room for the numbers
    counts.set(title="training passengers", ylabel="count")

    ages.hist(age[known], bins=20, color="#8172b3", edgecolor="white")
    ages.set(title=f"age, where it is known ({known.sum()} of {len(age)})", xlabel="age in years", ylabel="count")

    years = np.linspace(0, 80, 200)
    for name, chosen, color in ((splits.classes[0], ~survived, "#777777"), (splits.classes[1], survived, "#0072b2")):
        density.plot(years, gaussian_kde(age[known & chosen])(years), color=color, label=name)
    density.set(title="density of age", xlabel="age in years", ylabel="density per year")
    density.legend(frameon=False)
    figure.savefig(path)


# %% [markdown]
# ## 2. Define
#
# The network is written as in PyTorch, layer by layer under the same names, so its `state_dict` has PyTorch's keys.
# One argument is new: `rngs`. PyTorch draws the initial weights from a global generator; JAX has none, so the layers
# are handed one. The initial distributions are PyTorch's.


# %%
def create_net(rngs: nnx.Rngs) -> nn.Sequential:
    net = nn.Sequential()
    net.add_module("linear1", nn.Linear(15, 20, rngs=rngs))
    net.add_module("relu1", nn.ReLU())
    net.add_module("linear2", nn.Linear(20, 15, rngs=rngs))
    net.add_module("relu2", nn.ReLU())
    net.add_module("linear3", nn.Linear(15, 1, rngs=rngs))
    net.add_module("sigmoid", nn.Sigmoid())
    return net


# %% [markdown]
# ## 3. Train
#
# The tutorial's loop (clear the gradients, forward, loss, backward, step, log) is one call. What differs inside:
#
# - There is no `zero_grad()` and no `backward()`: gradients are the value of a function, not a field of the weights.
# - `optim.Adam(lr=0.01)` gets no parameters. It is a pair of pure functions, and `fit` passes the weights to them.
# - All ten epochs are compiled into one loop on the device; nothing is printed while it runs.
# - The tutorial averages the batches' accuracies. 179 = 22 · 8 + 3, so there the last three passengers count as much
#   as eight. Here every passenger counts once.


# %%
def train(net: nn.Sequential, splits: data.Splits, epochs: int) -> engine.History:
    history = jaxport.fit(
        net,
        splits.train,
        loss=nn.BCELoss(),
        optimizer=optim.Adam(lr=0.01),
        metrics=[metrics.BinaryAccuracy()],
        epochs=epochs,
        batch_size=8,
        validation=splits.val,
    )
    print(history)
    return history


# %% [markdown]
# ## 4. Evaluate
#
# The curves of loss and accuracy, and the validation numbers of the trained net. `evaluate` uses evaluation mode by
# itself: no `net.eval()` and no `torch.no_grad()`. JAX computes no gradient that nobody asked for.


# %%
def evaluate(net: nn.Sequential, splits: data.Splits, history: engine.History, path: Path) -> dict[str, float]:
    viz.plot_history(history.columns, path, "titanic: training")
    result = jaxport.evaluate(
        net, splits.val, loss=nn.BCELoss(), metrics=[metrics.BinaryAccuracy()], batch_size=len(splits.val.x)
    )
    print(f"validation: loss {result['loss']:.4f}  accuracy {result['accuracy']:.4f}")
    return result


# %% [markdown]
# ## 5. Use
#
# The net is called like a PyTorch module. It takes NumPy or JAX arrays and returns a JAX array.


# %%
def use(net: nn.Sequential, splits: data.Splits) -> None:
    probabilities = np.asarray(net.eval()(splits.val.x[:10]))[:, 0]
    for probability, truth in zip(probabilities, splits.val.y[:10, 0], strict=True):
        guess = splits.classes[int(probability > 0.5)]
        print(f"survives with probability {probability:.4f}: {guess:8}  (in truth {splits.classes[int(truth)]})")


# %% [markdown]
# ## 6. Save
#
# `state_dict` gives NumPy arrays under PyTorch's keys. The tutorial pickles them; a `.safetensors` file holds numbers
# only, and PyTorch reads it too. A new net with other weights, filled from the file, predicts the same to the bit.


# %%
def save(net: nn.Sequential, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1)).eval()
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    np.testing.assert_array_equal(clone(splits.val.x), net.eval()(splits.val.x))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All six steps


# %%
@chapter.command("Who survived the Titanic: chapter 1-1 in JAX.", expected={"val_accuracy": (0.767, 0.836)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(options), create_net(nnx.Rngs(0))
    explore(splits, options.out / "exploration.png")
    print(net, jaxport.summary(net, (15,)), sep="\n")
    history = train(net, splits, epochs=2 if options.smoke else 10)
    result = evaluate(net, splits, history, options.out / "history.png")
    use(net, splits)
    save(net, splits, options.out / "weights.safetensors")
    return {"val_accuracy": result["accuracy"]}


# %%
main.start(__name__)
