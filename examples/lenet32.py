# %% [markdown]
# # LeNet in sixty minutes
#
# The 60-minute part of the PyTorch notes in JAX: a network, a picture of noise, ten random numbers as target, the
# gradient of one bias before and after the backward pass, an update by hand and one by an optimiser.
#
# - Command: `python examples/lenet32.py`. Nothing is read; `--smoke` is the same.
# - Time: about 17 s on two CPU cores.
# - Score: after 100 steps the loss is less than that of ten zeros. The exit status is 1 if it is not.

# %%
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import jaxport
from jaxport import chapter, data, nn, optim

# %% [markdown]
# ## 1. Define
#
# 32 × 32 pixels are 28, 14, 10 and 5 wide on their way down; ten parameters, the first of them (6, 1, 5, 5).


# %%
class Net(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv1 = nn.Conv2d(1, 6, 5, rngs=rngs)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5, rngs=rngs)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120, rngs=rngs)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(120, 84, rngs=rngs)
        self.relu4 = nn.ReLU()
        self.fc3 = nn.Linear(84, 10, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.relu3(self.fc1(x.reshape(len(x), -1)))
        return self.fc3(self.relu4(self.fc2(x)))


def create_net(rngs: nnx.Rngs) -> Net:
    return Net(rngs=rngs)


# %% [markdown]
# ## 2. Loss and gradient
#
# In PyTorch the gradient of `conv1.bias` is a field that `backward()` fills and `zero_grad()` clears. In JAX it is the
# value of `jax.grad`: there is nothing before, and nothing to clear.


# %%
def loss_of(net: Net, x: jax.Array, target: jax.Array) -> Any:
    graph, params = nnx.split(net)
    return lambda params: nn.MSELoss()(nnx.merge(graph, params)(x), target), params


def one_step(net: Net, x: jax.Array, target: jax.Array) -> None:
    loss, params = loss_of(net, x, target)
    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    print(f"loss {float(value):.4f}")
    print(f"the gradient of conv1.bias: {gradient['conv1']['bias'][...]}")
    by_hand = jax.tree.map(lambda weight, slope: weight - 0.01 * slope, params, gradient)
    sgd = optim.SGD(lr=0.01)
    updates, _ = sgd.update(gradient, sgd.init(params), params)
    by_sgd = jax.tree.map(jnp.add, params, updates)
    apart = max(jax.tree.leaves(jax.tree.map(lambda a, b: float(abs(a - b).max()), by_hand, by_sgd)))
    print(f"the update by hand and that of optim.SGD are {apart:.0e} apart")
    print(f"loss {float(loss(by_sgd)):.4f} after it")


# %% [markdown]
# ## All steps


# %%
@chapter.command("LeNet on a picture of noise, in JAX.", expected={"val_loss": (0.0, 1.0)})
def main(options: chapter.Options) -> dict[str, float]:
    net = create_net(nnx.Rngs(0))
    print(net, jaxport.summary(net, (1, 32, 32)), sep="\n")
    shapes = [parameter.shape for parameter in net.parameters()]
    print(f"{len(shapes)} parameters, the first is {list(shapes[0])}")
    splits = data.load("noise")
    x, target = map(jnp.asarray, splits.train)
    print(f"output {net(x)}")
    one_step(net, x, target)
    history = jaxport.fit(net, splits.train, loss=nn.MSELoss(), optimizer=optim.SGD(lr=0.01), epochs=100)
    result = jaxport.evaluate(net, splits.train, loss=nn.MSELoss())
    print(f"loss {history['loss'][0]:.4f} at the start, {result['loss']:.4f} after 100 steps")
    chapter.save(net, create_net(nnx.Rngs(1)), x, options.out / "weights.safetensors")
    return {"val_loss": result["loss"]}


# %%
main.start(__name__)
