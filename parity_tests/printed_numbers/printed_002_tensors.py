"""20-day tutorial, preface and 2-1: types, dimensions, sizes, NumPy."""

import jax.numpy as jnp
import numpy as np

from .printed_row import Printed

vector = jnp.array([1.0, 2.0, 3.0, 4.0])
cube = jnp.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
twelve = jnp.arange(12)
CUBE = """tensor([[[1., 2.],
         [3., 4.]],

        [[5., 6.],
         [7., 8.]]])"""
FILM = """tensor([[[[1., 1.],
          [2., 2.]],

         [[3., 3.],
          [4., 4.]]],


        [[[5., 5.],
          [6., 6.]],

         [[7., 7.],
          [8., 8.]]]])"""
ZEROS, ONES = "tensor([0., 0., 0.])", "tensor([1., 1., 1.])"


def pair(line: int, what: str, compute: str, printed: str, dtype: str, x64: bool = False) -> tuple[Printed, Printed]:
    """Return the rows of a tensor and of its type, printed side by side."""
    place = f"002 2-1:{line}"
    return (
        Printed(place, what, compute, printed, x64=x64),
        Printed(place, "its type", f"({compute}).dtype", f"torch.{dtype}", "dtype", x64=x64),
    )


ROWS = (
    Printed(
        "002 preface:132",
        "[[2, 1]] @ [[-1], [2]]",
        "(jnp.array([[2, 1]]) @ jnp.array([[-1, 2]]).T).item()",
        "0",
    ),
    *pair(2091, "torch.tensor(1)", "jnp.array(1)", "tensor(1)", "int64", x64=True),
    *pair(2092, "torch.tensor(2.0)", "jnp.array(2.0)", "tensor(2.)", "float32"),
    *pair(2093, "torch.tensor(True)", "jnp.array(True)", "tensor(True)", "bool"),
    *pair(
        2108,
        "torch.tensor(1, dtype=torch.int32)",
        "jnp.array(1, jnp.int32)",
        "tensor(1, dtype=torch.int32)",
        "int32",
        x64=True,
    ),
    *pair(
        2109,
        "torch.tensor(2.0, dtype=torch.double)",
        "jnp.array(2.0, jnp.float64)",
        "tensor(2., dtype=torch.float64)",
        "float64",
        x64=True,
    ),
    Printed("002 2-1:2127", "torch.IntTensor(1).dtype", "jnp.empty(1, jnp.int32).dtype", "torch.int32", "dtype"),
    *pair(2128, "torch.Tensor(np.array(2.0))", "jnp.asarray(np.array(2.0))", "tensor(2.)", "float32"),
    *pair(
        2129,
        "torch.BoolTensor(np.array([1, 0, 2, 0]))",
        "jnp.asarray(np.array([1, 0, 2, 0]), bool)",
        "tensor([ True, False,  True, False])",
        "bool",
    ),
    *pair(2151, "torch.tensor(1)", "jnp.array(1)", "tensor(1)", "int64", x64=True),
    *pair(2152, "i.float()", "jnp.array(1).astype(jnp.float32)", "tensor(1.)", "float32"),
    *pair(2153, "i.type(torch.float)", "jnp.asarray(jnp.array(1), jnp.float32)", "tensor(1.)", "float32"),
    *pair(2154, "i.type_as(x)", "jnp.array(1).astype(vector.dtype)", "tensor(1.)", "float32"),
    Printed("002 2-1:2177", "scalar", "jnp.array(True)", "tensor(True)"),
    Printed("002 2-1:2178", "scalar.dim()", "jnp.array(True).ndim", "0", "shape"),
    Printed("002 2-1:2190", "vector", "vector", "tensor([1., 2., 3., 4.])"),
    Printed("002 2-1:2191", "vector.dim()", "vector.ndim", "1", "shape"),
    Printed("002 2-1:2224", "tensor3", "cube", CUBE),
    Printed("002 2-1:2229", "tensor3.dim()", "cube.ndim", "3", "shape"),
    Printed("002 2-1:2244", "tensor4", "jnp.stack([cube, cube], -1)", FILM),
    Printed("002 2-1:2256", "tensor4.dim()", "jnp.stack([cube, cube], -1).ndim", "4", "shape"),
    Printed("002 2-1:2277", "scalar.size()", "jnp.array(True).shape", "torch.Size([])", "shape"),
    Printed("002 2-1:2278", "scalar.shape", "jnp.shape(True)", "torch.Size([])", "shape"),
    Printed("002 2-1:2290", "vector.size()", "vector.shape", "torch.Size([4])", "shape"),
    Printed("002 2-1:2291", "vector.shape", "jnp.shape(vector)", "torch.Size([4])", "shape"),
    Printed(
        "002 2-1:2304",
        "matrix.size()",
        "jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).shape",
        "torch.Size([3, 2])",
        "shape",
    ),
    Printed(
        "002 2-1:2325", "torch.arange(0, 12)", "twelve", "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11])"
    ),
    Printed("002 2-1:2326", "vector.shape", "twelve.shape", "torch.Size([12])", "shape"),
    Printed(
        "002 2-1:2328",
        "vector.view(3, 4)",
        "twelve.reshape(3, 4)",
        "tensor([[ 0,  1,  2,  3], [ 4,  5,  6,  7], [ 8,  9, 10, 11]])",
    ),
    Printed("002 2-1:2331", "matrix34.shape", "twelve.reshape(3, 4).shape", "torch.Size([3, 4])", "shape"),
    Printed(
        "002 2-1:2333",
        "vector.view(4, -1)",
        "twelve.reshape(4, -1)",
        "tensor([[ 0,  1,  2], [ 3,  4,  5], [ 6,  7,  8], [ 9, 10, 11]])",
    ),
    Printed("002 2-1:2337", "matrix43.shape", "twelve.reshape(4, -1).shape", "torch.Size([4, 3])", "shape"),
    Printed(
        "002 2-1:2358",
        "torch.arange(0, 12).view(2, 6)",
        "twelve.reshape(2, 6)",
        "tensor([[ 0,  1,  2,  3,  4,  5], [ 6,  7,  8,  9, 10, 11]])",
    ),
    Printed("002 2-1:2360", "matrix26.shape", "twelve.reshape(2, 6).shape", "torch.Size([2, 6])", "shape"),
    Printed(
        "002 2-1:2363",
        "matrix26.t().reshape(3, 4)",
        "twelve.reshape(2, 6).T.reshape(3, 4)",
        "tensor([[ 0,  6,  1,  7], [ 2,  8,  3,  9], [ 4, 10,  5, 11]])",
    ),
    Printed("002 2-1:2405", "np.zeros(3)", "np.asarray(jnp.zeros(3))", "[0. 0. 0.]"),
    Printed(
        "002 2-1:2406",
        "torch.from_numpy(arr)",
        "jnp.asarray(np.zeros(3))",
        "tensor([0., 0., 0.], dtype=torch.float64)",
        x64=True,
    ),
    Printed("002 2-1:2409", "np.add(arr, 1, out=arr)", "np.asarray(jnp.zeros(3) + 1)", "[1. 1. 1.]"),
    Printed(
        "002 2-1:2410",
        "tensor",
        "jnp.asarray(np.zeros(3)) + 1",
        "tensor([1., 1., 1.], dtype=torch.float64)",
        x64=True,
    ),
    Printed("002 2-1:2435", "torch.zeros(3)", "jnp.zeros(3)", ZEROS),
    Printed("002 2-1:2436", "tensor.numpy()", "np.asarray(jnp.zeros(3))", "[0. 0. 0.]"),
    Printed("002 2-1:2439", "tensor.add_(1)", "jnp.zeros(3) + 1", ONES),
    Printed("002 2-1:2440", "arr", "np.asarray(jnp.zeros(3) + 1)", "[1. 1. 1.]"),
    Printed("002 2-1:2465", "torch.zeros(3)", "jnp.zeros(3)", ZEROS),
    Printed("002 2-1:2466", "tensor.clone().numpy()", "np.array(jnp.zeros(3))", "[0. 0. 0.]"),
    Printed("002 2-1:2469", "tensor.add_(1)", "jnp.zeros(3) + 1", ONES),
    Printed("002 2-1:2470", "arr", "kept_copy()", "[0. 0. 0.]"),
    Printed("002 2-1:2487", "scalar.item()", "str(jnp.array(1.0).item())", "1.0"),
    Printed("002 2-1:2488", "type(s)", "str(type(jnp.array(1.0).item()))", "<class 'float'>", "dtype"),
    Printed(
        "002 2-1:2491",
        "type(tensor.tolist())",
        "str(type(jax.random.uniform(jax.random.key(0), (2, 2)).tolist()))",
        "<class 'list'>",
        "dtype",
    ),
)


def kept_copy() -> np.ndarray:
    """Return the copy of a tensor that one was added to."""
    tensor = jnp.zeros(3)
    copy = np.array(tensor)
    tensor = tensor + 1
    assert tensor[0] == 1
    return copy
