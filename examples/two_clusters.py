# %% [markdown]
# # Two clusters of points
#
# Section 5 of the PyTorch basics in JAX: logistic regression.
#
# - Command: `python examples/two_clusters.py`. The points are in the package; `--smoke` takes fewer updates.
# - Time: about 4 s on two CPU cores.
# - Score: accuracy of at least 0.99 after 1,000 updates. The exit status is 1 if it is missed.

# %%
from pathlib import Path

import jax
from flax import nnx

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.nn import functional as F

# %% [markdown]
# ## 1. Data
#
# 500 points about (4, 4) and 500 about (-4, -4), deviation 2. `x` is float32 (1000, 2), `y` is int32 (1000,).


# %%
def read() -> data.Splits:
    return data.load("two_clusters")


# %% [markdown]
# ## 2. Define
#
# The tutorial sends the sigmoid's outputs through the cross-entropy, which takes them for logits and applies a softmax.
# So the loss cannot fall below log(1 + 1/e) = 0.313, and the classes come out right all the same.


# %%
class Net(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.linear = nn.Linear(2, 2, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        return F.sigmoid(self.linear(x))


def create_net(rngs: nnx.Rngs) -> Net:
    return Net(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# All points in each step, and all updates in one compiled loop.


# %%
def train(net: Net, splits: data.Splits, updates: int) -> engine.History:
    loss, optimizer, measures = nn.CrossEntropyLoss(), optim.SGD(lr=0.02), [metrics.Accuracy()]
    return jaxport.fit(net, splits.train, loss=loss, optimizer=optimizer, metrics=measures, epochs=updates)


# %% [markdown]
# ## 4. Evaluate and use
#
# `argmax` is the second result of the tutorial's `torch.max(output, 1)`. Wrong points have a black edge.


# %%
def use(net: Net, splits: data.Splits, path: Path) -> float:
    x, y = splits.train
    guesses = net.eval()(x).argmax(axis=1)
    viz.plot_classes(x, y, guesses, path, classes=splits.classes)
    accuracy = float((guesses == y).mean())
    print(f"accuracy {accuracy:.4f}")
    return accuracy


# %% [markdown]
# ## 5. Save, and all steps


# %%
@chapter.command("Two clusters of points, in JAX.", expected={"accuracy": (0.99, 1.0)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(), create_net(nnx.Rngs(0))
    history = train(net, splits, updates=20 if options.smoke else 1_000)
    print(history)
    viz.plot_history(history.columns, options.out / "history.png", "two_clusters: training")
    accuracy = use(net, splits, options.out / "clusters.png")
    chapter.save(net, create_net(nnx.Rngs(1)), splits.train.x, options.out / "weights.safetensors")
    return {"accuracy": accuracy}


# %%
main.start(__name__)
