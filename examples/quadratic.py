# %% [markdown]
# # The minimum of a parabola
#
# Chapters 2-2 (last section) and 5-4 (first section) of the 20-day tutorial in JAX: x² - 2x + 1 is made small by gradient
# descent, and the place and the value of each step go to TensorBoard.
#
# - Command: `python examples/quadratic.py`. Nothing is read; `--smoke` is the same.
# - Time: about 4 s on two CPU cores.
# - Score: y is 0 and x is 1, to four digits. The exit status is 1 if they are not.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import chapter, data, nn, optim
from jaxport.models.quadratic import Value

# %% [markdown]
# ## 1. Data and model
#
# The coefficients (a, b, c) are the one example, and the place p is the one parameter.


# %%
class Parabola(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.p = nn.Parameter(jnp.zeros(1))

    def forward(self, x: jax.Array) -> jax.Array:
        p = self.p[...]
        return x @ jnp.stack([p**2, p, jnp.ones_like(p)])


def create_net(rngs: nnx.Rngs) -> Parabola:
    return Parabola(rngs=rngs)


# %% [markdown]
# ## 2. Train
#
# The tutorial calls `zero_grad`, `backward` and `step` in a loop. Here a step is a function from (p, state) to the next
# ones, and `lax.scan` runs all 500 of them in one compiled program, which returns the path too.


# %%
def train(net: Parabola, x: jax.Array, steps: int) -> np.ndarray:
    graph, start = nnx.split(net)
    sgd, loss = optim.SGD(lr=0.01), Value()

    def value(params: nnx.State) -> jax.Array:
        y = nnx.merge(graph, params)(x)
        return loss(y, jnp.zeros_like(y))

    def step(carry, _):
        params, state = carry
        y, gradient = jax.value_and_grad(value)(params)
        updates, state = sgd.update(gradient, state, params)
        return (jax.tree.map(jnp.add, params, updates), state), jnp.stack([params["p"][...][0], y])

    (params, _), path = jax.jit(lambda carry: jax.lax.scan(step, carry, length=steps))((start, sgd.init(start)))
    nnx.update(net, params)
    return np.asarray(path)


# %% [markdown]
# ## 3. Look at the path
#
# As a picture, and in TensorBoard (`tensorboard --logdir runs/examples/quadratic`) if tensorboardX is installed.


# %%
def draw(path: np.ndarray, file: Path) -> None:
    figure = Figure(figsize=(9, 4), dpi=120, layout="constrained")
    for axes, name, column in zip(figure.subplots(1, 2), ("x", "y"), path.T, strict=True):
        axes.plot(column)
        axes.set(title=name, xlabel="step")
    figure.savefig(file)


def log(path: np.ndarray, folder: Path) -> None:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        print("no TensorBoard file: pip install tensorboardX")
        return
    with SummaryWriter(str(folder)) as writer:
        for step, (x, y) in enumerate(path.tolist()):
            writer.add_scalar("x", x, step)
            writer.add_scalar("y", y, step)


# %% [markdown]
# ## All steps


# %%
@chapter.command("The minimum of x² - 2x + 1, in JAX.", expected={"x": (0.9999, 1.0001), "y": (-5e-5, 5e-5)})
def main(options: chapter.Options) -> dict[str, float]:
    net, x = create_net(nnx.Rngs(0)), jnp.asarray(data.load("quadratic").train.x)
    path = train(net, x, steps=500)
    draw(path, options.out / "path.png")
    log(path, options.out / "tensorboard")
    place, value = float(jaxport.state_dict(net)["p"][0]), float(net(x)[0, 0])
    print(f"y = {value:.4f}; x = {place:.4f}")
    chapter.save(net, create_net(nnx.Rngs(1)), x, options.out / "weights.safetensors")
    return {"x": place, "y": value, "val_loss": value}


# %%
main.start(__name__)
