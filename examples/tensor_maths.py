# %% [markdown]
# # Mathematics on arrays
#
# Chapter 4-2 of the 20-day tutorial: element by element, along an axis, on matrices; and broadcasting.
#
# - Command: `python examples/tensor_maths.py`. No files; `--smoke` does the same.
# - Time: about 4 s on two CPU cores.
# - Score: a few numbers of the tutorial's; the exit status is 1 if one differs.

# %%
from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxport import chapter
from jaxport.chapter import show

# %% [markdown]
# ## 1. Element by element
#
# The operators and their rules are NumPy's and PyTorch's: `%` has the sign of the divisor, as `torch.remainder` (and is
# -0, which equals 0, where nothing remains of a negative number); `//` rounds down; `round` takes the even neighbour of
# a half. `jnp.fmod` has the sign of the dividend. A square root of a negative number is nan, without a warning;
# `jax.config.update("jax_debug_nans", True)` makes it an error.
#
# `jnp.clip` is `clamp`. Of its derivative at the bounds, and of others at a kink, see `docs/differences.md`, row 16.


# %%
def elements() -> None:
    a = jnp.asarray([[1.0, 2], [-3, 4.0]])
    b = jnp.asarray([[5.0, 6], [7.0, 8.0]])
    show("a + b", a + b)
    show("a - b", a - b)
    show("a * b", a * b)
    show("a / b", a / b)
    show("a**2", a**2)
    show("a**0.5", a**0.5)
    show("a % 3", a % 3)
    show("a // 3", a // 3)
    show("a >= 2", a >= 2)
    show("(a >= 2) & (a <= 3)", (a >= 2) & (a <= 3))
    show("(a >= 2) | (a <= 3)", (a >= 2) | (a <= 3))
    show("a == 5", a == 5)
    show("jnp.sqrt(a)", jnp.sqrt(a))


def rounding() -> jax.Array:
    a, b, c = jnp.asarray([[1.0, 8.0], [5.0, 6.0], [6.0, 7.0]])
    show("a + b + c", a + b + c)
    show("jnp.maximum(a, b), jnp.minimum(a, b)", f"{jnp.maximum(a, b)} {jnp.minimum(a, b)}")
    x = jnp.asarray([2.6, -2.7])
    show("jnp.round(x), jnp.floor(x)", f"{jnp.round(x)} {jnp.floor(x)}")
    show("jnp.ceil(x), jnp.trunc(x)", f"{jnp.ceil(x)} {jnp.trunc(x)}")
    show("jnp.fmod(x, 2), jnp.remainder(x, 2)", f"{jnp.fmod(x, 2)} {jnp.remainder(x, 2)}")
    y = jnp.asarray([0.9, -0.8, 100.0, -20.0, 0.7])
    show("jnp.clip(y, -1, 1)", jnp.clip(y, -1, 1))
    show("jnp.clip(y, max=1)", jnp.clip(y, max=1))
    return jnp.remainder(x, 2)


# %% [markdown]
# ## 2. Along an axis
#
# One number is different without a word: `std` and `var` divide by n here, by n - 1 in PyTorch, for which `ddof=1`
# stands.
#
# PyTorch's `max(dim=...)` returns values and indices; here these are two functions, `max` and `argmax`. `cummax` has no
# indices either: section 2b finds them as the last place so far where the element is the maximum. `lax.top_k` is the
# core of a nearest-neighbour search, as the tutorial says; `jnp.sort` and `jnp.argsort` are `torch.sort`.


# %%
def statistics() -> jax.Array:
    a = jnp.arange(1.0, 10.0)
    show("sum, mean, max, min, prod", [f(a).item() for f in (jnp.sum, jnp.mean, jnp.max, jnp.min, jnp.prod)])
    show("jnp.std(a, ddof=1), jnp.std(a)", f"{jnp.std(a, ddof=1):.4f} {jnp.std(a):.4f}")
    show("jnp.var(a, ddof=1), jnp.median(a)", f"{jnp.var(a, ddof=1)} {jnp.median(a)}")
    b = a.reshape(3, 3)
    show("b.max(axis=0), b.argmax(axis=0)", f"{b.max(axis=0)} {b.argmax(axis=0)}")
    show("b.max(axis=1), b.argmax(axis=1)", f"{b.max(axis=1)} {b.argmax(axis=1)}")
    return jnp.std(a, ddof=1)


# %% [markdown]
# ### 2b. Scans and sorting


# %%
def scans() -> jax.Array:
    a = jnp.arange(1, 10)
    show("jnp.cumsum(a)", jnp.cumsum(a))
    show("jnp.cumprod(a)", jnp.cumprod(a))
    show("jax.lax.cummax(a)", jax.lax.cummax(a))
    show("its indices", jax.lax.cummax(jnp.where(a == jax.lax.cummax(a), jnp.arange(9), 0)))
    show("jax.lax.cummin(a)", jax.lax.cummin(a))
    b = jnp.asarray([[9.0, 7, 8], [1, 3, 2], [5, 6, 4]])
    for axis in (0, 1):
        values, indices = jax.lax.top_k(b, 2, axis=axis)
        show(f"jax.lax.top_k(b, 2, axis={axis})", f"{values}\n{indices}")
    show("jnp.sort(b, axis=1)", jnp.sort(b, axis=1))
    show("jnp.argsort(b, axis=1)", jnp.argsort(b, axis=1))
    return jnp.argsort(b, axis=1)


# %% [markdown]
# ## 3. Matrices
#
# `jnp.linalg` is `torch.linalg`. `svd` returns Vᵀ (V with `torch.svd`), and all of U unless `full_matrices=False`.
# Eigenvectors, Q and the singular vectors are defined up to a sign: what is compared is their product. `eig` is made
# for the CPU. On an accelerator a product of float32 matrices may be rounded to fewer bits: row 30 of
# `docs/differences.md`.


# %%
def matrices() -> jax.Array:
    show("@", jnp.asarray([[1, 2], [3, 4]]) @ jnp.asarray([[2, 0], [0, 2]]))
    a = jnp.asarray([[1.0, 2], [3, 4]])
    show("a.T", a.T)
    show("jnp.linalg.inv(a)", jnp.linalg.inv(a))
    show("jnp.trace(a), norm, det", [f"{f(a):.4f}" for f in (jnp.trace, jnp.linalg.norm, jnp.linalg.det)])
    with jax.default_device(jax.devices("cpu")[0]):
        show("eigenvalues", jnp.linalg.eig(jnp.asarray([[1.0, 2], [-5, 4]])).eigenvalues)
    q, r = jnp.linalg.qr(a)
    show("r of jnp.linalg.qr(a)", r)
    show("q @ r", q @ r)
    u, s, vt = jnp.linalg.svd(jnp.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), full_matrices=False)
    show("s of jnp.linalg.svd", s)
    show("u @ jnp.diag(s) @ vt", u @ jnp.diag(s) @ vt)
    return s


# %% [markdown]
# ## 4. Broadcasting
#
# The rule is the same. It also hides mistakes: targets (N,) minus predictions (N, 1) are (N, N) in both frameworks.
# `jax_numpy_rank_promotion="raise"` turns every broadcast to another number of axes into an error.


# %%
def broadcasting() -> None:
    a, b = jnp.asarray([1, 2, 3]), jnp.asarray([[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    show("b + a", b + a)
    wide_a, wide_b = jnp.broadcast_arrays(a, b)
    show("jnp.broadcast_arrays(a, b)", f"{wide_a}\n{wide_b}")
    show("wide_a + wide_b", wide_a + wide_b)
    with jax.numpy_rank_promotion("raise"):
        try:
            jnp.add(b, a)
        except ValueError as error:
            show("b + a where that is refused", str(error).partition(" and with")[0])


# %% [markdown]
# ## All sections


# %%
@chapter.command(
    "Mathematics on arrays: chapter 4-2 in JAX.",
    expected={"remainder": (1.2999, 1.3001), "std": (2.7386, 2.7387), "argsort": (2, 2), "svd": (9.5255, 9.5256)},
)
def main(options: chapter.Options) -> dict[str, float]:
    elements()
    remainder = rounding()[1].item()
    deviation = statistics().item()
    order = scans()
    singular = matrices()
    broadcasting()
    return {"remainder": remainder, "std": deviation, "argsort": order[2, 0].item(), "svd": singular[0].item()}


# %%
main.start(__name__)
