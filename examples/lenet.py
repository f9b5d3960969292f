# %% [markdown]
# # Pictures of clothes with LeNet
#
# The LeNet notebook of the PyTorch notes in JAX, on Fashion-MNIST: two convolutions with sigmoids.
#
# - Command: `python examples/lenet.py --data DIR`, where DIR holds `fashion_mnist` (default:
#   `$JAXPORT_DATA`). `--smoke` needs no data and takes a few seconds.
# - Time: about 130 s on two CPU cores.
# - Score: validation accuracy between 0.72 and 0.8. The exit status is 1 if it is missed.

# %%
from pathlib import Path

import jax
from flax import nnx

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.data import to_float

# %% [markdown]
# ## 1. Data
#
# `x` is uint8 (N, 1, 28, 28), `y` is int32 (N,). Pixels stay bytes until a batch is used.


# %%
def read(options: chapter.Options) -> data.Splits:
    return options.load("fashion_mnist", smoke=300)


# %% [markdown]
# ## 2. Define
#
# Lengths on the way: 28, 24, 12, 8, 4; 16 channels of 4 × 4 are the 256 inputs of the first linear layer. Layers in a
# `Sequential` without names are called 0, 1, 2, … in the `state_dict`, as in PyTorch.


# %%
class LeNet(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv = nn.Sequential(
            nn.Conv2d(1, 6, 5, rngs=rngs),
            nn.Sigmoid(),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(6, 16, 5, rngs=rngs),
            nn.Sigmoid(),
            nn.MaxPool2d(2, 2),
        )
        self.fc = nn.Sequential(
            nn.Linear(16 * 4 * 4, 120, rngs=rngs),
            nn.Sigmoid(),
            nn.Linear(120, 84, rngs=rngs),
            nn.Sigmoid(),
            nn.Linear(84, 10, rngs=rngs),
        )

    def forward(self, x: jax.Array) -> jax.Array:
        return self.fc(self.conv(x).reshape(len(x), -1))


def create_net(rngs: nnx.Rngs) -> LeNet:
    return LeNet(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# Sigmoids learn slowly at first: five epochs do not end at the best that this net can do.


# %%
def train(net: LeNet, splits: data.Splits, epochs: int) -> engine.History:
    return jaxport.fit(
        net,
        splits.train,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.Adam(lr=1e-3),
        metrics=[metrics.Accuracy()],
        epochs=epochs,
        batch_size=256,
        validation=splits.val,
        prepare=to_float,
        on_progress=chapter.print_epoch,
    )


# %% [markdown]
# ## 4. Evaluate and use
#
# The validation part, and nine of its pictures, wrong ones first.


# %%
def use(net: LeNet, splits: data.Splits, path: Path) -> dict[str, float]:
    loss, measures = nn.CrossEntropyLoss(), [metrics.Accuracy()]
    result = jaxport.evaluate(net, splits.val, loss=loss, metrics=measures, batch_size=100, prepare=to_float)
    print(f"validation: loss {result['loss']:.4f}  accuracy {result['accuracy']:.4f}")
    x, y = splits.val.x[:500], splits.val.y[:500]
    viz.show_predictions(x, net.eval()(to_float(x)), y, 9, path, classes=splits.classes)
    return result


# %% [markdown]
# ## 5. Save, and all steps


# %%
@chapter.command("Pictures of clothes with LeNet, in JAX.", expected={"val_accuracy": (0.72, 0.8)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(options), create_net(nnx.Rngs(0))
    print(net, jaxport.summary(net, (1, 28, 28)), sep="\n")
    history = train(net, splits, epochs=1 if options.smoke else 5)
    viz.plot_history(history.columns, options.out / "history.png", "lenet: training")
    result = use(net, splits, options.out / "predictions.png")
    chapter.save(net, create_net(nnx.Rngs(1)), to_float(splits.val.x[:20]), options.out / "weights.safetensors")
    return {"val_accuracy": result["accuracy"]}


# %%
main.start(__name__)
