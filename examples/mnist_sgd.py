# %% [markdown]
# # Handwritten digits with SGD by hand
#
# Section 4 of PyTorch in practice in JAX: one hidden layer, and stochastic gradient descent in two lines.
#
# - Command: `python examples/mnist_sgd.py --data DIR`, where DIR holds `mnist` (default:
#   `$JAXPORT_DATA`). `--smoke` needs no data and takes a few seconds.
# - Time: about 5 s on two CPU cores.
# - Score: mean training loss over the epoch between 0.875 and 0.935. The exit status is 1 if it is missed.

# %%
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import chapter, data, metrics, nn, viz
from jaxport.data import to_float

criterion = nn.CrossEntropyLoss()


def to_signed(x: Any) -> Any:
    """Bring pixels to [-1, 1]."""
    return (to_float(x) - 0.5) / 0.5


# %% [markdown]
# ## 1. Data
#
# `x` is uint8 (N, 1, 28, 28), `y` is int32 (N,). Pixels stay bytes until a batch is used.


# %%
def read(options: chapter.Options) -> data.Splits:
    return options.load("mnist", smoke=300)


# %% [markdown]
# ## 2. Define


# %%
def create_net(rngs: nnx.Rngs) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 200, rngs=rngs), nn.ReLU(), nn.Linear(200, 10, rngs=rngs))


# %% [markdown]
# ## 3. Train
#
# The tutorial changes `param.data` in place, parameter by parameter. Here the parameters are a tree of arrays, and
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
    viz.show_predictions(x, net.eval()(to_signed(x)), y, 9, path, classes=splits.classes)
    return result


# %% [markdown]
# ## 5. Save, and all steps


# %%
@chapter.command("Handwritten digits with SGD by hand, in JAX.", expected={"loss": (0.875, 0.935)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(options), create_net(nnx.Rngs(0))
    print(net, jaxport.summary(net, (1, 28, 28)), sep="\n")
    losses = train(net, splits)
    loss = float(np.mean(losses))
    print(f"mean loss over the epoch {loss:.6f}")
    draw(losses, options.out / "history.png")
    use(net, splits, options.out / "predictions.png")
    chapter.save(net, create_net(nnx.Rngs(1)), to_signed(splits.val.x[:20]), options.out / "weights.safetensors")
    return {"loss": loss}


# %%
main.start(__name__)
