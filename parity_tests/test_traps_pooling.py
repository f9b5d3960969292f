"""The pooling suite can fail: each known difference between JAX and PyTorch is planted and must be reported."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_nn_pooling as pooling
from cases import Case, case_findings, normal
from jax import lax
from test_nn_layers import special, ties, twin

import jaxport.nn.functional as F
from jaxport.nn import checks, pooling_axis, pooling_max, pooling_unpool

Wrong = Callable[..., Any]


def without(*names: str) -> Callable[[Wrong], Wrong]:
    """Return a mistake that ignores options."""
    return lambda right: lambda *args, **kwargs: right(*args, **{k: v for k, v in kwargs.items() if k not in names})


def first_indices_wrong(right: Wrong) -> Wrong:
    """Return the last of equal elements: pool the flipped image and turn its indices back."""

    def pool(x: jax.Array, *args: Any, **kwargs: Any) -> Any:
        best, index = right(jnp.flip(x, (-2, -1)), *args, **kwargs)
        return jnp.flip(best, (-2, -1)), x.shape[-1] * x.shape[-2] - 1 - jnp.flip(index, (-2, -1))

    return pool


def zero_padded(right: Wrong) -> Wrong:
    def pool(x: jax.Array, k: int, s: int, p: int) -> Any:
        return right(jnp.pad(x, ((0, 0), (0, 0), (p, p), (p, p))), k, s)

    return pool


def local_indices(right: Wrong) -> Wrong:
    """Count the index within the window instead of the image."""

    def pool(x: jax.Array, *args: Any, **kwargs: Any) -> Any:
        best, index = right(x, *args, **kwargs)
        return best, index % args[0]

    return pool


def reduce_window_max(x: jax.Array, k: int, s: int, p: int) -> jax.Array:
    """Take JAX's own pooling; its maximum of NaN and a number is not the trap, its gradient on ties is."""
    pads = ((0, 0), (0, 0), (p, p), (p, p))
    parts = [
        jnp.pad(x, pads, constant_values=-jnp.inf)[:, :, i : i + x.shape[2] + 2 * p - k + 1 : s, :][
            :, :, :, j : j + x.shape[3] + 2 * p - k + 1 : s
        ]
        for i in range(k)
        for j in range(k)
    ]
    return jnp.max(jnp.stack(parts), axis=0)


def split_global(x: jax.Array, size: Any) -> jax.Array:
    return x.max((2, 3), keepdims=True)


def even_windows(right: Wrong) -> Wrong:
    """Use windows of one length, as resizing by whole steps does."""

    def pool(x: jax.Array, size: int) -> jax.Array:
        step = x.shape[-1] // size
        return F.avg_pool1d(x[..., : step * size], step)

    return pool


def valid_only(right: Wrong) -> Wrong:
    """Divide by the whole kernel where ceil_mode cuts a window."""

    def pool(x: jax.Array, k: int, s: int, p: int, ceil_mode: bool, count_include_pad: bool) -> jax.Array:
        padded = jnp.pad(x, ((0, 0), (0, 0), (p, p + s)))
        out = right(x, k, s, p, ceil_mode, count_include_pad).shape[-1]
        return lax.reduce_window(padded, 0.0, lax.add, (1, 1, k), (1, 1, s), "VALID")[..., :out] / k

    return pool


def norm_of_abs(right: Wrong) -> Wrong:
    """Take the gradient of the plain formula: NaN where a window is zero."""

    def pool(x: jax.Array, p: float, k: int) -> jax.Array:
        return (F.avg_pool1d(x**p, k) * k) ** (1.0 / p)

    return pool


def added_up(right: Wrong) -> Wrong:
    """Add elements of one index instead of keeping the last."""

    def unpool(x: jax.Array, index: jax.Array, k: int) -> jax.Array:
        size = right(x, index, k).shape
        rows = jnp.arange(x.shape[0] * x.shape[1])[:, None]
        flat = jnp.zeros((len(rows), size[2] * size[3]), x.dtype)
        return flat.at[rows, index.reshape(len(rows), -1)].add(x.reshape(len(rows), -1)).reshape(size)

    return unpool


X = (2, 3, 9, 8)
# (name of the trap, function, mistake, case)
TRAPS: list[tuple[str, str, Callable[[Wrong], Wrong], Case]] = [
    (
        "trap 13: count_include_pad",
        "avg_pool2d",
        without("count_include_pad"),
        twin("pad", "avg_pool2d", normal(X), 3, 2, 1, count_include_pad=False),
    ),
    (
        "trap 13: ceil_mode",
        "avg_pool2d",
        without("ceil_mode"),
        twin("ceil", "avg_pool2d", normal(X), 3, 2, ceil_mode=True),
    ),
    (
        "trap 13: divisor_override",
        "avg_pool3d",
        without("divisor_override"),
        twin("divisor", "avg_pool3d", normal((2, 3, 4, 5, 6)), 2, divisor_override=3),
    ),
    (
        "trap 13: divisor of a cut window",
        "avg_pool1d",
        valid_only,
        twin("cut", "avg_pool1d", normal((2, 3, 6)), 3, 2, 1, ceil_mode=True, count_include_pad=True),
    ),
    (
        "trap 13: adaptive windows",
        "adaptive_avg_pool1d",
        even_windows,
        twin("7-3", "adaptive_avg_pool1d", normal((2, 3, 7)), 3),
    ),
    (
        "trap 14: padding with zeros",
        "max_pool2d",
        zero_padded,
        twin("neg", "max_pool2d", lambda rng: (-1 - rng.random(X),), 3, 2, 1),
    ),
    (
        "trap 14: last index on ties",
        "max_pool2d",
        first_indices_wrong,
        twin("index", "max_pool2d", ties(2, 3, 9, 9), 3, 2, 1, return_indices=True),
    ),
    (
        "trap 14: index within the window",
        "max_pool3d",
        local_indices,
        twin("flat", "max_pool3d", ties(2, 3, 4, 5, 6), 2, return_indices=True),
    ),
    (
        "trap 14: dilation",
        "max_pool1d",
        without("dilation"),
        twin("dilation", "max_pool1d", normal((2, 3, 9)), 3, dilation=2),
    ),
    (
        "trap 14: ceil_mode",
        "max_pool1d",
        without("ceil_mode"),
        twin("ceil", "max_pool1d", normal((2, 3, 9)), 2, ceil_mode=True),
    ),
    (
        "trap 15: ties split",
        "max_pool2d",
        lambda right: reduce_window_max,
        twin("ties", "max_pool2d", ties(*X), 3, 2, 1),
    ),
    (
        "trap 15: global ties split",
        "adaptive_max_pool2d",
        lambda right: split_global,
        twin("global", "adaptive_max_pool2d", ties(*X), 1),
    ),
    (
        "trap 16: norm at zero",
        "lp_pool1d",
        norm_of_abs,
        twin("zeros", "lp_pool1d", lambda rng: (np.zeros((2, 3, 8)),), 2.0, 2),
    ),
    ("unpooling adds up", "max_unpool2d", added_up, next(c for c in pooling.UNPOOL if c.id == "repeated")),
]


@pytest.mark.parametrize(("name", "mistake", "row"), [t[1:] for t in TRAPS], ids=[t[0] for t in TRAPS])
def test_a_planted_mistake_is_found(monkeypatch, name, mistake, row):
    assert case_findings(row, "float64") == []
    monkeypatch.setattr(F, name, mistake(getattr(F, name)))
    assert case_findings(row, "float64")


@pytest.mark.parametrize(
    ("module", "window", "options"),
    [(pooling_axis, (3, 2), {}), (pooling_max, (2,), {}), (pooling_max, (2,), {"return_indices": True})],
)
def test_a_nan_that_does_not_win_is_found(monkeypatch, module, window, options):
    """trap 14: a comparison with NaN is false, so that a plain chain of comparisons loses it."""
    row = twin("nan", "max_pool2d", special((2, 3, 8, 7), np.nan), *window, differentiable=0, **options)
    assert case_findings(row, "float64") == []
    jax.clear_caches()
    monkeypatch.setattr(module, "is_better", lambda view, best, unseen=None: view > best)
    assert case_findings(row, "float64")
    jax.clear_caches()


def test_padding_that_is_chosen_is_found(monkeypatch):
    """trap 14: where all is -inf, the index is that of the first element inside, not of the padding."""
    row = twin("-inf", "max_pool2d", lambda rng: (np.full((2, 3, 6, 7), -np.inf),), 3, 2, 1, return_indices=True)
    assert case_findings(row, "float64") == []
    jax.clear_caches()
    monkeypatch.setattr(pooling_max, "unseen", lambda windows, axis, ndim: [None] * windows.kernel)
    assert case_findings(row, "float64")
    jax.clear_caches()


_right_gather = pooling_axis._gathered
GATHERED = {
    "the last of equals": ("is_better", lambda view, best, unseen=None: view >= best, ties(*X)),
    "a gradient into the padding": (
        "unseen",
        lambda windows, axis, ndim: [None] * windows.kernel,
        lambda rng: (np.full((2, 3, 6, 7), -np.inf),),
    ),
    "a window forgotten": (
        "_gathered",
        lambda dy, number, axis, windows: _right_gather(dy, jnp.maximum(number, 1), axis, windows),
        normal(X),
    ),
}


@pytest.mark.parametrize(("name", "mistake", "inputs"), GATHERED.values(), ids=GATHERED)
def test_a_gradient_gathered_wrongly_is_found(monkeypatch, name, mistake, inputs):
    """traps 14 and 15, in the gradient alone: the maxima are the same."""
    row = twin("gathered", "max_pool2d", inputs, 3, 2, 1)
    assert case_findings(row, "float64") == []
    jax.clear_caches()
    monkeypatch.setattr(pooling_axis, name, mistake)
    assert case_findings(row, "float64")
    jax.clear_caches()


def _index_dtypes() -> set[str]:
    x = jnp.ones((2, 3, 8, 7))
    pooled = (
        F.max_pool2d(x, 2, return_indices=True),
        F.adaptive_max_pool2d(x, 3, True),
        F.max_pool2d(x, (8, 7), return_indices=True),
    )
    samples = jnp.full((2, 3, 2), 0.3)
    return {str(p[1].dtype) for p in (*pooled, F.fractional_max_pool2d(x, 2, 3, None, True, samples))}


def test_trap_22_the_dtype_of_indices_is_checked(monkeypatch):
    assert _index_dtypes() == {"int32"}
    with jax.enable_x64(True):
        assert _index_dtypes() == {"int64"}
        jax.clear_caches()
        monkeypatch.setattr(pooling_max, "index_dtype", lambda: np.dtype(np.int32))
        assert _index_dtypes() != {"int64"}
    jax.clear_caches()
    assert checks.index_dtype() == np.int32


def test_trap_21_an_index_out_of_range_is_refused(monkeypatch):
    x = jnp.ones((1, 2, 3))
    for bad in (-1, 6, 100):
        with pytest.raises(IndexError, match=r"max_unpool1d: indices must lie in \[0, 5\]"):
            F.max_unpool1d(x, jnp.array([[[0, 1, 2], [3, bad, 4]]]), 2)
    # Traced, it cannot be refused: the image becomes NaN, the other stays.
    found = jax.jit(lambda i: F.max_unpool1d(x, i, 2))(jnp.array([[[0, 1, 2], [3, -1, 4]]]))
    assert np.isnan(found[0, 1]).all()
    assert not np.isnan(found[0, 0]).any()
    monkeypatch.setattr(pooling_unpool, "index_in_range", lambda *args: None)
    F.max_unpool1d(x, jnp.array([[[0, 1, 2], [3, -1, 4]]]), 2)
