# %% [markdown]
# # ResNet
#
# The ResNet chapter of the PyTorch notes in JAX: what each stage makes of a picture of 224 × 224, then ResNet-18 on
# Fashion-MNIST, enlarged to 32 × 32.
#
# - Command: `python examples/resnet.py --data DIR`, where DIR holds `fashion_mnist` (default: `$JAXPORT_DATA`).
#   `--smoke` needs no data.
# - Time: about 20 minutes on two CPU cores, 1.2 s a step.
# - Score: test accuracy of at least 0.85 after two epochs. The exit status is 1 if it is missed.

# %%
from pathlib import Path

import jax
from flax import nnx

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.data import to_float
from jaxport.models.resnet import ResNet
from jaxport.nn import functional as F

# %% [markdown]
# ## 1. Data
#
# Pictures stay bytes (N, 1, 28, 28) until a batch is used; `enlarged` then makes floats of 32 × 32 of them, on the
# device.


# %%
def read(options: chapter.Options) -> data.Splits:
    return options.load("fashion_mnist", smoke=48)


def enlarged(x: jax.Array) -> jax.Array:
    return F.interpolate(to_float(x), size=(32, 32), mode="bilinear", align_corners=False)


# %% [markdown]
# ## 2. Define
#
# `jaxport.models.resnet` is the net in full: stem, four stages of residual blocks, mean, linear; its depth is 18, 34,
# 50, 101 or 152, its keys are torchvision's. Nothing is computed for the table of shapes: `jax.eval_shape` only
# follows them.


# %%
def create_net(rngs: nnx.Rngs) -> ResNet:
    return ResNet(18, rngs=rngs)


def print_stages(net: ResNet) -> None:
    x = jax.ShapeDtypeStruct((1, 1, 224, 224), "float32")
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    for name, part in (("stem", stem), *((f"layer{i}", getattr(net, f"layer{i}")) for i in range(1, 5))):
        graph, state = nnx.split(part)
        x = jax.eval_shape(lambda x, graph=graph, state=state: nnx.merge(graph, state, copy=True)(x), x)
        print(f"{name:8} {' × '.join(map(str, x.shape[1:]))}")


# %% [markdown]
# ## 3. Train


# %%
def train(net: ResNet, splits: data.Splits, epochs: int) -> engine.History:
    return jaxport.fit(
        net,
        splits.train,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.SGD(lr=0.05, momentum=0.9),
        metrics=[metrics.Accuracy()],
        epochs=epochs,
        batch_size=128,
        validation=splits.val,
        prepare=enlarged,
        on_progress=chapter.print_epoch,
    )


# %% [markdown]
# ## 4. Use


# %%
def use(net: ResNet, splits: data.Splits, path: Path) -> None:
    x, y = splits.val.x[:50], splits.val.y[:50]
    viz.show_predictions(x, net.eval()(enlarged(x)), y, 9, path, classes=splits.classes)


# %% [markdown]
# ## 5. Save, and all steps


# %%
@chapter.command("ResNet-18 on Fashion-MNIST, in JAX.", expected={"val_accuracy": (0.85, 1.0)})
def main(options: chapter.Options) -> dict[str, float]:
    splits, net = read(options), create_net(nnx.Rngs(0))
    print_stages(net)
    history = train(net, splits, epochs=1 if options.smoke else 2)
    viz.plot_history(history.columns, options.out / "history.png", "resnet: training")
    use(net, splits, options.out / "predictions.png")
    chapter.save(net, create_net(nnx.Rngs(1)), enlarged(splits.val.x[:5]), options.out / "weights.safetensors")
    return {"val_accuracy": history["val_accuracy"][-1]}


# %%
main.start(__name__)
