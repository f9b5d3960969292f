"""20-day tutorial, 4-1: reshaping, joining and splitting tensors."""

import jax
import jax.numpy as jnp

from .printed_row import Printed

a, b, c = (jnp.array([[k, k + 1], [k + 2, k + 3]]) for k in (1.0, 5.0, 9.0))
joined = jnp.concatenate([a, b, c])
row = jnp.array([[1.0, 2.0]])
SIXES = """tensor([[126, 195,  22,  33,  78, 161],
        [124, 228, 116, 161,  88, 102],
        [  5,  43,  74, 132, 177, 204]], dtype=torch.int32)"""
PIXELS = """tensor([[[[126, 195],
          [ 22,  33],
          [ 78, 161]],

         [[124, 228],
          [116, 161],
          [ 88, 102]],

         [[  5,  43],
          [ 74, 132],
          [177, 204]]]], dtype=torch.int32)"""
JOINED = """tensor([[ 1.,  2.],
        [ 3.,  4.],
        [ 5.,  6.],
        [ 7.,  8.],
        [ 9., 10.],
        [11., 12.]])"""


def pictures() -> jax.ShapeDtypeStruct:
    """A hundred pictures, by their size: it is a hundred megabytes."""
    return jax.ShapeDtypeStruct((100, 256, 256, 4), jnp.int32)


ROWS = (
    Printed("002 4-1:5001", "a.shape", "pixels().shape", "torch.Size([1, 3, 3, 2])", "shape"),
    Printed("002 4-1:5002", "(255 * torch.rand([1, 3, 3, 2])).int()", "pixels()", PIXELS, "draw"),
    Printed("002 4-1:5025", "b.shape", "pixels().reshape(3, 6).shape", "torch.Size([3, 6])", "shape"),
    Printed(
        "002 4-1:5026",
        "a.view([3, 6])",
        "pixels().reshape(3, 6)",
        SIXES,
    ),
    Printed("002 4-1:5038", "torch.reshape(b, [1, 3, 3, 2])", "pixels().reshape(3, 6).reshape(1, 3, 3, 2)", PIXELS),
    Printed("002 4-1:5067", "a", "row", "tensor([[1., 2.]])"),
    Printed("002 4-1:5068", "torch.squeeze(a)", "jnp.squeeze(row)", "tensor([1., 2.])"),
    Printed("002 4-1:5069", "a.shape", "row.shape", "torch.Size([1, 2])", "shape"),
    Printed("002 4-1:5070", "s.shape", "jnp.squeeze(row).shape", "torch.Size([2])", "shape"),
    Printed("002 4-1:5086", "s", "jnp.squeeze(row)", "tensor([1., 2.])"),
    Printed("002 4-1:5087", "torch.unsqueeze(s, axis=0)", "jnp.expand_dims(jnp.squeeze(row), 0)", "tensor([[1., 2.]])"),
    Printed("002 4-1:5088", "s.shape", "jnp.squeeze(row).shape", "torch.Size([2])", "shape"),
    Printed("002 4-1:5089", "d.shape", "jnp.expand_dims(jnp.squeeze(row), 0).shape", "torch.Size([1, 2])", "shape"),
    Printed("002 4-1:5112", "data.shape", "pictures().shape", "torch.Size([100, 256, 256, 4])", "shape"),
    Printed(
        "002 4-1:5113",
        "two transpositions",
        "jax.eval_shape(lambda x: jnp.swapaxes(jnp.swapaxes(x, 1, 2), 1, 3), pictures()).shape",
        "torch.Size([100, 4, 256, 256])",
        "shape",
    ),
    Printed("002 4-1:5125", "matrix", "jnp.array([[1, 2, 3], [4, 5, 6]])", "tensor([[1, 2, 3], [4, 5, 6]])"),
    Printed("002 4-1:5127", "matrix.t()", "jnp.array([[1, 2, 3], [4, 5, 6]]).T", "tensor([[1, 4], [2, 5], [3, 6]])"),
    Printed("002 4-1:5156", "abc_cat.shape", "joined.shape", "torch.Size([6, 2])", "shape"),
    Printed("002 4-1:5157", "torch.cat([a, b, c], dim=0)", "joined", JOINED),
    Printed("002 4-1:5172", "abc_stack.shape", "jnp.stack([a, b, c]).shape", "torch.Size([3, 2, 2])", "shape"),
    Printed(
        "002 4-1:5173",
        "torch.stack([a, b, c], axis=0)",
        "jnp.stack([a, b, c])",
        "tensor([[[ 1., 2.], [ 3., 4.]], [[ 5., 6.], [ 7., 8.]], [[ 9., 10.], [11., 12.]]])",
    ),
    Printed(
        "002 4-1:5188",
        "torch.cat([a, b, c], axis=1)",
        "jnp.concatenate([a, b, c], 1)",
        "tensor([[ 1., 2., 5., 6., 9., 10.], [ 3., 4., 7., 8., 11., 12.]])",
    ),
    Printed(
        "002 4-1:5199",
        "torch.stack([a, b, c], axis=1)",
        "jnp.stack([a, b, c], 1)",
        "tensor([[[ 1., 2.], [ 5., 6.], [ 9., 10.]], [[ 3., 4.], [ 7., 8.], [11., 12.]]])",
    ),
    Printed("002 4-1:5228", "abc_cat", "joined", JOINED),
    Printed(
        "002 4-1:5234",
        "torch.split(abc_cat, [4, 1, 1])[0]",
        "jnp.split(joined, [4, 5])[0]",
        "tensor([[1., 2.], [3., 4.], [5., 6.], [7., 8.]])",
    ),
    Printed(
        "002 4-1:5238", "torch.split(abc_cat, [4, 1, 1])[1]", "jnp.split(joined, [4, 5])[1]", "tensor([[ 9., 10.]])"
    ),
    Printed(
        "002 4-1:5239", "torch.split(abc_cat, [4, 1, 1])[2]", "jnp.split(joined, [4, 5])[2]", "tensor([[11., 12.]])"
    ),
)
