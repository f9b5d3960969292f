# %% [markdown]
# # Handwritten digits with logistic regression
#
# The logistic regression of the PyTorch notes in JAX: one linear layer from pixels to classes.
#
# - Command: `python examples/mnist_logistic.py --data DIR`, where DIR holds `mnist` (default:
#   `$JAXPORT_DATA`). `--smoke` needs no data and takes a few seconds.
# - Time: about 5 s on two CPU cores.
# - Score: validation accuracy between 0.82 and 0.84. The exit status is 1 if it is missed.

# %%
from collections import OrderedDict
from pathlib import Path

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
# The softmax is part of the loss, as in PyTorch: the net gives logits.


# %%
def create_net(rngs: nnx.Rngs) -> nn.Sequential:
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), linear=nn.Linear(28 * 28, 10, rngs=rngs)))


# %% [markdown]
# ## 3. Train
#
# The notes reshape each batch to (100, 784); here `flatten` is a layer.


# %%
def train(net: nn.Sequential, splits: data.Splits, epochs: int) -> engine.History:
    return jaxport.fit(
        net,
        splits.train,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.SGD(lr=1e-3),
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
def use(net: nn.Sequential, splits: data.Splits, path: Path) -> dict[str, float]:
    loss, measures = nn.CrossEntropyLoss(), [metrics.Accuracy()]
    result = jaxport.evaluate(net, splits.val, loss=loss, metrics=measures, batch_size=100, prepare=to_float)
    print(f"validation: loss {result['loss']:.4f}  accuracy {result['accuracy']:.4f}")
    x, y = splits.val.x[:500], splits.val.y[:500]
    viz.show_predictions(x, net.eval()(to_float(x)), y, 9, path, classes=splits.classes)
    return result


# %% [markdown]
# ## 5. Save, and all steps


# %%
@chapter.command("Handwritten digits with logistic regression, in JAX.", expected={"val_accuracy": (0.82, 0.84)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(options), create_net(nnx.Rngs(0))
    print(net, jaxport.summary(net, (1, 28, 28)), sep="\n")
    history = train(net, splits, epochs=1 if options.smoke else 5)
    viz.plot_history(history.columns, options.out / "history.png", "mnist_logistic: training")
    result = use(net, splits, options.out / "predictions.png")
    chapter.save(net, create_net(nnx.Rngs(1)), to_float(splits.val.x[:20]), options.out / "weights.safetensors")
    return {"val_accuracy": result["accuracy"]}


# %%
main.start(__name__)
