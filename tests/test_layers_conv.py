"""Convolutions beyond conv2d, fold and unfold: errors, half precision, transformations, all without torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxport.nn.functional as F
from jaxport import nn

LINE, LINE_WEIGHT = jnp.ones((2, 4, 9)), jnp.ones((6, 2, 3))
IMAGE, TRANSPOSED = jnp.ones((2, 4, 5, 7)), jnp.ones((4, 3, 3, 2))
VOLUME, VOLUME_WEIGHT = jnp.ones((2, 4, 3, 5, 4)), jnp.ones((6, 4, 2, 3, 1))

ERRORS = {
    "rank": (lambda: F.conv1d(IMAGE, LINE_WEIGHT), ValueError, r"conv1d: input must be \(N, C, L\) or \(C, L\)"),
    "rank 3": (
        lambda: F.conv3d(VOLUME, LINE_WEIGHT),
        ValueError,
        r"conv3d: input must be .*out, in/groups, kD, kH, kW",
    ),
    "channels": (lambda: F.conv1d(LINE, LINE_WEIGHT), ValueError, r"conv1d: .* has 4 channels, but weight .* takes 2"),
    "stride": (
        lambda: F.conv3d(VOLUME, VOLUME_WEIGHT, stride=(1, 2)),
        ValueError,
        r"conv3d: stride must be an integer >= 1 or 3 of them, got \(1, 2\)",
    ),
    "no channels": (
        lambda: F.conv1d(jnp.ones((2, 0, 9)), jnp.ones((3, 0, 3))),
        ValueError,
        r"conv1d: weight must have at least one channel",
    ),
    "small": (lambda: F.conv1d(LINE, LINE_WEIGHT, groups=2, dilation=5), ValueError, r"padded input 9 .* extent 11"),
    "tbc pad": (
        lambda: F.conv_tbc(LINE, LINE_WEIGHT, jnp.ones(3), (1,)),
        TypeError,
        r"conv_tbc: pad must be an integer",
    ),
    "tbc shape": (
        lambda: F.conv_tbc(LINE, LINE_WEIGHT, jnp.ones(3)),
        ValueError,
        r"conv_tbc: input must be \(T, N, C\)",
    ),
    "transposed channels": (
        lambda: F.conv_transpose2d(IMAGE[:, :3], TRANSPOSED),
        ValueError,
        r"conv_transpose2d: .* has 3 channels, but weight .* takes 4",
    ),
    "transposed groups": (
        lambda: F.conv_transpose2d(IMAGE, TRANSPOSED, groups=3),
        ValueError,
        r"groups must divide the 4 input channels, got 3",
    ),
    "transposed bias": (
        lambda: F.conv_transpose2d(IMAGE, TRANSPOSED, jnp.ones(3), groups=2),
        ValueError,
        r"bias must have shape \(6,\), got \(3,\)",
    ),
    "output_padding": (
        lambda: F.conv_transpose2d(IMAGE, TRANSPOSED, stride=2, output_padding=2),
        ValueError,
        r"output_padding must be smaller than stride or dilation, got \(2, 2\)",
    ),
    "nothing left": (
        lambda: F.conv_transpose2d(IMAGE, TRANSPOSED, padding=(4, 1)),
        ValueError,
        r"an input of size \(5, 7\) would give an output of size \(-1, 6\)",
    ),
    "padding name": (
        lambda: F.conv_transpose2d(IMAGE, TRANSPOSED, padding="same"),
        TypeError,
        r"padding must be integers",
    ),
    "module padding name": (
        lambda: nn.ConvTranspose1d(2, 3, 3, padding="same", rngs=0),
        ValueError,
        r"ConvTranspose1d: padding must be integers, got 'same'",
    ),
    "module mode": (
        lambda: nn.ConvTranspose2d(2, 3, 3, padding_mode="reflect", rngs=0),
        ValueError,
        r"ConvTranspose2d: padding_mode must be 'zeros'",
    ),
    "module groups": (
        lambda: nn.Conv1d(4, 6, 3, groups=4, rngs=0),
        ValueError,
        r"Conv1d: groups must divide out_channels=6",
    ),
    "output_size": (
        lambda: nn.ConvTranspose2d(4, 3, 3, 2, rngs=0)(IMAGE, output_size=(11, 17)),
        ValueError,
        r"output_size must lie between \[11, 15\] and \[12, 16\] .* got \(11, 17\)",
    ),
    "output_size length": (
        lambda: nn.ConvTranspose2d(4, 3, 3, 2, rngs=0)(IMAGE, output_size=(4, 11, 15)),
        ValueError,
        r"output_size must be an integer >= 0 or 2 of them",
    ),
    "reflect": (
        lambda: nn.Conv1d(4, 6, 3, padding=9, padding_mode="reflect", rngs=0)(LINE),
        ValueError,
        r"Conv1d: padding_mode='reflect' allows a padding of at most 8",
    ),
    "circular": (
        lambda: nn.Conv1d(4, 6, 3, padding=10, padding_mode="circular", rngs=0)(LINE),
        ValueError,
        r"padding_mode='circular' allows a padding of at most 9",
    ),
    "unfold rank": (lambda: F.unfold(LINE[0], 2), ValueError, r"unfold: input must be \(N, C, H, W\) or"),
    "unfold kernel": (lambda: F.unfold(IMAGE, (2,)), ValueError, r"unfold: kernel_size must be an integer >= 1 or 2"),
    "unfold large": (lambda: F.unfold(IMAGE, 6), ValueError, r"no block of kernel_size \(6, 6\)"),
    "unfold integers": (lambda: F.unfold(IMAGE.astype(int), 2), TypeError, r"unfold: input must be floating"),
    "fold columns": (
        lambda: F.fold(jnp.ones((2, 8, 5)), (3, 4), 2),
        ValueError,
        r"a multiple of 4 rows .* 2 · 3 = 6 columns for output_size \(3, 4\), got \(2, 8, 5\)",
    ),
    "fold rows": (lambda: F.fold(jnp.ones((2, 9, 6)), (3, 4), 2), ValueError, r"fold: input must have a multiple of 4"),
}


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS.values(), ids=ERRORS)
def test_error(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def random(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


PAIRS = {
    "conv1d": (random(0, 3, 12, 9), random(1, 5, 12, 3), {"stride": 2}),
    "conv3d": (random(0, 3, 4, 3, 4, 5), random(1, 5, 4, 2, 3, 2), {"padding": 1}),
    "grouped": (random(0, 3, 4, 5, 6), random(1, 6, 2, 3, 2), {"groups": 2}),
    "depthwise": (random(0, 3, 4, 5, 6), random(1, 8, 1, 3, 2), {"groups": 4, "stride": 2}),
    "conv_transpose2d": (random(0, 3, 4, 5, 6), random(1, 4, 2, 3, 2), {"stride": 2, "padding": 1}),
    "conv_transpose3d": (random(0, 3, 4, 3, 4, 5), random(1, 4, 2, 3, 2, 2), {"stride": 2}),
}


def function(name):
    x, w, options = PAIRS[name]
    convolve = getattr(F, name if name.startswith("conv") else "conv2d")
    return x, w, lambda x, w: convolve(x, w, **options)


@pytest.mark.parametrize("name", PAIRS)
def test_vmap_scan_and_forward_mode_agree(name):
    x, w, f = function(name)
    gradients = jax.grad(lambda x, w: (f(x, w) ** 2).sum(), (0, 1))
    xs, ws = jnp.stack([x, 2.0 * x]), jnp.stack([w, 0.5 * w])
    one_by_one = [gradients(a, b) for a, b in zip(xs, ws, strict=True)]
    looped = jax.lax.scan(lambda carry, pair: (carry, gradients(*pair)), 0, (xs, ws))[1]
    for together in (jax.jit(jax.vmap(gradients))(xs, ws), looped):
        for found, wanted in zip(together, zip(*one_by_one, strict=True), strict=True):
            np.testing.assert_allclose(found, np.stack(wanted), rtol=1e-4, atol=1e-3)
    _, slope = jax.jvp(lambda x, w: (f(x, w) ** 2).sum(), (x, w), (x, w))
    dx, dw = one_by_one[0]
    np.testing.assert_allclose(slope, (dx * x).sum() + (dw * w).sum(), rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", PAIRS)
def test_half_precision_sums_in_float32(name, dtype):
    x, w, f = function(name)
    x, w = x.astype(dtype), w.astype(dtype)
    wanted = f(x.astype(jnp.float32), w.astype(jnp.float32)).astype(dtype)
    found = f(x, w)
    assert found.dtype == dtype
    assert (found == wanted).all()
    assert jax.grad(lambda w: f(x, w).astype(jnp.float32).sum())(w).dtype == dtype


@pytest.mark.parametrize("name", PAIRS)
def test_the_fast_form_is_the_general_one(name, monkeypatch):
    """What runs on CPUs against the convolution that other backends run."""
    x, w, f = function(name)
    fast = f(x, w)
    for module in ("conv", "conv_transpose"):
        monkeypatch.setattr(f"jaxport.nn.{module}.fast_on_cpu", lambda input: False)
    np.testing.assert_allclose(fast, f(x, w), rtol=1e-4, atol=1e-4)


GEOMETRIES = {
    "dense": {},
    "strided": {"stride": (2, 3), "padding": 1},
    "dilated": {"dilation": (2, 3), "padding": 3},
    "wide padding": {"padding": (5, 4)},
    "transposed": {"stride": 2, "output_padding": 1, "padding": 1},
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_weight_gradient_of_many_images_is_the_sum_over_them(name):
    """A few images are computed in another form than many."""
    convolve = F.conv_transpose2d if name == "transposed" else F.conv2d
    x, w = random(0, 9, 12, 7, 8), random(1, 12, 12, 3, 2)
    gradient = jax.jit(jax.grad(lambda w, x: (convolve(x, w, **GEOMETRIES[name]) ** 2).sum()))
    apart = sum(gradient(w, image[None]) for image in x)
    np.testing.assert_allclose(gradient(w, x), apart, rtol=1e-4, atol=1e-5 * float(abs(apart).max()))


def test_a_nan_stays_in_its_group():
    x = jnp.ones((1, 4, 5, 6)).at[0, 1].set(jnp.nan)
    for weight, groups, hit in ((jnp.ones((4, 2, 2, 2)), 2, [0, 1]), (jnp.ones((4, 1, 2, 2)), 4, [1])):
        y = F.conv2d(x, weight, groups=groups)
        assert np.flatnonzero(np.isnan(y).any((0, 2, 3))).tolist() == hit
