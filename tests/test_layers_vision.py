"""Interpolation and grid sampling: errors, jit, vmap, forward mode, half precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxport.nn.functional as F
from jaxport import nn

pytestmark = pytest.mark.usefixtures("strict_jax")
X = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3, 5, 4)), jnp.float32)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({}, ValueError, "exactly one of size and scale_factor"),
        ({"size": 3, "scale_factor": 2.0}, ValueError, "exactly one of size and scale_factor"),
        ({"size": (3, 4, 5)}, ValueError, "size must have one entry for each of 2 spatial axes"),
        ({"size": (3.0, 4)}, TypeError, "size must be an integer"),
        ({"size": 0}, ValueError, "sizes must be positive"),
        ({"scale_factor": 0.1}, ValueError, "sizes must be positive"),
        ({"scale_factor": (2.0,)}, ValueError, "scale_factor must have one entry"),
        ({"scale_factor": "2"}, TypeError, "scale_factor must be a number"),
        ({"scale_factor": float("nan")}, ValueError, "scale_factor must be finite"),
        ({"size": 3, "recompute_scale_factor": True}, ValueError, "recompute_scale_factor must not be True"),
        ({"size": 3, "mode": "cubic"}, ValueError, "mode must be one of nearest"),
        ({"size": 3, "mode": "linear"}, ValueError, "input must have 3 axes"),
        ({"size": 3, "mode": "trilinear"}, ValueError, "input must have 5 axes"),
        ({"size": 3, "align_corners": True}, ValueError, "align_corners must be None for mode 'nearest'"),
        ({"size": 3, "antialias": True}, ValueError, "antialias must be False for mode 'nearest'"),
        ({"size": 3, "mode": "lanczos"}, ValueError, "must have antialias=True"),
    ],
)
def test_interpolate_refuses(options, error, match):
    with pytest.raises(error, match=match):
        F.interpolate(X, **options)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="input must have 3, 4 or 5 axes"):
        F.interpolate(X[0, 0], 3)
    with pytest.raises(TypeError, match="input must be floating for mode 'bilinear', got uint8"):
        F.interpolate(X.astype(jnp.uint8), 3, mode="bilinear")
    with pytest.raises(ValueError, match="input must have channels"):
        F.interpolate(X[:, :0], 3)
    with pytest.raises(ValueError, match="input must have 4 axes"):
        nn.UpsamplingBilinear2d(3)(X[0])


GRID = jnp.zeros((2, 3, 4, 2), jnp.float32)


@pytest.mark.parametrize(
    ("input", "grid", "options", "error", "match"),
    [
        (X, GRID, {"mode": "cubic"}, ValueError, "mode must be 'bilinear', 'nearest' or 'bicubic'"),
        (X, GRID, {"padding_mode": "wrap"}, ValueError, "padding_mode must be 'zeros'"),
        (X, GRID[:1], {}, ValueError, r"grid must have shape \(2, …, 2\)"),
        (X, GRID[..., :1], {}, ValueError, "grid must have shape"),
        (X[0], GRID, {}, ValueError, "must both have 4 or 5 axes"),
        (X[..., None], GRID[..., None, :], {"mode": "bicubic"}, ValueError, "for mode 'bicubic'"),
        (X[..., :0], GRID, {}, ValueError, "must have elements in every spatial axis"),
        (X, GRID.astype(jnp.bfloat16), {}, TypeError, "one dtype"),
        (X.astype(jnp.int32), GRID, {}, TypeError, "input must be floating"),
    ],
)
def test_grid_sample_refuses(input, grid, options, error, match):
    with pytest.raises(error, match=match):
        F.grid_sample(input, grid, **options)


def test_affine_grid_refuses():
    theta = jnp.zeros((2, 2, 3), jnp.float32)
    with pytest.raises(ValueError, match=r"theta must have shape \(2, 3, 4\)"):
        F.affine_grid(theta, (2, 3, 4, 5, 6))
    for size in ((2, 3, 4), (2, 3, 0, 4)):
        with pytest.raises(ValueError, match="size must be 4 or 5 positive integers"):
            F.affine_grid(theta, size)
    with pytest.raises(TypeError, match="theta must be floating"):
        F.affine_grid(theta.astype(jnp.int32), (2, 3, 4, 5))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_forward_mode_agrees_with_reverse_mode(mode):
    resize = jax.jit(lambda x: F.interpolate(x, (7, 3), mode=mode))
    y, dy = jax.jvp(resize, (X,), (jnp.cos(X),))
    (back,) = jax.vjp(resize, X)[1](y)
    np.testing.assert_allclose(jnp.vdot(y, dy), jnp.vdot(back, jnp.cos(X)), rtol=1e-5)
    np.testing.assert_array_equal(jax.vmap(lambda x: resize(x[None])[0])(X), y)


def test_a_nan_stays_where_it_is_read():
    spoilt = F.interpolate(X.at[0, 0, 0, 0].set(jnp.nan), (10, 8), mode="bilinear")
    assert 0 < np.isnan(spoilt).sum() < 10


def test_half_precision_stays():
    x, grid = X.astype(jnp.bfloat16), GRID.astype(jnp.bfloat16)
    for mode in ("nearest", "bilinear", "bicubic", "area"):
        assert F.interpolate(x, 3, mode=mode).dtype == jnp.bfloat16
    assert F.grid_sample(x, grid).dtype == jnp.bfloat16


def test_far_and_undefined_places_are_safe_under_jit_and_vmap():
    grid = GRID.at[0, 0, 0].set(1e30).at[0, 0, 1].set(-jnp.inf)
    for padding in ("zeros", "border"):
        sample = jax.jit(lambda x, g, padding=padding: F.grid_sample(x, g, "nearest", padding))
        y = sample(X, grid)
        assert np.isfinite(y).all()
        one = jax.vmap(lambda x, g, sample=sample: sample(x[None], g[None])[0])(X, grid)
        np.testing.assert_array_equal(one, y)
