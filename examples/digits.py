# %% [markdown]
# # Handwritten digits, without a download
#
# A convolutional network on scikit-learn's 1,797 embedded digits. The net is that of chapter 6-2 of the 20-day
# tutorial (see `mnist_cnn.py`); the data needs no files. The six steps: data, define, train, evaluate, use, save.
#
# - Command: `python examples/digits.py`. `--smoke` takes a few seconds.
# - Time: about 27 s on two CPU cores.
# - Score: validation accuracy of at least 0.97. The exit status is 1 if it is missed.

# %%
from pathlib import Path

from flax import nnx

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.data import to_float

# %% [markdown]
# ## 1. Data
#
# The 8×8 pictures are enlarged to MNIST's 28×28. The axes are PyTorch's: pictures, channels, height, width. Pixels
# stay bytes (uint8) until a batch is used; `to_float` then divides by 255 on the device, as torchvision's `ToTensor`
# does on the host.


# %%
def read(options: chapter.Options) -> data.Splits:
    return options.load("digits", smoke=64)


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
        on_progress=chapter.print_epoch,
    )


# %% [markdown]
# ## 4. Evaluate
#
# `evaluate` switches dropout off for its own pass, whatever mode the net is in.


# %%
def evaluate(net: nn.Sequential, splits: data.Splits, history: engine.History, path: Path) -> dict[str, float]:
    viz.plot_history(history.columns, path, "digits: training")
    loss, measures = nn.CrossEntropyLoss(), [metrics.Accuracy()]
    result = jaxport.evaluate(net, splits.val, loss=loss, metrics=measures, batch_size=32, prepare=to_float)
    print(f"validation: loss {result['loss']:.4f}  accuracy {result['accuracy']:.4f}")
    return result


# %% [markdown]
# ## 5. Use
#
# Called directly, the net is in the mode that was set last, as in PyTorch: `net.eval()` first. The picture shows the
# validation digits that it gets wrong, filled up with right ones.


# %%
def use(net: nn.Sequential, splits: data.Splits, path: Path) -> None:
    x, y = splits.val
    guesses = net.eval()(to_float(x)).argmax(axis=1)
    viz.show_predictions(x, guesses, y, 9, path, classes=splits.classes)
    print(f"{(guesses != y).sum()} of {len(y)} wrong")


# %% [markdown]
# ## 6. Save, and all six steps
#
# Random keys of dropout are not part of a `state_dict`: the file has the eight arrays that PyTorch's net has.


# %%
@chapter.command("A convolutional network on scikit-learn's embedded digits.", expected={"val_accuracy": (0.97, 1.0)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(options), create_net(nnx.Rngs(0))
    viz.show_samples(splits.train, 9, options.out / "pictures.png", classes=splits.classes)
    print(net, jaxport.summary(net, (1, 28, 28)), sep="\n")
    history = train(net, splits, epochs=1 if options.smoke else 20)
    result = evaluate(net, splits, history, options.out / "history.png")
    use(net, splits, options.out / "predictions.png")
    chapter.save(net, create_net(nnx.Rngs(1)), to_float(splits.val.x[:32]), options.out / "weights.safetensors")
    return {"val_accuracy": result["accuracy"]}


# %%
main.start(__name__)
