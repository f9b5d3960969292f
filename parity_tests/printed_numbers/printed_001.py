"""PyTorch basics: gradients, the line through five points, results of printed tensors, parameters of a convolution."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import nn

from .printed_row import Printed

x = jnp.ones(2)
points = jnp.array([1.4, 5, 11, 16, 21])
target = jnp.array([14.4, 29.6, 62, 85.5, 113.4])
X = jnp.stack([points, jnp.ones(5)], 1)
scores = jnp.array([-0.2128, 0.5412])
pairs = jnp.array([[0.4022, -0.7402], [1.4084, 0.0899], [-1.5336, 0.8580], [0.7828, -0.5670], [-0.1495, 0.0716]])
weights = jnp.array([5.0840, 5.5849])


def length(x: jax.Array) -> jax.Array:
    """y = |4 x|."""
    return jnp.linalg.norm(4 * x)


def squares(w: jax.Array) -> jax.Array:
    """The loss of the line: Σ (X w - y)²."""
    return jnp.sum((X @ w - target) ** 2)


def size(*arguments: int, of: str) -> int:
    """Return how many parameters a layer without bias has; none are made."""
    layer = nnx.eval_shape(lambda: getattr(nn, of)(*arguments, bias=False, rngs=nnx.Rngs(0)))
    return sum(parameter.size for parameter in layer.parameters())


# The least that half a unit of the weights' fourth digit makes of the loss: the sizes of the gradient, added.
REACH = float(jnp.abs(jax.grad(squares)(weights)).sum()) + 0.1

ROWS = (
    Printed("001 2.1:50", "the length of 4 x", "length(x)", "tensor(5.6569)", "digits"),
    Printed("001 2.1:56", "its derivative", "jax.grad(length)(x)[0]", "tensor(2.8284)", "digits"),
    Printed("001 2.3:96", "X", "x", "tensor([1., 1.], requires_grad=True)"),
    Printed("001 2.3:104", "4 * X", "4 * x", "tensor([4., 4.], grad_fn=<MulBackward0>)"),
    Printed("001 2.3:112", "z.norm()", "length(x)", "tensor(5.6569, grad_fn=<CopyBackwards>)", "digits"),
    Printed("001 2.4:122", "X.grad", "jax.grad(length)(x)", "tensor([2.8284, 2.8284])", "digits"),
    Printed(
        "001 3.2:218",
        "Produce_X(x)",
        "X",
        "tensor([[1.4000, 1.0000], [5.0000, 1.0000], [11.0000, 1.0000], [16.0000, 1.0000], [21.0000, 1.0000]])",
        "digits",
    ),
    Printed(
        "001 3.2:290",
        "the loss, from the printed weights",
        "squares(weights)",
        "8.2430419921875",
        "digits",
        reach=REACH,
    ),
    Printed(
        "001 5.1:580",
        "torch.sigmoid(a), from the printed a",
        "jax.nn.sigmoid(scores)",
        "tensor([0.4470, 0.6321])",
        "digits",
        reach=0.25,
    ),
    Printed(
        "001 5.3:697",
        "torch.max(b, 1).values",
        "pairs.max(1)",
        "tensor([0.4022, 1.4084, 0.8580, 0.7828, 0.0716])",
        "digits",
    ),
    Printed("001 5.3:698", "torch.max(b, 1).indices", "pairs.argmax(1)", "tensor([0, 0, 1, 0, 1])"),
    Printed(
        "001 7.1:826",
        "weights from 100 × 100 pixels to 10000 nodes",
        'size(100 * 100, 10000, of="Linear")',
        "100000000",
        "count",
    ),
    Printed("001 7.1:830", "weights of 100 filters of 10 × 10", 'size(1, 100, 10, of="Conv2d")', "10000", "count"),
)
