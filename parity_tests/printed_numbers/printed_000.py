"""PyTorch in practice: the line through fifteen points, from seed 2019."""

from functools import cache

import jax
import jax.numpy as jnp

from jaxport.data import fifteen
from jaxport.random import Generator

from .printed_row import Printed


@cache
def descent(dtype: str = "float32") -> dict:
    """The tutorial's steps by hand: first parameters, loss and gradients, then 31 steps with rate 0.01."""
    x, y = (jnp.asarray(part, dtype) for part in fifteen.load(None).train)

    def loss(w: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.mean((x * w[None] + b[None] - y) ** 2)

    step = jax.jit(jax.value_and_grad(loss, (0, 1)))
    w, b = jnp.asarray(Generator(2019).randn(1), dtype), jnp.zeros(1, dtype)
    first, gradients = step(w, b)
    found = {"w": w, "b": b, "first": first, "w.grad": gradients[0], "b.grad": gradients[1], "loss": []}
    for _ in range(31):
        w, b = w - 1e-2 * gradients[0], b - 1e-2 * gradients[1]
        value, gradients = step(w, b)
        found["loss"].append(float(value))
    return found


def loss(line: int, epoch: int, printed: str) -> Printed:
    """Return the row of one epoch's loss."""
    compute, truth = f'descent()["loss"][{epoch}]', f'descent("float64")["loss"][{epoch}]'
    return Printed(f"000 3.2.4:{line}", f"loss of epoch {epoch}", compute, printed, "float32", truth=truth)


ROWS = (
    Printed("000 1.2.1:102", "torch.ones(2, 2).size()", "jnp.ones((2, 2)).shape", "torch.Size([2, 2])", "shape"),
    Printed("000 1.2.1:105", "unsqueeze(0).size()", "jnp.ones((2, 2))[None].shape", "torch.Size([1, 2, 2])", "shape"),
    Printed("000 3.2.2:330", "w", 'descent()["w"]', "tensor([-0.1187], requires_grad=True)", "draw"),
    Printed("000 3.2.2:331", "b", 'descent()["b"]', "tensor([0.], requires_grad=True)"),
    Printed("000 3.2.4:372", "loss", 'descent()["first"]', "tensor(10.2335, grad_fn=<MeanBackward1>)", "digits"),
    Printed("000 3.2.4:414", "loss", 'descent()["first"]', "tensor(10.2335, grad_fn=<MeanBackward1>)", "digits"),
    Printed("000 3.2.4:416", "w.grad", 'descent()["w.grad"]', "tensor([-41.1289])", "digits"),
    Printed("000 3.2.4:417", "b.grad", 'descent()["b.grad"]', "tensor([-6.0890])", "digits"),
    loss(462, 0, "0.4142104387283325"),
    loss(463, 10, "0.2260516732931137"),
    loss(464, 20, "0.2231873869895935"),
    loss(465, 30, "0.2204667031764984"),
)
