# %% [markdown]
# # Tensors and arrays
#
# Chapter 2-1 of the 20-day tutorial, and the tensor chapters of PyTorch in practice (1), PyTorch basics (1), the
# PyTorch notes (60-minute part) and their quick start: what an array is, and how it differs from a tensor. Chapters 4-1
# and 4-2 are `tensor_structure.py` and `tensor_maths.py`.
#
# - Command: `python examples/tensors.py`. No files; `--smoke` does the same.
# - Time: about 3 s on two CPU cores.
# - Score: a few numbers that PyTorch gives as well; the exit status is 1 if one differs.

# %%
from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxport import chapter
from jaxport.chapter import show
from jaxport.random import Generator

# %% [markdown]
# ## 1. Data types
#
# The same types, with other defaults: an integer is int32 and not int64, a float is float32. The 64-bit types exist
# only where they are switched on, for a block (`jax.enable_x64`) or a program (`JAX_ENABLE_X64=1`); elsewhere a request
# for float64 warns and gives float32. `astype` stands for `float()`, `long()`, `type()` and `type_as()`.
#
# A Python number takes the type of the array that it meets. Two arrays of different types promote as in PyTorch
# (int32 + float32 is float32); `jax_numpy_dtype_promotion="strict"` makes that an error, which finds mistakes.


# %%
def data_types() -> None:
    for value in (1, 2.0, True):
        show(f"jnp.asarray({value})", f"{jnp.asarray(value)} {jnp.asarray(value).dtype}")
    show("jnp.float16(2.0).dtype", jnp.float16(2.0).dtype)
    show("jnp.asarray([1, 0, 2, 0], bool)", jnp.asarray([1, 0, 2, 0], bool))
    with jax.enable_x64(True):
        show("with x64: jnp.asarray(1)", f"{jnp.asarray(1)} {jnp.asarray(1).dtype}")
        for kind in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"):
            show(f"jnp.asarray(1, jnp.{kind})", f"{jnp.asarray(1, kind)}, {jnp.asarray(1, kind).nbytes} bytes")
    i = jnp.asarray(1)
    x = i.astype(jnp.float32)
    show("i.astype(jnp.float32)", f"{x} {x.dtype}")
    show("i.astype(x.dtype)", i.astype(x.dtype))
    show("(i + 0.5).dtype, (i + x).dtype", ((i + 0.5).dtype.name, (i + x).dtype.name))


# %% [markdown]
# ## 2. Dimensions
#
# As many as there are pairs of brackets: `ndim` for `dim()`. PyTorch's dim is NumPy's and JAX's axis.


# %%
def dimensions() -> None:
    scalar = jnp.asarray(True)
    vector = jnp.asarray([1.0, 2.0, 3.0, 4.0])
    matrix = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    cube = jnp.asarray([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    film = jnp.stack([cube, cube + 8.0])
    for name, array in {"scalar": scalar, "vector": vector, "matrix": matrix, "cube": cube, "film": film}.items():
        show(name, f"ndim {array.ndim}, shape {array.shape}, size {array.size}")
    show("cube", cube)


# %% [markdown]
# ## 3. Shapes
#
# An array has a shape but no strides: how it lies in memory is the compiler's business. So there is no `view`, no
# `is_contiguous`, no `contiguous`; `reshape` always works, also after a transposition, where PyTorch's `view` fails.
# Under `jax.jit` a shape must be known before the program runs: it may depend on other shapes, never on values.


# %%
def shapes() -> jax.Array:
    vector = jnp.arange(12)
    show("vector.shape", vector.shape)
    show("vector.reshape(3, 4)", vector.reshape(3, 4))
    show("vector.reshape(4, -1)", vector.reshape(4, -1))
    matrix = vector.reshape(2, 6)
    show("matrix.T.reshape(3, 4)", matrix.T.reshape(3, 4))
    return matrix.T.reshape(3, 4)


# %% [markdown]
# ## 4. NumPy
#
# An array never changes, so nothing can be seen through it: `np.asarray(x)` is a view that cannot be written to,
# `np.array(x)` a copy. In the other direction `jnp.array` copies. `jnp.asarray` may keep the memory of a large NumPy
# array, and then what NumPy writes there later shows: a bug rather than a feature, so copy what you go on writing to.
# `clone` has no counterpart, as it has no use. `item` and `tolist` are the same.


# %%
def numpy_and_back() -> None:
    numbers = np.zeros(3, np.float32)
    x = jnp.array(numbers)
    np.add(numbers, 1, out=numbers)
    show("numbers, x", f"{numbers} {x}")
    view = np.asarray(x)
    x = x + 1
    show("view, x", f"{view} {x}")
    show("view.flags.writeable", view.flags.writeable)
    show("jnp.asarray(1.0).item()", (jnp.asarray(1.0).item(), type(jnp.asarray(1.0).item()).__name__))
    show("jnp.ones((2, 2)).tolist()", jnp.ones((2, 2)).tolist())
    show("np.float64 becomes", jnp.asarray(np.ones(3)).dtype)


# %% [markdown]
# ## 5. New arrays
#
# Random numbers need a key: the same key gives the same numbers, so a program splits it. `jaxport.random.Generator`
# gives PyTorch's own numbers (as NumPy arrays), wherever a result is to be compared.
#
# `empty` is zeros: memory that was never written to cannot be seen. `new_ones` and the `_like` functions take the shape
# and type of another array, unless told otherwise.


# %%
def new_arrays() -> jax.Array:
    show("jnp.empty((2, 3))", jnp.empty((2, 3)))
    show("jnp.zeros((2, 3), jnp.int32)", jnp.zeros((2, 3), jnp.int32))
    show("jnp.asarray([5.5, 3])", jnp.asarray([5.5, 3]))
    x = jnp.asarray([[1, 2], [3, 4]])
    show("jnp.ones_like(x)", jnp.ones_like(x))
    first, second = jax.random.split(jax.random.key(0))
    show("jax.random.uniform(first, x.shape)", jax.random.uniform(first, x.shape))
    show("jax.random.normal(second, x.shape)", jax.random.normal(second, x.shape))
    torch_numbers = jnp.asarray(Generator(0).rand(5))
    show("torch.manual_seed(0); torch.rand(5)", torch_numbers)
    show("torch_numbers.device", torch_numbers.device)
    return torch_numbers


# %% [markdown]
# ## 6. Operations, and what stands for those in place
#
# Nothing happens in place: no `add_`, no `out=`, no `x[:, 1] = 0`. A new array is given the old name, or
# `x.at[...]` returns a changed copy. Under `jax.jit` the compiler writes into the old memory where it can, so there it
# costs nothing, and a gradient can never go wrong because a value was overwritten.
#
# `@` is the matrix product, `*` the product of elements. An index that is too large is no error, since under `jax.jit`
# nothing could raise it: reading takes the last element, `.at` leaves the array as it is.


# %%
def operations() -> jax.Array:
    x = jnp.ones((4, 4))
    show("x[0], x[:, 0], x[..., -1]", f"{x[0]} {x[:, 0]} {x[..., -1]}")
    x = x.at[:, 1].set(0)
    show("x.at[:, 1].set(0)", x)
    show("jnp.concatenate([x] * 3, 1).shape", jnp.concatenate([x, x, x], axis=1).shape)
    show("x @ x.T", x @ x.T)
    show("x * x", x * x)
    show("x.sum().item()", x.sum().item())
    show("x + 5", x + 5)
    show("x.at[0].add(5)[0]", x.at[0].add(5)[0])
    show("x[9], out of range", x[9])
    try:
        x[0, 0] = 5.0  # pyright: ignore[reportIndexIssue]
    except TypeError as error:
        show("x[0, 0] = 5.0", str(error).partition(".")[0])
    return x.sum()


# %% [markdown]
# ## 7. Axes of length one, and their order
#
# `jnp.squeeze(x)` takes out all axes of length one, `expand_dims` is `unsqueeze`; `jnp.transpose` is `permute`,
# `swapaxes` is PyTorch's `transpose`. PyTorch's `squeeze(dim)` of a longer axis does nothing; JAX's is an error.


# %%
def axes() -> None:
    x = jnp.expand_dims(jnp.ones((2, 2)), 0)
    show("jnp.expand_dims(x, 0).shape", x.shape)
    show("jnp.squeeze(x).shape", jnp.squeeze(x).shape)
    y = jnp.zeros((3, 4, 5))
    show("jnp.transpose(y, (1, 0, 2)).shape", jnp.transpose(y, (1, 0, 2)).shape)
    show("jnp.swapaxes(y, 0, 2).shape", jnp.swapaxes(y, 0, 2).shape)
    show("y.reshape(-1, 5).shape", y.reshape(-1, 5).shape)
    try:
        jnp.squeeze(y, 0)
    except ValueError as error:
        show("jnp.squeeze(y, 0)", str(error).partition(",")[0])


# %% [markdown]
# ## All sections
#
# The `Variable` of older tutorials, a tensor with its gradient, has no counterpart at all: `autograd.py`.


# %%
@chapter.command(
    "Tensors: chapter 2-1 in JAX.",
    expected={"transposed, reshaped": (6, 6), "torch.rand": (0.49625, 0.49626), "sum": (12, 12)},
)
def main(options: chapter.Options) -> dict[str, float]:
    data_types()
    dimensions()
    reshaped = shapes()
    numpy_and_back()
    numbers = new_arrays()
    total = operations()
    axes()
    return {
        "transposed, reshaped": reshaped[0, 1].item(),
        "torch.rand": numbers[0].item(),
        "sum": total.item(),
    }


# %%
main.start(__name__)
