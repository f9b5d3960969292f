# %% [markdown]
# # Masks with U-Net
#
# The U-Net question of the PyTorch notes in JAX: two convolutions in a row, what happens if the second one has the
# wrong number of channels, and the whole net on a segmentation set that is drawn here: shapes in noise, with masks.
#
# - Command: `python examples/unet.py`. The pictures are drawn; `--smoke` takes fewer.
# - Time: about 4 minutes on two CPU cores.
# - Score: validation dice of at least 0.9. The exit status is 1 if it is missed.

# %%
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import chapter, data, engine, metrics, nn, optim, viz
from jaxport.data import to_float
from jaxport.models.unet import BCEDiceLoss, UNet

# %% [markdown]
# ## 1. The mistake of the notes
#
# The second convolution was written with the channels of the picture instead of those of the first convolution. The
# error says which layer got what; `fit` would say it before anything is compiled.


# %%
def show_the_mistake() -> None:
    rngs = nnx.Rngs(0)
    wrong = nn.Sequential(nn.Conv2d(3, 64, kernel_size=3, rngs=rngs), nn.Conv2d(3, 64, kernel_size=3, rngs=rngs))
    try:
        wrong(jnp.zeros((4, 3, 32, 32)))
    except ValueError as error:
        print(f"3 → 64, then 3 → 64 again: {error}")


# %% [markdown]
# ## 2. Data and net
#
# `x` is uint8 (N, 3, 64, 64), `y` is float32 (N, 1, 64, 64) of 0 and 1. `jaxport.models.unet` is the net in full.


# %%
def create_net(rngs: nnx.Rngs) -> UNet:
    return UNet(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# The loss is the cross-entropy of the pixels plus 1 - dice of each picture; the metric is the dice of all pixels.


# %%
def train(net: UNet, splits: data.Splits, epochs: int) -> engine.History:
    return jaxport.fit(
        net,
        splits.train,
        loss=BCEDiceLoss(),
        optimizer=optim.SGD(lr=0.05, momentum=0.9),
        metrics=[metrics.Dice(threshold=0.0)],
        epochs=epochs,
        batch_size=16,
        validation=splits.val,
        prepare=to_float,
        on_progress=chapter.print_epoch,
    )


# %% [markdown]
# ## 4. Use
#
# Four pictures, their masks, and the pixels whose logit is above 0.


# %%
def use(net: UNet, splits: data.Splits, path: Path) -> None:
    x, y = splits.val.x[:4], splits.val.y[:4]
    guess = np.asarray(net.eval()(to_float(x))) > 0
    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained")
    rows = (("picture", x.transpose(0, 2, 3, 1)), ("mask", y[:, 0]), ("predicted", guess[:, 0]))
    for line, (title, pictures) in zip(figure.subplots(3, 4), rows, strict=True):
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(path)


# %% [markdown]
# ## 5. Save, and all steps


# %%
@chapter.command("Masks of shapes with U-Net, in JAX.", expected={"val_dice": (0.9, 1.0)})
def main(options: chapter.Options) -> dict[str, float]:
    show_the_mistake()
    splits, net = options.load("shapes", smoke=20), create_net(nnx.Rngs(0))
    history = train(net, splits, epochs=1 if options.smoke else 8)
    viz.plot_history(history.columns, options.out / "history.png", "unet: training")
    use(net, splits, options.out / "masks.png")
    chapter.save(net, create_net(nnx.Rngs(1)), to_float(splits.val.x[:3]), options.out / "weights.safetensors")
    return {"val_dice": history["val_dice"][-1]}


# %%
main.start(__name__)
