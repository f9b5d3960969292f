# %% [markdown]
# # The computation graph
#
# Chapter 2-3 of the 20-day tutorial: what a framework remembers of a computation, functions with a backward pass of
# their own, the gradients in the middle, and the graph in TensorBoard.
#
# - Command: `python examples/graph.py`. No files; `--smoke` does the same.
# - Time: about 5 s on two CPU cores.
# - Score: the tutorial's gradients; the exit status is 1 if one differs.

# %%
from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from tensorboardX import SummaryWriter

from jaxport import chapter, nn
from jaxport.chapter import show
from jaxport.engine.callbacks.graph_trace import trace
from jaxport.engine.callbacks.tensorboard_graph import add_graph
from jaxport.random import Generator

# %% [markdown]
# ## 1. When is there a graph?
#
# PyTorch builds one as it computes, uses it once in `backward`, and throws it away. JAX computes as well when a line is
# reached, but remembers nothing. A graph is made by tracing: `grad`, `vjp`, `jit` call the function with stand-ins for
# the arrays and write down what is done to them. `jax.make_jaxpr` shows it.
#
# `jax.vjp` returns the value and the backward pass. This holds what it needs for as long as it lives, and can be called
# any number of times: there is no `retain_graph`, and a second `backward` is no error.


# %%
def trace_and_differentiate() -> None:
    generator = Generator(0)
    x, y = jnp.asarray(generator.randn(10, 2)), jnp.asarray(generator.randn(10, 1))
    w, b = jnp.asarray([[3.0, 1.0]]), jnp.asarray([[3.0]])

    def loss(w: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.mean((x @ w.T + b - y) ** 2)

    show("prediction", (x @ w.T + b)[:, 0])
    value, backward = jax.vjp(loss, w, b)
    one = jnp.ones_like(value)
    show("loss, gradients", f"{value:.4f} {backward(one)[0]} {backward(one)[1]}")
    show("the gradients a second time", f"{backward(one)[0]} {backward(one)[1]}")
    show("the graph", jax.make_jaxpr(loss)(w, b))


# %% [markdown]
# ## 2. A function with its own backward pass
#
# `torch.autograd.Function` has `forward` and `backward`, and a context to hand values over. `jax.custom_vjp` takes the
# two as functions: the first returns its result and what to keep, the second gets what was kept and the gradient.
#
# As in the tutorial the gradient at 0 passes. `F.relu`, like PyTorch's, has 0 there. In the graph the function stands
# under its name, with its two passes; that is what PyTorch shows as `grad_fn`.


# %%
@jax.custom_vjp
def my_relu(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


def forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return my_relu(x), x


def backward(x: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    return (jnp.where(x < 0, 0, gradient),)


my_relu.defvjp(forward, backward)


def own_function() -> jax.Array:
    x, y = jnp.asarray([[-1.0, -1.0], [1.0, 1.0]]), jnp.asarray([[2.0, 3.0]])

    def loss(w: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.mean((my_relu(x @ w.T + b) - y) ** 2)

    w_grad, b_grad = jax.grad(loss, argnums=(0, 1))(jnp.asarray([[3.0, 1.0]]), jnp.asarray([[3.0]]))
    show("w.grad, b.grad", f"{w_grad} {b_grad}")
    show("my_relu in the graph", jax.make_jaxpr(my_relu)(1.0))
    return w_grad


# %% [markdown]
# ## 3. The backward pass, step by step
#
# x = 3, y₁ = x + 1, y₂ = 2x, loss = (y₁ - y₂)². From the end: 1 for the loss, then -4 and 4 for y₁ and y₂, and x gets
# from each of them its share: 1 · (-4) + 2 · 4 = 4.


# %%
def step_by_step() -> jax.Array:
    x = jnp.asarray(3.0)
    y1, backward_1 = jax.vjp(lambda x: x + 1, x)
    y2, backward_2 = jax.vjp(lambda x: 2 * x, x)
    loss, backward_loss = jax.vjp(lambda y1, y2: (y1 - y2) ** 2, y1, y2)
    y1_grad, y2_grad = backward_loss(jnp.ones_like(loss))
    (share_1,), (share_2,) = backward_1(y1_grad), backward_2(y2_grad)
    show("y1.grad, y2.grad", f"{y1_grad} {y2_grad}")
    show("x.grad", f"{share_1} + {share_2} = {share_1 + share_2}")
    return share_1 + share_2


# %% [markdown]
# ## 4. Leaves, and the gradients in the middle
#
# A leaf, in PyTorch, is what the user made; only leaves keep a `grad`. Here the gradient is of the arguments, whatever
# they are, and for a value in the middle (`retain_grad`) an argument is added to it: a zero, whose gradient is the
# value's. `flax.nnx.Module.perturb` does this within a module.
#
# A hook (`register_hook`) is a function that returns what it gets and lets the gradient that comes back be seen.
# `jax.debug.print` prints also from a compiled program. The calls run backwards: y₂ before y₁.


# %%
def retained() -> dict[str, jax.Array]:
    def loss(x: jax.Array, add: dict[str, jax.Array]) -> jax.Array:
        y1 = x + 1 + add["y1"]
        y2 = 2 * x + add["y2"]
        return (y1 - y2) ** 2 + add["loss"]

    zeros = dict.fromkeys(("y1", "y2", "loss"), jnp.asarray(0.0))
    x_grad, grads = jax.grad(loss, argnums=(0, 1))(jnp.asarray(3.0), zeros)
    show("x.grad, and in the middle", f"{x_grad}; " + ", ".join(f"{name}.grad {grads[name]}" for name in zeros))
    return grads


def hook(y: jax.Array, see: Callable[[jax.Array], None]) -> jax.Array:
    def backward(kept: None, gradient: jax.Array) -> tuple[jax.Array]:
        see(gradient)
        return (gradient,)

    same = jax.custom_vjp(lambda y: y)
    same.defvjp(lambda y: (y, None), backward)
    return same(y)


def hooked() -> None:
    def loss(x: jax.Array) -> jax.Array:
        y1 = hook(x + 1, partial(jax.debug.print, "y1 grad: {}"))
        y2 = hook(2 * x, partial(jax.debug.print, "y2 grad: {}"))
        return (y1 - y2) ** 2

    jax.grad(loss)(jnp.asarray(3.0))
    jax.effects_barrier()  # until all is printed


# %% [markdown]
# ## 5. The graph in TensorBoard
#
# `add_graph` traces the module and writes the graph, a box for each module within, to an event file. In training the
# callback `jaxport.engine.callbacks.TensorBoard` does it. `tensorboard --logdir runs/examples/graph` shows it; in a
# notebook, `%load_ext tensorboard` and `%tensorboard --logdir runs/examples/graph` do.


# %%
class Net(nn.Module):
    def __init__(self) -> None:
        self.w = nn.Parameter(jnp.asarray(Generator(0).randn(2, 1)))
        self.b = nn.Parameter(jnp.zeros((1, 1)))

    def forward(self, x: jax.Array) -> jax.Array:
        return x @ self.w + self.b


def tensorboard(options: chapter.Options) -> None:
    with SummaryWriter(str(options.out)) as writer:
        add_graph(writer, Net(), (10, 2))
    for node in trace(Net(), (10, 2)):
        show(node.name, f"{node.op} {node.shapes[0]} from {node.inputs}")


# %% [markdown]
# ## All sections


# %%
@chapter.command(
    "The computation graph: chapter 2-3 in JAX.",
    expected={"w": (4.5, 4.5), "x": (4, 4), "y1": (-4, -4), "y2": (4, 4), "loss": (1, 1)},
)
def main(options: chapter.Options) -> dict[str, float]:
    trace_and_differentiate()
    scores = {"w": own_function()[0, 0], "x": step_by_step(), **retained()}
    hooked()
    tensorboard(options)
    return {name: value.item() for name, value in scores.items()}


# %%
main.start(__name__)
