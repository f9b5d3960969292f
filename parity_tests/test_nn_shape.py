"""Padding, shuffles, unflatten, bilinear forms and the kinds of dropout against PyTorch's."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Arrays, Case, assert_same, both_dtypes, findings32, normal, table
from test_nn_layers import TF, twin

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.interop import load_state_dict, state_dict
from jaxport.parity.tolerances import SAME_SUMS_RTOL

torch = pytest.importorskip("torch")

# --------------------------------------------------------------------------------------------------------- padding

AMOUNTS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3, 7), (2, 1)),
    ((2, 3, 7), (0, 4)),
    ((2, 3, 7), (-2, 3)),
    ((2, 3, 7), (4, -1)),
    ((2, 3, 7), (-1, -2)),
    ((3, 5, 7), (1, 2, 3, 4)),
    ((2, 3, 5, 7), (0, 3, -1, 2)),
    ((2, 3, 5, 7), (3, -2, 2, -3)),
    ((3, 4, 5, 7), (1, 2, 3, 0, 2, 1)),
    ((2, 3, 4, 5, 7), (1, -1, -2, 2, 0, 1)),
    ((0, 3, 5, 7), (1, 2, 0, 3)),
]
PAD = [
    twin(f"{mode}-{shape}-{pad}", "pad", normal(shape), pad, mode=mode)
    for mode in ("constant", "reflect", "replicate", "circular")
    for shape, pad in AMOUNTS
]
PAD += [
    twin("constant-value", "pad", normal((2, 3)), (1, 2), value=-1.5),
    twin("constant-all-axes", "pad", normal((2, 3, 4)), (1, 2, 0, -1, 3, 1), "constant", 2.0),
    twin("constant-nothing", "pad", normal((2, 3)), ()),
    twin("constant-cropped-away", "pad", normal((2, 3)), (-3, 2), "constant", 2.0),
    twin("constant-empty", "pad", normal((0, 3)), (1, 1, 2, 0)),
    twin("reflect-to-the-limit", "pad", normal((2, 3)), (2, 2), "reflect"),
    twin("reflect-and-crop-more", "pad", normal((2, 3)), (-3, 2), "reflect"),
    twin("reflect-value-0", "pad", normal((2, 3)), (1, 1), "reflect", 0.0),
    twin("replicate-far", "pad", normal((2, 3)), (7, 9), "replicate"),
    twin("replicate-cropped-away", "pad", normal((2, 3)), (-4, 3), "replicate"),
    twin("circular-to-the-limit", "pad", normal((2, 3)), (3, 3), "circular"),
    twin("circular-all-cropped", "pad", normal((2, 3)), (-3, 0), "circular"),
    twin("circular-empty-channels", "pad", normal((2, 0, 3)), (1, 1), "circular"),
]


@table(PAD)
def test_pad(case):
    assert_same(case, "float64")


@both_dtypes
@table([row for row in PAD if "(2, 3, 5, 7)" in row.id])
def test_pad_in_both_dtypes(case, dtype):
    assert_same(case, dtype)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_integers(mode):
    x = np.arange(12).reshape(2, 6)
    wanted = TF.pad(torch.from_numpy(x), (2, 1), mode)
    with jax.enable_x64(True):
        found = F.pad(jnp.asarray(x), (2, 1), mode)
    assert found.dtype == jnp.int64
    np.testing.assert_array_equal(np.asarray(found), wanted.numpy())


# -------------------------------------------------------------------------------------- shuffles, unflatten, bilinear


def unflattened(shape: tuple[int, ...], dim: int, sizes: tuple[int, ...]) -> Case:
    ours, theirs = nn.Unflatten(dim, sizes), torch.nn.Unflatten(dim, sizes)
    return Case(f"unflatten-{shape}-{dim}-{sizes}", ours, theirs, normal(shape))


REARRANGED = [
    *(twin(f"pixel_shuffle-{s}-{r}", "pixel_shuffle", normal(s), r) for s, r in [((2, 12, 3, 5), 2), ((9, 2, 4), 3)]),
    twin("pixel_shuffle-5d", "pixel_shuffle", normal((2, 3, 8, 3, 5)), 2),
    # Of an empty batch, PyTorch's own backward pass raises.
    twin("pixel_shuffle-empty", "pixel_shuffle", normal((0, 4, 2, 3)), 2, differentiable=0),
    *(
        twin(f"pixel_unshuffle-{s}", "pixel_unshuffle", normal(s), 2)
        for s in [(2, 3, 4, 6), (3, 6, 4), (2, 3, 1, 4, 6)]
    ),
    twin("pixel_unshuffle-3", "pixel_unshuffle", normal((2, 3, 6, 9)), 3),
    *(
        twin(f"channel_shuffle-{s}-{g}", "channel_shuffle", normal(s), g)
        for s, g in [((2, 6, 5), 2), ((3, 12, 2, 4), 3)]
    ),
    twin("channel_shuffle-5d", "channel_shuffle", normal((2, 8, 3, 2, 3)), 4),
    twin("channel_shuffle-one-group", "channel_shuffle", normal((2, 3, 4)), 1),
    unflattened((2, 12, 5), 1, (3, 4)),
    unflattened((2, 12, 5), -2, (-1, 6)),
    unflattened((2, 12), 1, (2, -1, 3)),
    unflattened((12,), 0, (4, 3)),
    unflattened((0, 3), 0, (0, 5)),
]
BILINEAR = [
    twin("bilinear", "bilinear", normal((5, 3), (5, 4), (2, 3, 4), (2,))),
    twin("bilinear-no-bias", "bilinear", normal((5, 3), (5, 4), (2, 3, 4))),
    twin("bilinear-vectors", "bilinear", normal((3,), (4,), (2, 3, 4), (2,))),
    twin("bilinear-4d", "bilinear", normal((2, 5, 6, 3), (2, 5, 6, 4), (7, 3, 4), (7,))),
    twin("bilinear-empty", "bilinear", normal((0, 3), (0, 4), (2, 3, 4), (2,))),
    twin("bilinear-long-sums", "bilinear", normal((2, 67), (2, 41), (3, 67, 41), (3,))),
]


@both_dtypes
@table(REARRANGED + BILINEAR)
def test_rearranged_and_bilinear(case, dtype):
    assert_same(case, dtype)


# ---------------------------------------------------------------------------------------------------- kinds of dropout

KEPT_AXES = {"dropout1d": 1, "dropout3d": 3}  # the axes that share one draw, counted from the end


def mask_shape(function: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if function == "feature_alpha_dropout":
        return shape[:2] + (1,) * (len(shape) - 2)
    shared = KEPT_AXES.get(function, 0)
    return shape[: len(shape) - shared] + (1,) * shared


def dropout_case(function: str, shape: tuple[int, ...], p: float) -> Case:
    """Replay the masks of PyTorch's own generator, seen by applying it to ones."""
    kept = mask_shape(function, shape)

    def torch_fn(x: Any, mask: Any, seed: Any) -> Any:
        torch.manual_seed(int(seed))
        return getattr(TF, function)(x, p, training=True)

    def draw(rng: np.random.Generator) -> Arrays:
        seed = np.asarray(rng.integers(1, 1 << 30))
        # Far above what a dropped element becomes.
        seen = torch_fn(torch.full(shape, 1e3), None, seed).numpy() > 1.0
        return 0.3 + rng.standard_normal(shape), seen[tuple(slice(n) for n in kept)], seed

    def jax_fn(x: jax.Array, mask: jax.Array, seed: jax.Array) -> jax.Array:
        with nn.replay_masks([mask] if 0.0 < p < 1.0 else []):
            return getattr(F, function)(x, p, training=True)

    return Case(f"{function}-{shape}-{p}", jax_fn, torch_fn, draw)


KINDS = [("alpha_dropout", (31,)), ("alpha_dropout", (5, 3, 7)), ("feature_alpha_dropout", (5, 6, 3, 4))]
KINDS += [("feature_alpha_dropout", (7, 9)), ("dropout1d", (5, 6, 4)), ("dropout1d", (9, 4))]
KINDS += [("dropout3d", (3, 5, 2, 3, 4)), ("dropout3d", (9, 2, 3, 4))]
DROPOUT = [dropout_case(function, shape, p) for function, shape in KINDS for p in (0.0, 0.2, 0.7, 1.0)]


@both_dtypes
@table(DROPOUT)
def test_kinds_of_dropout_with_replayed_masks(case, dtype):
    assert_same(case, dtype)


@pytest.mark.parametrize("function", ["dropout", "alpha_dropout", "feature_alpha_dropout", "dropout1d"])
def test_nan_and_infinity_where_dropped(function):
    x = np.array([[np.nan, 1.0], [np.inf, 2.0], [-np.inf, np.nan]], np.float32)
    torch.manual_seed(1)
    wanted = getattr(TF, function)(torch.from_numpy(x), 1.0, training=True).numpy()
    np.testing.assert_array_equal(np.asarray(getattr(F, function)(jnp.asarray(x), 1.0, training=True)), wanted)
    torch.manual_seed(1)
    seen = getattr(TF, function)(torch.full((3, 2), 1e3), 0.5, training=True).numpy() > 1.0
    torch.manual_seed(1)
    wanted = getattr(TF, function)(torch.from_numpy(x), 0.5, training=True).numpy()
    with nn.replay_masks([jnp.asarray(seen[tuple(slice(n) for n in mask_shape(function, x.shape))])]):
        found = np.asarray(getattr(F, function)(jnp.asarray(x), 0.5, training=True))
    truth = torch.from_numpy(wanted).double().numpy()
    assert findings32(function, found, wanted, truth) == []


# ------------------------------------------------------------------------------------------- modules and their twins

MODULES: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Threshold", (0.5, 20.0), {"inplace": True}, (3, 4)),
    ("Threshold", (1, 2), {}, (3, 4)),
    *((name, (), {"inplace": True}, (3, 4)) for name in ("ReLU6", "Hardsigmoid", "Hardswish", "SiLU", "Mish", "SELU")),
    *((name, (0.7, True), {}, (3, 4)) for name in ("ELU", "CELU", "LeakyReLU")),
    ("RReLU", (0.1, 0.2, True), {}, (3, 4)),
    ("RReLU", (), {}, (3, 4)),
    ("Hardtanh", (-2, 0.5, True), {}, (3, 4)),
    ("GLU", (1,), {}, (3, 4, 5)),
    ("GELU", ("tanh",), {}, (3, 4)),
    *((name, (0.3,), {}, (3, 4)) for name in ("Hardshrink", "Softshrink")),
    ("Softplus", (2, 5), {}, (3, 4)),
    ("PReLU", (4, 0.1), {}, (3, 4, 2)),
    *((name, (), {}, (3, 4)) for name in ("Tanh", "Sigmoid", "LogSigmoid", "Softsign", "Tanhshrink", "GELU", "PReLU")),
    *((name, (1,), {}, (3, 4)) for name in ("Softmin", "Softmax", "LogSoftmax")),
    ("Softmax2d", (), {}, (2, 3, 4, 5)),
    ("Softmax2d", (), {}, (3, 4, 5)),
    ("Dropout1d", (0.3, True), {}, (2, 3, 4)),
    ("Dropout3d", (), {}, (2, 3, 4, 2, 2)),
    ("AlphaDropout", (0.2,), {}, (3, 4)),
    ("FeatureAlphaDropout", (1,), {}, (3, 4)),
    *((f"{kind}Pad1d", (2,), {}, (2, 3, 5)) for kind in ("Zero", "Reflection", "Replication", "Circular")),
    *((f"{kind}Pad2d", ((1, 0, 2, -1),), {}, (3, 5, 6)) for kind in ("Zero", "Reflection", "Replication", "Circular")),
    *((f"{kind}Pad3d", ([1, 0, 2, 1, 0, 3],), {}, (2, 4, 5, 6)) for kind in ("Zero", "Reflection", "Circular")),
    ("ReplicationPad3d", (1,), {}, (1, 2, 4, 5, 6)),
    ("ConstantPad1d", ((3, 1), 3.5), {}, (5,)),
    ("ConstantPad2d", (2, 3), {}, (2, 5)),
    ("ConstantPad3d", ((1, 1, 0, 2, 2, 0), -1.0), {}, (2, 3, 4)),
    ("ZeroPad2d", ((1, 2),), {}, (2, 5)),
    ("Identity", (3,), {"unused": True}, (2, 5)),
    ("Unflatten", (1, (2, 3)), {}, (2, 6)),
    ("Unflatten", (-1, [2, -1]), {}, (2, 6)),
    ("PixelShuffle", (2,), {}, (2, 4, 3, 5)),
    ("PixelUnshuffle", (2,), {}, (3, 4, 6)),
    ("ChannelShuffle", (3,), {}, (2, 6, 5)),
    ("Bilinear", (3, 4, 5), {}, (2, 3)),
    ("Bilinear", (3, 4, 5, False), {}, (2, 3)),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), MODULES, ids=[f"{m[0]}{m[1]}{m[2]}" for m in MODULES])
def test_module_twins(name, args, kwargs, shape):
    theirs = getattr(torch.nn, name)(*args, **kwargs).double().eval()
    made = getattr(nn, name)
    seeded = {"rngs": 0} if "rngs" in inspect.signature(made.__init__).parameters else {}
    ours = made(*args, **kwargs, **seeded)
    assert repr(ours) == repr(theirs)
    public = {key: value for key, value in vars(theirs).items() if not key.startswith("_") and key != "training"}
    assert {key: getattr(ours, key) for key in public} == public
    assert all(type(getattr(ours, key)) is type(value) for key, value in public.items())
    inputs = [np.random.default_rng(0).standard_normal(s) for s in ([shape, (2, 4)] if name == "Bilinear" else [shape])]
    with jax.enable_x64(True):
        ours = ours.to(jnp.float64).eval()
        load_state_dict(ours, {key: jnp.asarray(value.numpy()) for key, value in theirs.state_dict().items()})
        assert list(state_dict(ours)) == list(theirs.state_dict())
        wanted = theirs(*map(torch.from_numpy, (x.copy() for x in inputs))).detach().numpy()
        np.testing.assert_allclose(np.asarray(ours(*map(jnp.asarray, inputs))), wanted, rtol=SAME_SUMS_RTOL)
