# %% [markdown]
# # The structure of arrays
#
# Chapter 4-1 of the 20-day tutorial: to create, index, reshape, join and split.
#
# - Command: `python examples/tensor_structure.py`. No files; `--smoke` does the same.
# - Time: about 4 s on two CPU cores.
# - Score: a few numbers of the tutorial's; the exit status is 1 if one differs.

# %%
from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxport import chapter
from jaxport.chapter import show
from jaxport.random import Generator

# %% [markdown]
# ## 1. Create
#
# `jaxport.random.Generator(0)` draws what PyTorch draws after `torch.manual_seed(0)`, so that the numbers below are the
# tutorial's. A program that need not be compared takes `jax.random` with a key.


# %%
def create() -> None:
    show("jnp.asarray([1, 2, 3], jnp.float32)", jnp.asarray([1, 2, 3], jnp.float32))
    show("jnp.arange(1, 10, step=2)", jnp.arange(1, 10, step=2))
    show("jnp.linspace(0.0, 2 * 3.14, 10)", jnp.linspace(0.0, 2 * 3.14, 10))
    ones = jnp.ones((3, 3), jnp.int32)
    show("jnp.zeros_like(ones, jnp.float32)", jnp.zeros_like(ones, jnp.float32))
    show("jnp.full_like(ones, 5)", jnp.full_like(ones, 5))
    generator = Generator(0)
    show("10 * torch.rand(5)", jnp.asarray(10 * generator.rand(5)))
    show("torch.normal(0, 1, (3, 3))", jnp.asarray(generator.normal(0.0, 1.0, (3, 3))))
    show("5 * torch.randn(3, 3) + 2", jnp.asarray(5 * generator.randn(3, 3) + 2))
    show("torch.randperm(20)", jnp.asarray(generator.randperm(20), jnp.int32))
    show("jax.random.permutation(key, 20)", jax.random.permutation(jax.random.key(0), 20))
    show("jnp.eye(3)", jnp.eye(3))
    show("jnp.diag(jnp.asarray([1, 2, 3]))", jnp.diag(jnp.asarray([1, 2, 3])))


# %% [markdown]
# ## 2. Index and slice
#
# Reading is NumPy's and PyTorch's. Writing is `.at[...]`, which returns a new array; a parameter that is trained is
# changed the same way, so no `.data` is needed to hide it from the gradient.


# %%
def slices(generator: Generator) -> None:
    t = jnp.asarray(10 * generator.rand(5, 5)).astype(jnp.int32)
    show("t", t)
    show("t[0], t[-1]", f"{t[0]} {t[-1]}")
    show("t[1, 3], t[1][3]", f"{t[1, 3]} {t[1][3]}")
    show("t[1:4, :]", t[1:4, :])
    show("t[1:4, :4:2]", t[1:4, :4:2])
    show("x.at[1, :].set(0.0)", jnp.asarray([[1.0, 2.0], [3.0, 4.0]]).at[1, :].set(0.0))
    show("a[..., 1]", jnp.arange(27).reshape(3, 3, 3)[..., 1])


# %% [markdown]
# ## 3. Choose by index or by condition
#
# Marks of 4 classes, 10 pupils and 7 subjects. `jnp.take(x, i, axis)` is `index_select`, without an axis it is `take`,
# `jnp.take_along_axis` is `gather`. Indices are int32. One that is out of range is no error: `x[i]` takes the last
# element, these two give nan, or the least integer.
#
# `masked_select` has a result whose length depends on the values. Outside `jax.jit` `scores[scores >= 80]` does the
# same; inside it there is no such shape, and one counts, sums (`where=`) or fills instead, or says how long the result
# may be (`jnp.nonzero(..., size=n)`).


# %%
def choose(scores: jax.Array) -> jax.Array:
    pupils, subjects = jnp.asarray([0, 5, 9]), jnp.asarray([1, 3, 6])
    show("scores[0]", scores[0])
    show("jnp.take(scores, pupils, axis=1)[0]", jnp.take(scores, pupils, axis=1)[0])
    show("scores[:, pupils][..., subjects]", scores[:, pupils][..., subjects])
    flat = jnp.asarray([0, 2 * 70 + 4 * 7 + 1, 3 * 70 + 9 * 7 + 6])
    show("jnp.take(scores, flat)", jnp.take(scores, flat))
    best = jnp.argmax(scores, axis=2, keepdims=True)
    show("jnp.take_along_axis(scores, best, 2)", jnp.take_along_axis(scores, best, axis=2)[..., 0])
    chosen = scores[scores >= 80]
    show("scores[scores >= 80]", chosen)
    count_and_sum = jax.jit(lambda s: jnp.stack([(s >= 80).sum(), s.sum(where=s >= 80)]))
    show("how many, their sum, under jit", count_and_sum(scores))
    return chosen


# %% [markdown]
# ## 4. Fill by index or by condition
#
# `jnp.where` is `torch.where`, and `masked_fill` as well; `.at[:, i].set(value)` is `index_fill`.


# %%
def fill(scores: jax.Array) -> jax.Array:
    passed = jnp.where(scores > 60, 1, 0)
    show("jnp.where(scores > 60, 1, 0)[0]", passed[0])
    show("scores.at[:, pupils].set(100)[0]", scores.at[:, jnp.asarray([0, 5, 9])].set(100)[0])
    show("jnp.where(scores < 60, 60, scores)[0]", jnp.where(scores < 60, 60, scores)[0])
    return passed


# %% [markdown]
# ## 5. Change the shape
#
# `jnp.transpose` takes the whole new order, as `permute`; `jnp.swapaxes` exchanges two, as PyTorch's `transpose`. The
# tutorial puts the channels of pictures first with two exchanges; `jnp.moveaxis` says it in one.


# %%
def reshape() -> None:
    a = jnp.asarray(255 * Generator(0).rand(1, 3, 3, 2)).astype(jnp.int32)
    b = a.reshape(3, 6)
    show("a.reshape(3, 6)", b)
    show("b.reshape(1, 3, 3, 2)[0, 0]", b.reshape(1, 3, 3, 2)[0, 0])
    x = jnp.asarray([[1.0, 2.0]])
    s = jnp.squeeze(x)
    show("jnp.squeeze(x)", f"{s} {x.shape} -> {s.shape}")
    show("jnp.expand_dims(s, axis=0), s[None]", f"{jnp.expand_dims(s, axis=0)} {s[None]}")
    pictures = jnp.zeros((10, 32, 32, 4), jnp.int32)
    show("jnp.swapaxes, twice", jnp.swapaxes(jnp.swapaxes(pictures, 1, 2), 1, 3).shape)
    show("jnp.moveaxis(pictures, 3, 1).shape", jnp.moveaxis(pictures, 3, 1).shape)
    show("jnp.asarray([[1, 2, 3], [4, 5, 6]]).T", jnp.asarray([[1, 2, 3], [4, 5, 6]]).T)


# %% [markdown]
# ## 6. Join and split
#
# `concatenate` joins along an axis, `stack` makes a new one. `jnp.split` does not take sizes but the positions of the
# cuts, or into how many parts: PyTorch's `split(x, [4, 1, 1])` is `jnp.split(x, [4, 5])`.


# %%
def join_and_split() -> jax.Array:
    a, b, c = jnp.arange(1.0, 13.0).reshape(3, 2, 2)
    joined = jnp.concatenate([a, b, c], axis=0)
    show("jnp.concatenate([a, b, c], axis=0)", joined)
    show("jnp.stack([a, b, c], axis=0).shape", jnp.stack([a, b, c], axis=0).shape)
    show("jnp.concatenate([a, b, c], axis=1)", jnp.concatenate([a, b, c], axis=1))
    show("jnp.stack([a, b, c], axis=1)", jnp.stack([a, b, c], axis=1))
    show("jnp.split(joined, 3)[2]", jnp.split(joined, 3)[2])
    p, q, r = jnp.split(joined, [4, 5])
    show("jnp.split(joined, [4, 5])", f"{p.shape} {q} {r}")
    return r


# %% [markdown]
# ## All sections


# %%
@chapter.command(
    "The structure of arrays: chapter 4-1 in JAX.",
    expected={"best marks": (50, 50), "passed": (97, 97), "last part": (12, 12)},
)
def main(options: chapter.Options) -> dict[str, float]:
    create()
    generator = Generator(0)
    slices(generator)
    scores = jnp.asarray(100 * generator.rand(4, 10, 7)).astype(jnp.int32)
    chosen = choose(scores)
    passed = fill(scores)
    reshape()
    last = join_and_split()
    return {"best marks": chosen.size, "passed": passed.sum().item(), "last part": last[0, 1].item()}


# %%
main.start(__name__)
