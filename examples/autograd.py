# %% [markdown]
# # Derivatives
#
# Chapter 2-2 of the 20-day tutorial, and the chapters on automatic differentiation of PyTorch basics (2), PyTorch in
# practice (1.3), the PyTorch notes (60-minute part) and their quick start.
#
# - Command: `python examples/autograd.py`. No files; `--smoke` does the same.
# - Time: about 5 s on two CPU cores.
# - Score: a few derivatives, and where x² - 2x + 1 is least; the exit status is 1 if one is wrong.

# %%
from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jaxport import chapter, optim
from jaxport.chapter import show
from jaxport.nn import functional as F
from jaxport.random import Generator

# %% [markdown]
# ## 1. A derivative is a function
#
# PyTorch records what happens to a tensor that has `requires_grad`, and `backward` writes the derivative into its
# `grad`. Arrays have no such fields. `jax.grad(f)` takes a function and returns a function: its derivative with respect
# to its first argument. What is a variable and what a constant is said there, not on the array.
#
# f is the tutorial's parabola, with f'(0) = -2; below it, y = |4x| with y' = (2.8284, 2.8284) at x = (1, 1).


# %%
def f(x: jax.Array) -> jax.Array:
    a, b, c = 1.0, -2.0, 1.0
    return a * x**2 + b * x + c


def scalars() -> jax.Array:
    derivative = jax.grad(f)(jnp.asarray(0.0))
    show("jax.grad(f)(0.0)", derivative)
    y, dy_dx = jax.value_and_grad(lambda x: jnp.linalg.norm(4 * x))(jnp.ones(2))
    show("|4x| and its derivative", f"{y:.4f} {dy_dx}")
    return derivative


# %% [markdown]
# ## 2. Of what is no scalar
#
# `jax.grad` wants a scalar. `jax.vjp` is `backward(gradient)`: it returns the value and a function from a gradient of
# the output to that of the input. The tutorial's other way, to sum output · gradient first, works as well; and for a
# function that treats its elements alike, `jax.vmap(jax.grad(f))` says what is meant. `jax.jacobian` has all of it.


# %%
def arrays() -> jax.Array:
    x = jnp.asarray([[0.0, 0.0], [1.0, 2.0]])
    gradient = jnp.ones((2, 2))
    y, backward = jax.vjp(f, x)
    (x_grad,) = backward(gradient)
    show("f(x)", y)
    show("vjp", x_grad)
    show("of the sum", jax.grad(lambda x: jnp.sum(f(x) * gradient))(x))
    show("vmap", jax.vmap(jax.vmap(jax.grad(f)))(x))
    show("jax.jacobian(f)(x).shape", jax.jacobian(f)(x).shape)
    return x_grad


# %% [markdown]
# ## 3. Second derivatives
#
# The derivative is a function: differentiate it. No `create_graph`.


# %%
def second_order() -> jax.Array:
    second = jax.grad(jax.grad(f))(jnp.asarray(0.0))
    show("jax.grad(jax.grad(f))(0.0)", second)
    show("jax.hessian of x₁² x₂", jax.hessian(lambda x: x[0] ** 2 * x[1])(jnp.asarray([1.0, 2.0])))
    return second


# %% [markdown]
# ## 4. Several inputs, several outputs
#
# `argnums` names the inputs. With several outputs `vjp` wants a gradient for each, and adds what comes back: gradients
# of one for all are what `torch.autograd.grad(outputs=[y1, y2], ...)` does. An input can be a tree, such as a dict of
# parameters; then the gradient is the same tree. The function that `vjp` returns can be called again and again, as with
# `retain_graph`.


# %%
def several() -> jax.Array:
    x1, x2 = jnp.asarray(1.0), jnp.asarray(2.0)
    show("of x1 * x2", jnp.stack(jax.grad(lambda x1, x2: x1 * x2, argnums=(0, 1))(x1, x2)))
    _, backward = jax.vjp(lambda x1, x2: (x1 * x2, x1 + x2), x1, x2)
    one = jnp.asarray(1.0)
    both = backward((one, one))
    show("of x1 * x2 and x1 + x2", jnp.stack(both))
    show("of x1 + x2 alone", jnp.stack(backward((0 * one, one))))
    return both[0]


# %% [markdown]
# ## 5. What is not differentiated
#
# `detach` is `jax.lax.stop_gradient`. `no_grad` is not needed: a value is recorded only inside `grad` and `vjp`, and
# which inputs have a gradient is `argnums`' business, so `requires_grad_` on the way has no counterpart.
#
# The example of the notes: z = 3 (x + 2)², its mean is 27 for x = 1, the derivative 4.5.


# %%
def detached() -> jax.Array:
    x = jnp.ones((2, 2))
    mean, x_grad = jax.value_and_grad(lambda x: jnp.mean(3 * (x + 2) ** 2))(x)
    show("mean of 3 (x + 2)², derivative", f"{mean} {x_grad[0]} {x_grad[1]}")
    half = jax.grad(lambda x: jnp.mean(3 * (x + 2) * jax.lax.stop_gradient(x + 2)))(x)
    show("one of the factors detached", f"{half[0]} {half[1]}")
    return x_grad


# %% [markdown]
# ## 6. Nothing accumulates
#
# A gradient is returned, not added to what is there: without `grad` there is no `zero_grad`, and none to forget. Who
# wants the sum over several batches adds (`optim.accumulate` does, for training).


# %%
def accumulation() -> jax.Array:
    x = jnp.asarray(0.0)
    first, second = jax.grad(f)(x), jax.grad(f)(x)
    show("twice: the same, and the sum", f"{first} {second} {first + second}")
    return first + second


# %% [markdown]
# ## 7. One layer
#
# The quick start's: five inputs, three outputs, binary cross-entropy on logits. `w` and `b` have a gradient, `x` and
# `y` have none. Both are drawn as PyTorch does after `torch.manual_seed(0)`.


# %%
def one_layer() -> jax.Array:
    generator = Generator(0)
    x, y = jnp.ones(5), jnp.zeros(3)
    parameters = {"w": jnp.asarray(generator.randn(5, 3)), "b": jnp.asarray(generator.randn(3))}

    def loss(parameters: dict[str, jax.Array]) -> jax.Array:
        return F.binary_cross_entropy_with_logits(x @ parameters["w"] + parameters["b"], y)

    value, gradients = jax.value_and_grad(loss)(parameters)
    show("loss", f"{value:.4f}")
    show("gradient of b", gradients["b"])
    show("gradient of w", f"{gradients['w'].shape}, each row is b's")
    return value


# %% [markdown]
# ## 8. The least value
#
# SGD, lr 0.01, 500 steps from 0. An optimiser does not hold the parameter: from a gradient and its own state it makes
# an update and a new state. A step is a pure function, so `jax.jit` compiles it.


# %%
def minimum() -> jax.Array:
    optimizer = optim.SGD(lr=0.01)
    x = jnp.asarray(0.0)
    state = optimizer.init(x)

    @jax.jit
    def step(x: jax.Array, state: optax.OptState) -> tuple[jax.Array, optax.OptState]:
        updates, state = optimizer.update(jax.grad(f)(x), state, x)
        return jnp.asarray(optax.apply_updates(x, updates)), state

    for _ in range(500):
        x, state = step(x, state)
    show("least value, at", f"y = {f(x):.4f}, x = {x:.4f}")
    return x


# %% [markdown]
# ## All sections


# %%
@chapter.command(
    "Derivatives: chapter 2-2 in JAX.",
    expected={
        "f'(0)": (-2, -2),
        "f'(2)": (2, 2),
        "f''(0)": (2, 2),
        "two outputs": (3, 3),
        "mean": (4.5, 4.5),
        "sum": (-4, -4),
        "one layer": (0.6818, 0.682),
        "minimum": (0.9999, 1),
    },
)
def main(options: chapter.Options) -> dict[str, float]:
    scores = {
        "f'(0)": scalars(),
        "f'(2)": arrays()[1, 1],
        "f''(0)": second_order(),
        "two outputs": several(),
        "mean": detached()[0, 0],
        "sum": accumulation(),
        "one layer": one_layer(),
        "minimum": minimum(),
    }
    return {name: value.item() for name, value in scores.items()}


# %%
main.start(__name__)
