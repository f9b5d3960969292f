"""20-day tutorial, 2-2, 2-3 and 5-4: derivatives, the minimum of a parabola, a ReLU of one's own."""

from functools import cache

import jax
import jax.numpy as jnp
import optax

from jaxport import optim

from .printed_row import Printed

zero = jnp.array(0.0)
corners = jnp.array([[0.0, 0.0], [1.0, 2.0]])
w, b = jnp.array([[3.0, 1.0]]), jnp.array([[3.0]])
X, Y = jnp.array([[-1.0, -1.0], [1.0, 1.0]]), jnp.array([[2.0, 3.0]])
one, two, three = jnp.array(1.0), jnp.array(2.0), jnp.array(3.0)


def f(x: jax.Array) -> jax.Array:
    """x² - 2 x + 1."""
    a, b, c = jnp.array(1.0), jnp.array(-2.0), jnp.array(1.0)
    return a * jnp.power(x, 2) + b * x + c


@cache
def minimum() -> jax.Array:
    """Return x after 500 steps of gradient descent with rate 0.01."""
    rule = optim.SGD(lr=0.01)

    def step(_: int, state: tuple) -> tuple:
        x, kept = state
        change, kept = rule.update(jax.grad(f)(x), kept, x)
        return optax.apply_updates(x, change), kept

    return jax.lax.fori_loop(0, 500, step, (zero, rule.init(zero)))[0]


@jax.custom_vjp
def relu(x: jax.Array) -> jax.Array:
    """max(x, 0), with its derivative written by hand."""
    return jnp.clip(x, 0)


relu.defvjp(lambda x: (relu(x), x), lambda x, gradient: (jnp.where(x < 0, 0, gradient),))


def loss(w: jax.Array, b: jax.Array) -> jax.Array:
    """Mean squared error of relu(X wᵀ + b), every row against the row of targets."""
    return jnp.mean((relu(X @ w.T + b) - Y) ** 2)


def gap(y1: jax.Array, y2: jax.Array) -> jax.Array:
    """(y1 - y2)²."""
    return (y1 - y2) ** 2


def both(x1: jax.Array, x2: jax.Array) -> jax.Array:
    """x1 x2 + (x1 + x2): the derivatives of two results are added."""
    return x1 * x2 + (x1 + x2)


CORNERS = "tensor([[0., 0.], [1., 2.]], requires_grad=True)"
HEIGHTS = "tensor([[1., 1.], [0., 1.]], grad_fn=<AddBackward0>)"
SLOPES = "tensor([[-2., -2.], [ 0.,  2.]])"

ROWS = (
    Printed("002 2-2:2534", "x.grad", "jax.grad(f)(zero)", "tensor(-2.)"),
    Printed("002 2-2:2567", "x", "corners", CORNERS),
    Printed("002 2-2:2570", "y", "f(corners)", HEIGHTS),
    Printed("002 2-2:2573", "x.grad", "jax.vjp(f, corners)[1](jnp.ones((2, 2)))[0]", SLOPES),
    Printed("002 2-2:2607", "x", "corners", CORNERS),
    Printed("002 2-2:2609", "y", "f(corners)", HEIGHTS),
    Printed("002 2-2:2612", "x.grad", "jax.grad(lambda x: jnp.sum(f(x) * jnp.ones((2, 2))))(corners)", SLOPES),
    Printed("002 2-2:2643", "dy_dx", "jax.grad(f)(zero)", "tensor(-2.)"),
    Printed("002 2-2:2644", "dy2_dx2", "jax.grad(jax.grad(f))(zero)", "tensor(2.)"),
    Printed("002 2-2:2669", "dy1_dx1", "jax.grad(jnp.multiply, 0)(one, two)", "tensor(2.)"),
    Printed("002 2-2:2669", "dy1_dx2", "jax.grad(jnp.multiply, 1)(one, two)", "tensor(1.)"),
    Printed("002 2-2:2670", "dy12_dx1", "jax.grad(both, 0)(one, two)", "tensor(3.)"),
    Printed("002 2-2:2670", "dy12_dx2", "jax.grad(both, 1)(one, two)", "tensor(2.)"),
    Printed("002 2-2:2705", "f(x) at the minimum", "f(minimum())", "tensor(0.)"),
    Printed("002 2-2:2705", "x at the minimum", "minimum()", "tensor(1.0000)", "digits"),
    Printed("002 2-3:2839", "w.grad", "jax.grad(loss, 0)(w, b)", "tensor([[4.5000, 4.5000]])", "digits"),
    Printed("002 2-3:2840", "b.grad", "jax.grad(loss, 1)(w, b)", "tensor([[4.5000]])", "digits"),
    Printed("002 2-3:2929", "x.grad", "jax.grad(lambda x: gap(x + 1, 2 * x))(three)", "tensor(4.)"),
    Printed("002 2-3:2971", "the gradient of y2", "jax.grad(gap, 1)(three + 1, 2 * three)", "tensor(4.)"),
    Printed("002 2-3:2972", "the gradient of y1", "jax.grad(gap, 0)(three + 1, 2 * three)", "tensor(-4.)"),
    Printed("002 2-3:2974", "loss.grad", "jax.grad(lambda loss: loss)(gap(three + 1, 2 * three))", "tensor(1.)"),
    Printed("002 2-3:2975", "x.grad", "jax.grad(lambda x: gap(x + 1, 2 * x))(three)", "tensor(4.)"),
    Printed("002 5-4:7933", "f(x) at the minimum", "f(minimum())", "tensor(0.)"),
    Printed("002 5-4:7933", "x at the minimum", "minimum()", "tensor(1.0000)", "digits"),
)
