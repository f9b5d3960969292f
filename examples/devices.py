# %% [markdown]
# # Devices
#
# Chapter 6-3 of the 20-day tutorial in JAX, with what the other tutorials say of GPUs: moving arrays and nets, a matrix
# product and a regression on the CPU and on an accelerator, training on several devices, and saving what was trained
# there.
#
# - Command: `python examples/devices.py --data DIR`, where DIR holds `mnist/` (default: `$JAXPORT_DATA`); without it
#   the embedded digits are taken. `--smoke` takes less of everything.
# - Time: about 120 s on two CPU cores, 40 s with the embedded digits.
# - Score: the product right to 1e-5; the regression's loss between 3.96 and 4.04 (its noise has variance 4); several
#   devices within 1e-10 of one; the best validation accuracy on several at least 0.95. The exit status is 1 if one is
#   missed.

# %%
from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxport
from jaxport import chapter, data, metrics, nn, optim, viz

# %% [markdown]
# ## 1. What is there
#
# `jax.devices()` lists the devices of the best kind that JAX found, and arrays are made on the first of them: nothing
# like `"cuda:0" if … else "cpu"` is needed. The CPU is there beside them, as `jax.devices("cpu")`.
#
# A CPU can play several devices, if it is told before JAX makes its first array. They share the cores, so nothing gets
# faster; but the programs are those that several accelerators would run, and that is what this chapter looks at. In a
# notebook whose kernel has used JAX already, restart the kernel.


# %%
def start(devices: int = 4) -> list[Any]:
    try:
        jax.config.update("jax_num_cpu_devices", devices)
    except RuntimeError:
        print("JAX had started before: the CPU cannot be split any more")
    cpu, first = jax.devices("cpu")[0], jax.devices()[0]
    print(f"devices: {jax.devices()}")
    if first == cpu:
        print("there is no accelerator, so the times are the CPU's alone")
    return [cpu] if first == cpu else [cpu, first]


# %% [markdown]
# ## 2. Moving arrays and nets
#
# `jax.device_put(x, device)` is `x.to(device)`, and `np.asarray(x)` brings an array back to the host. `device=` makes
# an array where it is wanted. An operation runs where its arrays are; arrays that were put on different devices do not
# mix, as in PyTorch.
#
# `net.to(device)` is to move the net's state: `nnx.update` changes the net in place. Who trains with `Model` says
# `compile(…, device=…)` instead, and the batches follow.
#
# There is no `empty_cache()`. Memory comes back when the last reference to an array goes, or at once with `x.delete()`.
# On a GPU JAX takes three quarters of the memory at the start and hands it out itself;
# `XLA_PYTHON_CLIENT_PREALLOCATE=false` lets it grow instead.


# %%
def move(devices: list[Any]) -> None:
    here, there = devices[0], devices[-1]
    x = jax.device_put(np.ones((100, 100), np.float32), there)
    y = jnp.zeros((100, 100), device=there)
    print(f"x + y is on {(x + y).device}; a copy of x is on {jax.device_put(x, here).device}")
    net = nn.Linear(2, 1, rngs=0)
    nnx.update(net, jax.device_put(nnx.state(net), there))
    print(f"the net is on {[str(parameter[...].device) for parameter in net.parameters()]}")
    x.delete()
    print(f"x is deleted: {x.is_deleted()}")


# %% [markdown]
# ## 3. A matrix product, timed
#
# Two things would spoil the clock. The first call compiles, so it is not timed. And a call returns before the work is
# done: `block_until_ready()` waits for it. (PyTorch's GPU calls return early too, so a clock that is stopped without
# `torch.cuda.synchronize()` shows how long it takes to *ask* for a product.)
#
# On accelerators JAX multiplies float32 in a shorter format unless it is told otherwise: `precision="highest"` keeps
# all of float32.


# %%
def product(size: int, device: Any) -> float:
    rng = np.random.default_rng(0)
    a, b = rng.random((size, 200), np.float32), rng.random((200, size), np.float32)
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))
    arguments = jax.device_put((a, b), device)
    multiply(*arguments).block_until_ready()
    tic = time.perf_counter()
    c = multiply(*arguments)
    asked = time.perf_counter() - tic
    c.block_until_ready()
    done = time.perf_counter() - tic
    print(f"{c.device}: asked for in {asked:.5f} s, done in {done:.5f} s, {400e-9 * size**2 / done:.0f} GFLOP/s")
    wanted = a[:100].astype(np.float64) @ b
    return float(np.abs(c[:100] - wanted).max() / wanted.max())


# %% [markdown]
# ## 4. A regression, timed
#
# A million points about a plane, all of them in each of 500 updates with Adam. `fit` compiles the updates into one loop
# that runs on the device from start to end.


# %%
class LinearRegression(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.w = nn.Parameter(jax.random.normal(rngs.params(), (1, 2)))
        self.b = nn.Parameter(jnp.zeros((1, 1)))

    def forward(self, x: jax.Array) -> jax.Array:
        return x @ self.w[...].T + self.b[...]


def points(n: int, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-5, 5, (n, 2))
    y = x @ np.array([[2.0], [-3.0]]) + 10 + rng.normal(0, 2, (n, 1))
    return x.astype(dtype), y.astype(dtype)


def regression(xy: tuple[np.ndarray, np.ndarray], epochs: int, **place: Any) -> tuple[float, dict[str, np.ndarray]]:
    net = LinearRegression(rngs=nnx.Rngs(0))
    model = jaxport.Model(net.double() if xy[0].dtype == np.float64 else net)
    model.compile(nn.MSELoss(), optim.Adam(lr=0.1), **place)
    tic = time.perf_counter()
    history = model.fit(xy, epochs, batch_size=None, verbose=0)
    print(f"{place}: loss {history['loss'][-1]:.4f} in {time.perf_counter() - tic:.2f} s")
    return history["loss"][-1], jaxport.state_dict(net)


# %% [markdown]
# ## 5. Several devices
#
# `nn.DataParallel` copies the net to each GPU at each step and gathers the results on the first. JAX has no such
# wrapper, because where an array lies is a property of the array. A mesh names the devices; `PartitionSpec("data")`
# spreads rows over them, and an empty one puts a copy on each. The compiled step is the same; the compiler adds the sum
# of the gradients over the devices. `compile(…, mesh=mesh)`, or `devices=4`, places everything so.
#
# That several devices compute what one does is checked in float64: only the order of the sums differs.


# %%
def spread(mesh: Mesh) -> None:
    x = jax.device_put(np.zeros((8, 3), np.float32), NamedSharding(mesh, PartitionSpec("data")))
    print(f"x {x.shape} lies as {[(str(shard.device), shard.data.shape) for shard in x.addressable_shards]}")


def apart(mesh: Mesh) -> float:
    with jax.enable_x64():
        xy = points(1_000, np.float64)
        _, one = regression(xy, 50, device=mesh.devices.flat[0])
        _, several = regression(xy, 50, mesh=mesh)
    return max(float(np.abs(several[name] - one[name]).max()) for name in one)


# %% [markdown]
# ## 6. The net of 6-2 on several devices
#
# Apart from `mesh=` this is the call of 6-2. A batch of 128 is 32 rows on each of four devices. Dropout draws the same
# masks as on one device. With Adam at 0.02 the last epochs go up and down, so the score is that of the best one.


# %%
class CnnModel(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(in_channels=1, out_channels=32, kernel_size=3, rngs=rngs),
                nn.MaxPool2d(kernel_size=2, stride=2),
                nn.Conv2d(in_channels=32, out_channels=64, kernel_size=5, rngs=rngs),
                nn.MaxPool2d(kernel_size=2, stride=2),
                nn.Dropout2d(p=0.1, rngs=rngs),
                nn.AdaptiveMaxPool2d((1, 1)),
                nn.Flatten(),
                nn.Linear(64, 32, rngs=rngs),
                nn.ReLU(),
                nn.Linear(32, 10, rngs=rngs),
            ]
        )

    def forward(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return x


def create_model(seed: int, **place: Any) -> jaxport.Model:
    model = jaxport.Model(CnnModel(rngs=nnx.Rngs(seed)))
    model.compile(nn.CrossEntropyLoss(), optim.Adam(lr=0.02), [metrics.Accuracy()], prepare=data.to_float, **place)
    return model


def read(folder: str | None, smoke: bool) -> tuple[data.Splits, int]:
    if smoke:
        return data.DATASETS["mnist"].synthetic(128, np.random.default_rng(0)), 1
    return (data.load("digits"), 20) if data.find("mnist", folder) is None else (data.load("mnist", folder), 3)


# %% [markdown]
# ## 7. Saving from a parallel model
#
# A `DataParallel` model has to be unwrapped (`model.module.state_dict()`), or every key begins with `module.`. Here the
# net was never wrapped, and after `fit` its weights are plain arrays on one device: they are saved, and loaded
# anywhere, as usual.


# %%
def save(model: jaxport.Model, val: data.Arrays, path: Path) -> float:
    model.save_weights(path)
    clone = create_model(1)
    clone.load_weights(path)
    assert model.history is not None
    several, one = model.history["val_loss"][-1], clone.evaluate(val, batch_size=128)["loss"]
    print(
        f"saved {', '.join(jaxport.state_dict(clone.module))}: loss {several:.6f}, of the clone on one device {one:.6f}"
    )
    return abs(several - one) / one


# %% [markdown]
# ## All steps

# %%
EXPECTED = {
    "product_error": (0, 1e-5),
    "loss": (3.96, 4.04),
    "devices": (2, np.inf),
    "several_from_one": (0, 1e-10),
    "val_accuracy": (0.95, 1),
    "clone": (0, 1e-5),
}


@chapter.command("Devices: chapter 6-3 in JAX.", expected=EXPECTED)
def main(options: chapter.Options) -> dict[str, float]:
    found = start()
    move(found)
    errors = [product(1_000 if options.smoke else 10_000, device) for device in found]
    losses = [regression(points(10_000 if options.smoke else 1_000_000), 500, device=device)[0] for device in found]
    devices = jax.devices() if len(jax.devices()) > 1 else jax.devices("cpu")
    mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)
    spread(mesh)
    splits, epochs = read(options.data, options.smoke)
    viz.show_samples(splits.train, 9, options.out / "samples.png", classes=splits.classes)
    several_from_one = apart(mesh)
    model = create_model(0, mesh=mesh)
    history = model.fit(splits.train, epochs, splits.val, batch_size=128, seed=0, verbose=0)
    print(history)
    viz.plot_history(history.columns, options.out / "history.png", "training on several devices")
    clone = save(model, splits.val, options.out / "weights.safetensors")
    return {
        "product_error": max(errors),
        "loss": max(losses),
        "devices": len(devices),
        "several_from_one": several_from_one,
        "val_accuracy": history.best("val_accuracy")[1],
        "clone": clone,
    }


# %%
main.start(__name__)
