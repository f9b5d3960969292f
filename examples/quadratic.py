# %% [markdown]
# # The minimum of a parabola
#
# Chapters 2-2 (last section) and 5-4 of the 20-day tutorial in JAX: x² - 2x + 1 is made small by gradient descent.
# `tensorboard.py` has the same with its curves in TensorBoard.
#
# - Command: `python examples/quadratic.py`. Nothing is read; `--smoke` is the same.
# - Time: about 4 s on two CPU cores.
# - Score: y is 0 to four digits. The exit status is 1 if it is not.

# %%
import jax
import jax.numpy as jnp
from flax import nnx

import jaxport
from jaxport import chapter, data, nn, optim, viz
from jaxport.models.quadratic import Value

# %% [markdown]
# ## 1. Define
#
# The coefficients (a, b, c) are the one example, the place p is the one parameter, and the loss is the value itself.


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
# ## 2. Train, look, save
#
# The tutorial calls `zero_grad`, `backward` and `step` 500 times. `fit` compiles the 500 steps into one loop, and
# returns the value before each of them.


# %%
@chapter.command("The minimum of x² - 2x + 1, in JAX.", expected={"val_loss": (-5e-5, 5e-5)})
def main(options: chapter.Options) -> dict[str, float]:
    net, part = create_net(nnx.Rngs(0)), data.load("quadratic").train
    history = jaxport.fit(net, part, loss=Value(), optimizer=optim.SGD(lr=0.01), epochs=500)
    viz.plot_history(history.columns, options.out / "history.png", "y in each step")
    place, value = float(jaxport.state_dict(net)["p"][0]), float(net(part.x)[0, 0])
    print(f"y = {value:.4f}; x = {place:.4f}")
    chapter.save(net, create_net(nnx.Rngs(1)), part.x, options.out / "weights.safetensors")
    return {"x": place, "val_loss": value}


# %%
main.start(__name__)
