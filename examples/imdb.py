# %% [markdown]
# # Film reviews, good or bad
#
# Chapter 1-3 of the 20-day tutorial (texts) in JAX, with the vocabulary of 5-1: the numbers of 200 words go in, the
# probability of a good review comes out. The six steps are the tutorial's.
#
# - Command: `python examples/imdb.py --data DIR`, where DIR holds `imdb/train.tsv` and `imdb/test.tsv`, or the
#   published `aclImdb` (default: `$JAXPORT_DATA`). `--level torchtext` takes the vocabulary of 1-3. `--smoke` needs no
#   data.
# - Time: about 34 s on two CPU cores.
# - Score: validation accuracy between 0.775 and 0.815, with torchtext's vocabulary between 0.75 and 0.777, where
#   PyTorch is on these files. The exit status is 1 if it is missed.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.data import imdb

# %% [markdown]
# ## 1. Data
#
# A vocabulary numbers the 9,998 most frequent words of the training reviews; 0 is any other word and 1 is padding. The
# tutorial builds it in two ways, which differ in how a text is cut and on which side it is padded; the reader has both.
# `x` is int32 (20000, 200), `y` is float32 (20000, 1). A second start reads the numbers from a cache.


# %%
def read(options: chapter.Options) -> data.Splits:
    splits = options.load("imdb", smoke=200)
    return splits if options.smoke else imdb.load(splits.origin, options.level)


def explore(splits: data.Splits, path: Path) -> None:
    lengths = [(splits.train.x[splits.train.y[:, 0] == label] != 1).sum(axis=1) for label in (0, 1)]
    figure = Figure(figsize=(6, 3.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.hist(lengths, bins=20, label=splits.classes)
    axes.set(title="words of a review that the net sees", xlabel="words", ylabel="reviews")
    axes.legend(frameon=False)
    figure.savefig(path)


# %% [markdown]
# ## 2. Define
#
# The vectors of the words come out as (N, 200, 3). Convolutions want the channels first, as in PyTorch. The row of the
# padding in `embedding` is 0, and `padding_idx` keeps it so.


# %%
class Net(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.embedding = nn.Embedding(num_embeddings=10_000, embedding_dim=3, padding_idx=1, rngs=rngs)
        self.conv = nn.Sequential()
        self.conv.add_module("conv_1", nn.Conv1d(in_channels=3, out_channels=16, kernel_size=5, rngs=rngs))
        self.conv.add_module("pool_1", nn.MaxPool1d(kernel_size=2))
        self.conv.add_module("relu_1", nn.ReLU())
        self.conv.add_module("conv_2", nn.Conv1d(in_channels=16, out_channels=128, kernel_size=2, rngs=rngs))
        self.conv.add_module("pool_2", nn.MaxPool1d(kernel_size=2))
        self.conv.add_module("relu_2", nn.ReLU())
        self.dense = nn.Sequential()
        self.dense.add_module("flatten", nn.Flatten())
        self.dense.add_module("linear", nn.Linear(6144, 1, rngs=rngs))
        self.dense.add_module("sigmoid", nn.Sigmoid())

    def forward(self, x: jax.Array) -> jax.Array:
        x = jnp.swapaxes(self.embedding(x), 1, 2)
        return self.dense(self.conv(x))


def create_net(rngs: nnx.Rngs) -> Net:
    return Net(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# The tutorial puts the net into a class with `compile` and `fit`; `jaxport.fit` is a function of the net. The net soon
# learns the training reviews by heart: the loss of the validation reviews rises again while their accuracy stays.


# %%
def train(net: Net, splits: data.Splits, epochs: int) -> engine.History:
    return jaxport.fit(
        net,
        splits.train,
        loss=nn.BCELoss(),
        optimizer=optim.Adagrad(lr=0.02),
        metrics=[metrics.BinaryAccuracy()],
        epochs=epochs,
        batch_size=20,
        validation=splits.val,
        on_progress=chapter.print_epoch,
    )


# %% [markdown]
# ## 4. Evaluate


# %%
def evaluate(net: Net, splits: data.Splits, history: engine.History, path: Path) -> dict[str, float]:
    viz.plot_history(history.columns, path, "imdb: training")
    loss, measures = nn.BCELoss(), [metrics.BinaryAccuracy()]
    result = jaxport.evaluate(net, splits.val, loss=loss, metrics=measures, batch_size=min(500, len(splits.val.x)))
    print(f"validation: loss {result['loss']:.4f}  accuracy {result['accuracy']:.4f}")
    return result


# %% [markdown]
# ## 5. Use
#
# The first validation reviews. For texts of your own: `jaxport predict imdb --weights FILE --text "…"`.


# %%
def use(net: Net, splits: data.Splits) -> None:
    probabilities = np.asarray(net.eval()(splits.val.x[:8]))[:, 0]
    for probability, truth in zip(probabilities, splits.val.y[:8, 0], strict=True):
        print(f"good with probability {probability:.4f}  (in truth {splits.classes[int(truth)]})")


# %% [markdown]
# ## 6. Save


# %%
def save(net: Net, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1)).eval()
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    np.testing.assert_array_equal(clone(splits.val.x[:20]), net.eval()(splits.val.x[:20]))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All six steps


# %%
@chapter.command(
    "Film reviews, good or bad: chapter 1-3 in JAX.",
    levels=("custom", "torchtext"),
    expected={"custom": {"val_accuracy": (0.775, 0.815)}, "torchtext": {"val_accuracy": (0.75, 0.777)}},
)
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(options), create_net(nnx.Rngs(0))
    explore(splits, options.out / "exploration.png")
    print(net, jaxport.summary(net, (200,), jnp.int32), sep="\n")
    history = train(net, splits, epochs=1 if options.smoke else 20)
    result = evaluate(net, splits, history, options.out / "history.png")
    use(net, splits)
    save(net, splits, options.out / "weights.safetensors")
    return {"val_accuracy": result["accuracy"]}


# %%
main.start(__name__)
