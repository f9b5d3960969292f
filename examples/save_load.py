# %% [markdown]
# # Saving and loading
#
# How the tutorials' chapters end, in JAX: the parameters alone, the whole model, a run that goes on where it stopped,
# and files that PyTorch reads and writes. The net is that of chapter 1-1 of the 20-day tutorial.
#
# - Command: `python examples/save_load.py --data DIR`, where DIR holds `titanic/` (default: `$JAXPORT_DATA`); without
#   it, and with `--smoke`, the passengers are made up.
# - Time: about 14 s on two CPU cores.
# - Score: no weight and no prediction changes on its way through a file; PyTorch's predictions from the same weights
#   within 1e-6. The exit status is 1 if one is missed.

# %%
from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
from flax import nnx

import jaxport
from jaxport import chapter, data, nn, optim
from jaxport.engine.callbacks import Checkpoint
from jaxport.models import titanic

# %% [markdown]
# ## A model, and how far apart two of them are


# %%
def fit(model: jaxport.Model, splits: data.Splits, epochs: int, *callbacks: Checkpoint) -> jaxport.Model:
    model.fit(splits.train, epochs, callbacks=callbacks, batch_size=8, verbose=0)
    return model


def create_model(seed: int) -> jaxport.Model:
    model = jaxport.Model(titanic.build(rngs=nnx.Rngs(seed)))
    model.compile(nn.BCELoss(), optim.Adam(lr=0.01))
    return model


def gap(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(found[key] - wanted[key]).max()) for key in found | wanted)


# %% [markdown]
# ## 1. The parameters alone
#
# `torch.save(net.state_dict(), …)` writes a pickle. Here the same keys, with the same shapes, go into a `.safetensors`
# file, and reading one runs no code. The net is made anew by its own code and filled. If keys are missing, unexpected
# or of another shape, the error lists all of them and nothing is changed.


# %%
def parameters(model: jaxport.Model, x: np.ndarray, path: Path) -> float:
    print(list(jaxport.state_dict(model.module)))
    jaxport.save_file(jaxport.state_dict(model.module), path)
    clone = create_model(1)
    jaxport.load_state_dict(clone.module, jaxport.load_file(path))
    print(clone.predict(x)[:10].T.round(4))
    return float(np.abs(clone.predict(x) - model.predict(x)).max())


# %% [markdown]
# ## 2. The whole model
#
# `torch.save(net, …)` pickles the object; where it is loaded, its class must be found under the same name. In JAX the
# prediction is a compiled function of arrays, and `export` writes that: operations and weights in one file, for any
# number of rows. Who loads it needs neither the class nor jaxport's layers, but cannot train it.


# %%
def whole(model: jaxport.Model, x: np.ndarray, path: Path) -> float:
    model.export(path, (15,))
    return float(np.abs(jaxport.load_exported(path)(x) - model.predict(x)).max())


# %% [markdown]
# ## 3. A run that goes on
#
# Weights are not enough to go on with: Adam keeps averages, the batches have an order, the history has rows. In PyTorch
# one collects these in a dictionary by hand. `Model.save` writes all of it into one file: here the model trains on, is
# taken back to the file, and trains on again. A `Checkpoint` saves every few epochs, and the same call after a crash
# goes on from the newest. Both end with the bits of a run that never stopped.


# %%
def go_on(model: jaxport.Model, splits: data.Splits, epochs: int, path: Path) -> float:
    model.save(path)
    first = jaxport.state_dict(fit(model, splits, epochs).module)
    model.load(path)
    return gap(jaxport.state_dict(fit(model, splits, epochs).module), first)


def resume(splits: data.Splits, epochs: int, folder: str) -> float:
    resumed = fit(create_model(1), splits, 2 * epochs, Checkpoint(folder))
    straight = fit(create_model(0), splits, 2 * epochs)
    return gap(jaxport.state_dict(resumed.module), jaxport.state_dict(straight.module))


# %% [markdown]
# ## 4. Into PyTorch and out of it
#
# Keys, shapes and layouts are PyTorch's, so nothing is renamed or transposed. Where PyTorch is installed, `convert`
# copies the file to `.pt` (or back), and `load_file` reads a `.pt` too; what it reads is never executed. Where it is
# not, the `.safetensors` file goes over as it is: `net.load_state_dict(safetensors.torch.load_file(…))` on that side.


# %%
def pytorch(model: jaxport.Model, x: np.ndarray, path: Path) -> float:
    if importlib.util.find_spec("torch") is None:
        print(f"PyTorch is not installed; it reads {path.name} with safetensors.torch.load_file")
        return gap(jaxport.load_file(path), jaxport.state_dict(model.module))
    import torch

    from jaxport.reference import titanic as reference

    print(f"{jaxport.convert(path, path.with_suffix('.pt'))} tensors for PyTorch")
    net = reference.build()
    net.load_state_dict(torch.load(path.with_suffix(".pt"), weights_only=True))
    torch.save(net.state_dict(), path.with_suffix(".pth"))
    back = gap(jaxport.load_file(path.with_suffix(".pth")), jaxport.state_dict(model.module))
    return max(back, float(np.abs(net(torch.from_numpy(x)).detach().numpy() - model.predict(x)).max()))


# %% [markdown]
# ## All steps

# %%
EXPECTED = {"parameters": (0, 0), "whole": (0, 1e-6), "pytorch": (0, 1e-6), "go_on": (0, 0), "resume": (0, 0)}


@chapter.command("Saving and loading, in JAX.", expected=EXPECTED)
def main(options: chapter.Options) -> dict[str, float]:
    found = not options.smoke and data.find("titanic", options.data)
    made_up = data.DATASETS["titanic"].synthetic
    splits = data.load("titanic", options.data) if found else made_up(80, np.random.default_rng(0))
    epochs, x, weights = 2 if options.smoke else 10, splits.val.x, options.out / "weights.safetensors"
    with tempfile.TemporaryDirectory() as folder:
        model = fit(create_model(0), splits, epochs, Checkpoint(folder))
        scores = {"parameters": parameters(model, x, weights), "whole": whole(model, x, options.out / "model.jaxport")}
        scores |= {"pytorch": pytorch(model, x, weights), "resume": resume(splits, epochs, folder)}
    scores["go_on"] = go_on(model, splits, epochs, options.out / "run.safetensors")
    print(scores)
    return scores


# %%
main.start(__name__)
