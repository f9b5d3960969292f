"""Cases for the cause finder: what a JAX port's layer gives, and PyTorch's, one mistake each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch import nn

from jaxport.parity.causes import Case
from jaxport.parity.layer import Layer

Builder = Callable[[np.random.Generator], Case]
CASES: list[tuple[str, str, Builder]] = []
"""Rule that is to be named, what is done, how the case is made."""


def case(rule: str) -> Callable[[Builder], Builder]:
    def register(build: Builder) -> Builder:
        CASES.append((rule, build.__name__, build))
        return build

    return register


def jax64(function: Callable[..., Any], *inputs: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(function(*(jnp.asarray(x) for x in inputs)))


def layer(module: nn.Module, rng: np.random.Generator | None = None) -> Layer:
    """Describe a PyTorch module with random weights, in float64."""
    module.double()
    if rng is not None:
        with torch.no_grad():
            for p in [*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())]:
                p.copy_(
                    torch.from_numpy(
                        rng.uniform(0.3, 1.7, p.shape) * (rng.choice([-1, 1], p.shape) if p.ndim > 1 else 1)
                    )
                )
    settings = {k: v for k, v in vars(module).items() if not k.startswith("_")}
    return Layer("net.it", f"torch.nn.{type(module).__name__}", settings, arrays(module), module)


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {k: v.detach().numpy().copy() for k, v in module.state_dict().items()}


def output(
    module: nn.Module, x: Any, ours: Callable[..., Any], rng: Any = None, jax_settings: Any = None, **more: Any
) -> Case:
    """Make the case of a layer's output; `ours` gets the arrays by name, then the input."""
    made = layer(module, rng)
    module.train(more.get("training", False))
    own = arrays(module)
    inputs = x if isinstance(x, tuple) else (x,)
    with torch.no_grad():
        theirs = module(
            *(torch.from_numpy(np.array(i)) for i in inputs),
            **{k: torch.from_numpy(v) for k, v in more.get("keywords", {}).items()},
        )
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    mine = jax64(lambda *i: ours({k: jnp.asarray(v) for k, v in own.items()}, *i), *inputs)
    jax_layer = Layer("net.it", "flax.nnx.Some", jax_settings or {})
    return Case("output", mine, theirs.numpy(), jax_layer, made, input=x, arrays=own, **more)


def gap(before: np.ndarray, theirs: torch.Tensor, ours: Callable[..., Any], **more: Any) -> Case:
    return Case("input", jax64(ours, before), theirs.numpy(), before=before, **more)


def pt(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(x))


# Norms ---------------------------------------------------------------------------------------------------------------


def _lift(value: Any, ndim: int) -> Any:
    return jnp.reshape(value, (1,) * (ndim - 1) + (-1,))


def layer_norm(w: Any, x: Any, eps: float, ddof: int = 0) -> Any:
    y = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, ddof=ddof, keepdims=True) + eps)
    return y * _lift(w["weight"], x.ndim) + _lift(w["bias"], x.ndim)


@case("cause/eps")
def layer_norm_eps(rng: Any) -> Case:
    x = rng.normal(0.1, 0.7, (3, 5, 7))
    return output(nn.LayerNorm(7), x, lambda w, x: layer_norm(w, x, 1e-6), rng)


@case("cause/eps")
def unusual_eps_is_solved(rng: Any) -> Case:
    return output(nn.LayerNorm(7), rng.normal(0.1, 0.7, (3, 5, 7)), lambda w, x: layer_norm(w, x, 3.3e-4), rng)


@case("cause/ddof")
def layer_norm_unbiased(rng: Any) -> Case:
    return output(nn.LayerNorm(7), rng.normal(0.1, 0.7, (3, 5, 7)), lambda w, x: layer_norm(w, x, 1e-5, 1), rng)


@case("cause/eps")
def batch_norm_eval_eps(rng: Any) -> Case:
    def ours(w: Any, x: Any) -> Any:
        part = {k: v.reshape(1, -1, 1, 1) for k, v in w.items() if v.ndim}
        scale = part["weight"] / jnp.sqrt(part["running_var"] + 1e-3)
        return (x - part["running_mean"]) * scale + part["bias"]

    return output(nn.BatchNorm2d(3), rng.normal(0.1, 0.7, (4, 3, 5, 6)), ours, rng)


@case("cause/train-mode")
def batch_norm_in_the_other_mode(rng: Any) -> Case:
    def ours(w: Any, x: Any) -> Any:
        part = {k: v.reshape(1, -1, 1, 1) for k, v in w.items() if v.ndim}
        y = (x - x.mean((0, 2, 3), keepdims=True)) / jnp.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
        return y * part["weight"] + part["bias"]

    return output(nn.BatchNorm2d(3), rng.normal(0.1, 0.7, (4, 3, 5, 6)), ours, rng)


@case("cause/missing-bias")
def norm_without_bias(rng: Any) -> Case:
    ours = lambda w, x: layer_norm(w | {"bias": 0 * w["bias"]}, x, 1e-5)  # noqa: E731
    return output(nn.LayerNorm(7), rng.normal(0.1, 0.7, (3, 5, 7)), ours, rng)


@case("cause/missing-scale")
def norm_without_scale(rng: Any) -> Case:
    ours = lambda w, x: layer_norm(w | {"weight": 0 * w["weight"] + 1}, x, 1e-5)  # noqa: E731
    return output(nn.LayerNorm(7), rng.normal(0.1, 0.7, (3, 5, 7)), ours, rng)


@case("cause/fast-variance")
def fast_variance_in_float32(rng: Any) -> Case:
    x = rng.normal(1000.0, 1.0, (6, 37)).astype(np.float32)
    module = nn.LayerNorm(37)
    made = layer(module, rng)
    norm = nnx.LayerNorm(37, epsilon=1e-5, rngs=nnx.Rngs(0))
    norm.scale[...] = jnp.asarray(arrays(module)["weight"], jnp.float32)
    assert norm.bias is not None
    norm.bias[...] = jnp.asarray(arrays(module)["bias"], jnp.float32)
    theirs = module(pt(x).double()).detach().numpy()
    jax_layer = Layer("norm", "flax.nnx.LayerNorm", {"use_fast_variance": True})
    return Case("output", np.asarray(norm(x)), theirs, jax_layer, made, input=x, arrays=arrays(module))


def _running(rng: Any, ours: Callable[..., Any], name: str = "running_var", **settings: Any) -> Case:
    module = nn.BatchNorm1d(5, **settings)
    made = layer(module, rng)
    x = rng.normal(0.3, 2.0, (7, 5, 3))
    before = arrays(module)
    module.train()(pt(x))
    theirs = arrays(module)[name]
    mine = ours(before[name], x.mean((0, 2)) if name.endswith("mean") else x.var((0, 2)))
    jax_layer = Layer("bn", "flax.nnx.BatchNorm", {"momentum": 0.9})
    return Case(
        "buffer", mine, theirs, jax_layer, made, name, x, arrays=before, previous=before[name], step=1, training=True
    )


@case("cause/unbiased-variance")
def running_variance(rng: Any) -> Case:
    return _running(rng, lambda old, new: 0.9 * old + 0.1 * new)


@case("cause/momentum")
def momentum_swapped(rng: Any) -> Case:
    return _running(rng, lambda old, new: 0.1 * old + 0.9 * new, "running_mean")


@case("cause/momentum")
def momentum_of_the_variance(rng: Any) -> Case:
    return _running(rng, lambda old, new: 0.99 * old + 0.01 * new)


@case("cause/cumulative-average")
def momentum_none(rng: Any) -> Case:
    return _running(rng, lambda old, new: 0.99 * old + 0.01 * new, "running_mean", momentum=None)


@case("cause/train-mode")
def statistics_do_not_move(rng: Any) -> Case:
    return _running(rng, lambda old, new: old)


# Convolutions --------------------------------------------------------------------------------------------------------


def conv(w: Any, x: Any, stride: int = 1, padding: Any = "VALID", **more: Any) -> Any:
    n = x.ndim - 2
    y = jax.lax.conv_general_dilated(x, w["weight"], (stride,) * n, padding, **more)
    return y + w["bias"].reshape(1, -1, *(1,) * n) if "bias" in w else y


@case("cause/padding")
def conv_same_at_stride_two(rng: Any) -> Case:
    x = rng.normal(0.1, 1.0, (2, 3, 8, 6))
    return output(nn.Conv2d(3, 5, 3, 2, 1), x, lambda w, x: conv(w, x, 2, "SAME"), rng, {"padding": "SAME"})


@case("cause/padding")
def conv_same_against_zero(rng: Any) -> Case:
    x = rng.normal(0.1, 1.0, (2, 3, 7, 9))
    return output(nn.Conv2d(3, 5, 3), x, lambda w, x: conv(w, x, 1, "SAME"), rng, {"padding": "SAME"})


@case("cause/kernel-flip")
def conv_flipped(rng: Any) -> Case:
    x = rng.normal(0.1, 1.0, (2, 3, 7, 9))
    ours = lambda w, x: conv(w | {"weight": w["weight"][:, :, ::-1, ::-1]}, x)  # noqa: E731
    return output(nn.Conv2d(3, 5, 3), x, ours, rng)


@case("cause/matrix-transposed")
def conv_height_and_width_swapped(rng: Any) -> Case:
    x = rng.normal(0.1, 1.0, (2, 3, 7, 9))
    return output(nn.Conv2d(3, 5, 3), x, lambda w, x: conv(w | {"weight": w["weight"].swapaxes(2, 3)}, x), rng)


@case("cause/missing-bias")
def conv_without_bias(rng: Any) -> Case:
    x = rng.normal(0.1, 1.0, (2, 3, 7, 9))
    return output(nn.Conv2d(3, 5, 3), x, lambda w, x: conv({"weight": w["weight"]}, x), rng)


@case("cause/dilation")
def conv_without_dilation(rng: Any) -> Case:
    x = rng.normal(0.1, 1.0, (2, 3, 9, 11))
    return output(nn.Conv2d(3, 5, 3, dilation=2, padding=2), x, lambda w, x: conv(w, x, 1, ((2, 2), (2, 2))), rng)


@case("cause/stride")
def conv_at_stride_one(rng: Any) -> Case:
    x = rng.normal(0.1, 1.0, (2, 3, 7, 9))
    return output(nn.Conv2d(3, 5, 3, 2), x, conv, rng)


@case("cause/groups")
def groups_are_mixed(rng: Any) -> Case:
    def ours(w: Any, x: Any) -> Any:
        mixed = w["weight"].reshape(2, 3, 2, 3, 3).swapaxes(0, 1).reshape(6, 2, 3, 3)
        return conv(w | {"weight": mixed}, x, feature_group_count=2)

    return output(nn.Conv2d(4, 6, 3, groups=2), rng.normal(0.1, 1.0, (2, 4, 7, 9)), ours, rng)


def transposed(w: Any, x: Any, stride: int, padding: Any, flip: bool) -> Any:
    kernel = jnp.transpose(w["weight"], (2, 3, 0, 1))
    kernel = kernel[::-1, ::-1] if flip else kernel
    y = jax.lax.conv_transpose(jnp.moveaxis(x, 1, -1), kernel, (stride, stride), padding)
    return jnp.moveaxis(y, -1, 1) + w["bias"].reshape(1, -1, 1, 1)


@case("cause/kernel-flip")
def transposed_without_flip(rng: Any) -> Case:
    x = rng.normal(0.1, 1.0, (2, 3, 4, 5))
    ours = lambda w, x: transposed(w, x, 2, ((1, 1), (1, 1)), False)  # noqa: E731
    return output(nn.ConvTranspose2d(3, 5, 3, 2, 1), x, ours, rng)


@case("cause/transposed-padding")
def transposed_same(rng: Any) -> Case:
    x = rng.normal(0.1, 1.0, (2, 3, 4, 5))
    ours = lambda w, x: transposed(w, x, 2, "SAME", True)  # noqa: E731
    return output(nn.ConvTranspose2d(3, 5, 3, 2, 1, output_padding=1), x, ours, rng)


@case("cause/matrix-transposed")
def square_linear(rng: Any) -> Case:
    ours = lambda w, x: x @ w["weight"] + _lift(w["bias"], 2)  # noqa: E731
    return output(nn.Linear(5, 5), rng.normal(size=(3, 5)), ours, rng)


@case("cause/low-precision")
def linear_in_bfloat16(rng: Any) -> Case:
    def ours(w: Any, x: Any) -> Any:
        x, weight, bias = (v.astype("bfloat16") for v in (x, w["weight"], _lift(w["bias"], 2)))
        return (x @ weight.T + bias).astype("float64")

    return output(nn.Linear(5, 4), rng.normal(size=(3, 5)), ours, rng)


@case("cause/low-precision")
def linear_with_rounded_factors(rng: Any) -> Case:
    def ours(w: Any, x: Any) -> Any:
        x, weight = (v.astype("bfloat16").astype("float64") for v in (x, w["weight"]))
        return x @ weight.T + _lift(w["bias"], 2)

    return output(nn.Linear(5, 4), rng.normal(size=(3, 5)), ours, rng)


# Pools, resizing, activations: gaps ----------------------------------------------------------------------------------


@case("cause/count-include-pad")
def average_leaves_padding_out(rng: Any) -> Case:
    x = rng.normal(0.3, 1.0, (2, 3, 7, 9))

    def ours(x: Any) -> Any:
        y = nnx.avg_pool(jnp.moveaxis(x, 1, -1), (3, 3), (2, 2), ((1, 1), (1, 1)), count_include_pad=False)
        return jnp.moveaxis(y, -1, 1)

    return gap(x, nn.AvgPool2d(3, 2, 1)(pt(x)), ours, between=(layer(nn.AvgPool2d(3, 2, 1)),))


@case("cause/count-include-pad")
def average_guessed(rng: Any) -> Case:
    made = average_leaves_padding_out(rng)
    return Case("input", made.ours, made.theirs, before=made.before)


@case("cause/pool-stride")
def pooling_at_stride_one(rng: Any) -> Case:
    x = rng.normal(0.3, 1.0, (2, 3, 7, 9))
    ours = lambda x: jnp.moveaxis(nnx.max_pool(jnp.moveaxis(x, 1, -1), (2, 2)), -1, 1)  # noqa: E731
    return gap(x, nn.MaxPool2d(2)(pt(x)), ours, between=(layer(nn.MaxPool2d(2)),))


@case("cause/max-pool-padding")
def zeros_around_a_max_pool(rng: Any) -> Case:
    x = rng.normal(-2.0, 1.0, (2, 3, 7, 9))

    def ours(x: Any) -> Any:
        y = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return jnp.moveaxis(nnx.max_pool(jnp.moveaxis(y, 1, -1), (3, 3), (2, 2)), -1, 1)

    return gap(x, nn.MaxPool2d(3, 2, 1)(pt(x)), ours)


@case("cause/ceil-mode")
def ceil_mode(rng: Any) -> Case:
    x = rng.normal(-2.0, 1.0, (2, 3, 7, 9))
    ours = lambda x: jnp.moveaxis(nnx.max_pool(jnp.moveaxis(x, 1, -1), (2, 2), (2, 2)), -1, 1)  # noqa: E731
    module = nn.MaxPool2d(2, ceil_mode=True)
    return gap(x, module(pt(x)), ours, between=(layer(module),))


@case("cause/gelu-tanh")
def gelu_guessed(rng: Any) -> Case:
    x = rng.normal(size=(3, 5))
    return gap(x, nn.functional.gelu(pt(x)), jax.nn.gelu)


@case("cause/gelu-tanh")
def gelu_then_linear(rng: Any) -> Case:
    x = rng.normal(size=(3, 5))
    module = nn.Linear(5, 4)
    made = layer(module, rng)
    h = nn.functional.gelu(pt(x))
    own = arrays(module)
    mine = jax64(lambda x: jax.nn.gelu(x) @ own["weight"].T + own["bias"].reshape(1, -1), x)
    theirs = module(h).detach().numpy()
    return Case("output", mine, theirs, None, made, input=h.numpy(), arrays=own, before=x)


@case("cause/activation")
def leaky_relu_slope(rng: Any) -> Case:
    x = rng.normal(size=(3, 5))
    return gap(x, nn.functional.leaky_relu(pt(x), 0.01), lambda x: jax.nn.leaky_relu(x, 0.2))


@case("cause/flatten-order")
def flatten_of_channels_last(rng: Any) -> Case:
    x = rng.normal(size=(2, 3, 4, 5))
    return gap(x, pt(x).flatten(1), lambda x: jnp.moveaxis(x, 1, -1).reshape(2, -1))


@case("cause/flatten-order")
def kernel_rows_in_the_other_order(rng: Any) -> Case:
    def ours(w: Any, x: Any) -> Any:
        return x.reshape(2, 3, 20).swapaxes(1, 2).reshape(2, 60) @ w["weight"].T + _lift(w["bias"], 2)

    return output(nn.Linear(60, 4), rng.normal(size=(2, 60)), ours, rng)


def _resized(rng: Any, size: tuple[int, int], method: str, antialias: bool = True, **torch_mode: Any) -> Case:
    x = rng.normal(size=(2, 3, 8, 9))
    theirs = nn.functional.interpolate(pt(x), size, **torch_mode)
    return gap(x, theirs, lambda x: jax.image.resize(x, (2, 3, *size), method, antialias=antialias))


@case("cause/nearest")
def nearest(rng: Any) -> Case:
    return _resized(rng, (5, 13), "nearest", mode="nearest")


@case("cause/antialias")
def antialias(rng: Any) -> Case:
    return _resized(rng, (5, 4), "linear", mode="bilinear")


@case("cause/align-corners")
def align_corners(rng: Any) -> Case:
    return _resized(rng, (16, 13), "linear", mode="bilinear", align_corners=True)


@case("cause/bicubic")
def bicubic(rng: Any) -> Case:
    return _resized(rng, (16, 13), "cubic", mode="bicubic")


@case("cause/ddof")
def standardised(rng: Any) -> Case:
    x = rng.normal(size=(3, 5, 7))
    theirs = (pt(x) - pt(x).mean(-1, keepdim=True)) / pt(x).std(-1, keepdim=True)
    return gap(x, theirs, lambda x: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True))


@case("cause/ddof")
def standard_deviation(rng: Any) -> Case:
    x = rng.normal(size=(3, 5, 7))
    return gap(x, pt(x).std(1), lambda x: x.std(1))


@case("cause/median")
def median(rng: Any) -> Case:
    x = rng.normal(size=(3, 5, 6))
    return gap(x, pt(x).median(-1).values, lambda x: jnp.median(x, -1))


@case("cause/softmax-axis")
def softmax_over_the_batch(rng: Any) -> Case:
    x = rng.normal(size=(3, 5))
    return output(nn.Softmax(1), x, lambda w, x: jax.nn.softmax(x, 0))


@case("cause/softmax-axis")
def softmax_guessed(rng: Any) -> Case:
    x = rng.normal(size=(3, 5, 4))
    return gap(x, pt(x).softmax(-1), lambda x: jax.nn.softmax(x, 1))
