# %% [markdown]
# # A million points: the CPU and an accelerator
#
# Chapter 6-3 of the 20-day tutorial (linear regression) in JAX: a plane of two raw arrays through 1,000,000 points, all
# of them in every step, timed on the CPU and, where there is one, on the accelerator.
#
# - Command: `python examples/linreg_million.py`. The points are drawn; `--smoke` takes fewer.
# - Time: about 10 s on two CPU cores.
# - Score: a loss of 4.00 ± 0.02, the noise's variance. The exit status is 1 if it is missed.

# %%
import time

import jax
import jax.numpy as jnp
from flax import nnx

import jaxport
from jaxport import chapter, data, nn, optim

# %% [markdown]
# ## 1. Data and model
#
# y = 2 x₁ - 3 x₂ + 10 + N(0, 2²): `x` is float32 (N, 2), `y` is float32 (N, 1).


# %%
class LinearRegression(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.w = nn.Parameter(jnp.zeros((1, 2)))
        self.b = nn.Parameter(jnp.zeros((1, 1)))
        nn.init.normal_(self.w, generator=rngs.params())

    def forward(self, x: jax.Array) -> jax.Array:
        return x @ self.w[...].T + self.b[...]


def create_net(rngs: nnx.Rngs) -> LinearRegression:
    return LinearRegression(rngs=rngs)


# %% [markdown]
# ## 2. Train on a device
#
# The tutorial moves arrays and model with `.cuda()` and `.to(device)`. `jax.device_put` puts a copy on a device, a
# computation runs where its arrays are, and the step is the same function on both. A call returns before the device is
# done: `block_until_ready` is what makes the time true, as `torch.cuda.synchronize()` does.


# %%
def train(net: LinearRegression, splits: data.Splits, epochs: int, device: jax.Device) -> float:
    x, y = (jax.device_put(jnp.asarray(array), device) for array in splits.train)
    graph, params = nnx.split(net)
    params, adam, loss = jax.device_put(params, device), optim.Adam(lr=0.1), nn.MSELoss()

    @jax.jit
    def step(params, state):
        value, gradient = jax.value_and_grad(lambda params: loss(nnx.merge(graph, params)(x), y))(params)
        updates, state = adam.update(gradient, state, params)
        return jax.tree.map(jnp.add, params, updates), state, value

    state, value = adam.init(params), jnp.zeros(())
    jax.block_until_ready(step(params, state))  # compiles
    start = time.perf_counter()
    for epoch in range(epochs):
        params, state, value = step(params, state)
        if epoch % 50 == 0:
            print(f"epoch {epoch:3}  loss {float(value):.6f}")
    jax.block_until_ready(params)
    print(f"{device.platform}: {epochs} steps in {time.perf_counter() - start:.2f} s")
    nnx.update(net, params)
    return float(value)


# %% [markdown]
# ## All steps


# %%
@chapter.command("A plane through a million points, in JAX.", expected={"val_loss": (3.98, 4.02)})
def main(options: chapter.Options) -> dict[str, float]:
    splits = options.load("million", smoke=10_000)
    devices = list({device.platform: device for device in (jax.devices("cpu")[0], jax.devices()[0])}.values())
    if len(devices) == 1:
        print("no accelerator here: only the CPU is timed")
    for device in devices:
        net = create_net(nnx.Rngs(0))
        loss = train(net, splits, 100 if options.smoke else 500, device)
    weights = jaxport.state_dict(net)
    print(f"w = {weights['w']}, b = {weights['b']}")
    chapter.save(net, create_net(nnx.Rngs(1)), splits.train.x[:20], options.out / "weights.safetensors")
    return {"val_loss": loss}


# %%
main.start(__name__)
