# %% [markdown]
# # Handwritten digits with batch normalisation
#
# The convolutional network of the PyTorch notes in JAX.
#
# - Command: `python examples/mnist_convnet.py --data DIR`, where DIR holds `mnist` (default:
#   `$JAXPORT_DATA`). `--smoke` needs no data and takes a few seconds.
# - Time: about 10 minutes on two CPU cores.
# - Score: validation accuracy of at least 0.985. The exit status is 1 if it is missed.

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
    return options.load("mnist", smoke=300)


# %% [markdown]
# ## 2. Define
#
# Batch normalisation keeps running means and variances beside its weights: buffers, which are in the `state_dict` as in
# PyTorch. The convolution's bias is taken out again by the normalisation and so has gradient 0.


# %%
def layer(channels_in: int, channels_out: int, rngs: nnx.Rngs) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=5, stride=1, padding=2, rngs=rngs),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=2, stride=2),
    )


class ConvNet(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.layer1 = layer(1, 16, rngs)
        self.layer2 = layer(16, 32, rngs)
        self.fc = nn.Linear(7 * 7 * 32, 10, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        maps = self.layer2(self.layer1(x))
        return self.fc(maps.reshape(len(x), -1))


def create_net(rngs: nnx.Rngs) -> ConvNet:
    return ConvNet(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# In training mode the normalisation uses the batch's own statistics and moves the running ones. 60,000 is a multiple of
# 100, so no batch is padded; if one were, its padding would not count in the statistics.


# %%
def train(net: ConvNet, splits: data.Splits, epochs: int) -> engine.History:
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
        on_progress=chapter.print_epoch,
    )


# %% [markdown]
# ## 4. Evaluate and use
#
# The validation part, and nine of its pictures, wrong ones first.


# %%
def use(net: ConvNet, splits: data.Splits, path: Path) -> dict[str, float]:
    loss, measures = nn.CrossEntropyLoss(), [metrics.Accuracy()]
    result = jaxport.evaluate(net, splits.val, loss=loss, metrics=measures, batch_size=100, prepare=to_float)
    print(f"validation: loss {result['loss']:.4f}  accuracy {result['accuracy']:.4f}")
    x, y = splits.val.x[:500], splits.val.y[:500]
    viz.show_predictions(x, net.eval()(to_float(x)), y, 9, path, classes=splits.classes)
    return result


# %% [markdown]
# ## 5. Save, and all steps


# %%
@chapter.command("Handwritten digits with batch normalisation, in JAX.", expected={"val_accuracy": (0.985, 1.0)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(options), create_net(nnx.Rngs(0))
    print(net, jaxport.summary(net, (1, 28, 28)), sep="\n")
    history = train(net, splits, epochs=1 if options.smoke else 5)
    viz.plot_history(history.columns, options.out / "history.png", "mnist_convnet: training")
    result = use(net, splits, options.out / "predictions.png")
    chapter.save(net, create_net(nnx.Rngs(1)), to_float(splits.val.x[:20]), options.out / "weights.safetensors")
    return {"val_accuracy": result["accuracy"]}


# %%
main.start(__name__)
