"""What the settings of two layers that stand for each other say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jaxport.parity.layer import Layer
from jaxport.parity.result import Finding
from jaxport.parity.traps import fix_of, trap_of

from . import settings as read

Rule = Callable[[Layer, Layer], Iterator[Finding]]


def found(
    rule: str, text: str, jax: Layer | None = None, torch: Layer | None = None, fix: str = "", level: str = "warning"
) -> Finding:
    """Return a finding; without a fix, with that of the trap that the rule names."""
    paths = (jax.path if jax else "", torch.path if torch else "")
    return Finding(rule, level, text, *paths, trap_of(rule), fix or fix_of(rule))


def pair_findings(jax: Layer, torch: Layer) -> Iterator[Finding]:
    """Yield what differs in two layers."""
    for starts, rules in _RULES.items():
        if torch.name.startswith(starts) and torch.kind.startswith("torch.nn."):
            for rule in rules:
                yield from rule(jax, torch)
    yield from _dtype(jax, torch)


def _eps(jax: Layer, torch: Layer) -> Iterator[Finding]:
    ours, theirs = read.eps(jax), read.eps(torch)
    if ours is not None and theirs is not None and not np.isclose(ours, theirs, rtol=1e-6, atol=0.0):
        text = f"eps is {ours:g} in JAX, {theirs:g} in PyTorch"
        yield found("lint/eps", text, jax, torch, f"{jax.name}(…, {_eps_name(jax)}={theirs:g})")


def _eps_name(jax: Layer) -> str:
    return "eps" if "eps" in jax.settings else "epsilon"


def _momentum(jax: Layer, torch: Layer) -> Iterator[Finding]:
    if not torch.settings.get("track_running_stats", True):
        return
    theirs, ours = torch.settings.get("momentum"), read.new_weight(jax)
    if theirs is None and not read.own(jax):
        text = f"PyTorch averages all batches alike (momentum=None); JAX gives the new one the weight {ours}"
        yield found("lint/momentum-none", text, jax, torch)
    elif ours is not None and theirs is not None and not np.isclose(ours, theirs, rtol=1e-6):
        told = jax.settings["momentum"]
        swapped = " (it is the weight of the old value in Flax)" if np.isclose(told, theirs) else ""
        text = f"momentum is {told:g} in JAX{swapped}, {theirs:g} in PyTorch: the new value weighs {ours:.4g} there"
        fix = f"{jax.name}(…, momentum={1 - theirs:g}, {_eps_name(jax)}={torch.settings.get('eps', 1e-5):g})"
        yield found("lint/momentum", text, jax, torch, fix)
    if "BatchNorm" in jax.name and not read.own(jax):
        text = "in training PyTorch stores the unbiased variance (n/(n−1)), JAX's layer the biased one"
        yield found("lint/running-variance", text, jax, torch)


def _fast(jax: Layer, torch: Layer) -> Iterator[Finding]:
    if jax.settings.get("use_fast_variance"):
        text = "the variance is computed as E[x²] − E[x]² in JAX, which cancels in float32 where means are large"
        fix = f"{jax.name}(…, use_fast_variance=False)"
        yield found("lint/fast-variance", text, jax, torch, fix, "info")


def _affine(jax: Layer, torch: Layer) -> Iterator[Finding]:
    affine = bool(torch.settings.get("affine", torch.settings.get("elementwise_affine", True)))
    bias = affine and torch.settings.get("bias", True) is not False and torch.name != "RMSNorm"
    for names, theirs, word in ((("use_scale", "use_weight"), affine, "scale"), (("use_bias",), bias, "bias")):
        ours = read.get(jax, *names, "channelwise_affine")
        if isinstance(ours, bool) and ours != theirs:
            text = f"the norm has {'a' if ours else 'no'} {word} in JAX, {'one' if theirs else 'none'} in PyTorch"
            yield found("lint/affine", text, jax, torch, f"{names[0]}={theirs}")


def _groups(jax: Layer, torch: Layer) -> Iterator[Finding]:
    ours, theirs = read.get(jax, "num_groups", "groups"), torch.settings.get("num_groups")
    if ours is not None and ours != theirs:
        yield found("lint/groups", f"num_groups is {ours} in JAX, {theirs} in PyTorch", jax, torch)


def _bias(jax: Layer, torch: Layer) -> Iterator[Finding]:
    ours, theirs = read.has_bias(jax), read.has_bias(torch)
    if ours is not None and theirs is not None and ours != theirs:
        where = "JAX only" if ours else "PyTorch only"
        yield found("lint/bias", f"there is a bias in {where}", jax, torch, f"use_bias={theirs}")


def _convolution(jax: Layer, torch: Layer) -> Iterator[Finding]:
    n, s = read.dimensions(torch), torch.settings
    for rule, names, theirs in (
        ("lint/stride", ("strides", "stride"), s["stride"]),
        ("lint/dilation", ("kernel_dilation", "dilation"), s["dilation"]),
    ):
        ours = read.numbers(read.get(jax, *names), n)
        if ours is not None and ours != tuple(theirs):
            name = next((name for name in names if name in jax.settings), names[0])
            text = f"{names[-1]} is {ours} in JAX, {tuple(theirs)} in PyTorch"
            yield found(rule, text, jax, torch, f"{name}={tuple(theirs)}")
    ours = read.get(jax, "feature_group_count", "groups")
    if ours is not None and ours != s["groups"]:
        yield found("lint/groups", f"groups is {ours} in JAX, {s['groups']} in PyTorch", jax, torch)
    kernel = read.numbers(read.get(jax, "kernel_size"), n) if "kernel_size" in jax.settings else None
    if kernel is not None and kernel != tuple(s["kernel_size"]):
        text = f"kernel_size is {kernel} in JAX, {tuple(s['kernel_size'])} in PyTorch"
        yield found("lint/shape", text, jax, torch)


def _padding(jax: Layer, torch: Layer) -> Iterator[Finding]:
    n, s = read.dimensions(torch), torch.settings
    ours, theirs = read.pads(jax.settings.get("padding"), n), read.pads(s["padding"], n)
    if ours is None or theirs is None or "padding" not in jax.settings:
        return
    reach = [(k - 1) * d for k, d in zip(s["kernel_size"], s["dilation"], strict=True)]
    if theirs == "SAME":  # PyTorch allows it at stride 1 only: the odd one goes behind, as in JAX
        theirs = tuple((r // 2, r - r // 2) for r in reach)
    known = ours
    if ours == "SAME" and all(v == 1 for v in s["stride"]):
        known = tuple((r // 2, r - r // 2) for r in reach)
    if known == theirs and s.get("padding_mode", "zeros") == "zeros":
        return
    if s.get("padding_mode") == "circular" and ours == "CIRCULAR":
        return
    text = f"padding is {jax.settings['padding']!r} in JAX, {s['padding']!r} ({s.get('padding_mode')}) in PyTorch"
    if ours == "SAME" and any(v > 1 for v in s["stride"]):
        text += "; at this stride 'SAME' depends on the input's size, and an odd one goes behind"
    yield found("lint/padding", text, jax, torch, f"padding={theirs}" if s.get("padding_mode") == "zeros" else "")


def _transposed(jax: Layer, torch: Layer) -> Iterator[Finding]:
    n, s = read.dimensions(torch), torch.settings
    if not jax.kind.startswith("flax."):
        return
    stride = read.numbers(jax.settings.get("strides"), n) or (1,) * n
    if stride != tuple(s["stride"]):
        yield found("lint/stride", f"stride is {stride} in JAX, {s['stride']} in PyTorch", jax, torch)
        return
    rows = list(zip(s["kernel_size"], s["dilation"], s["padding"], s["output_padding"], strict=True))
    theirs = tuple((d * (k - 1) - p, d * (k - 1) - p + op) for k, d, p, op in rows)
    given = read.pads(jax.settings.get("padding"), n)
    word = str(jax.settings.get("padding")).upper()
    if word in ("SAME", "VALID"):
        given = tuple(_transposed_pads(d * (k - 1) + 1, v, word) for (k, d, *_), v in zip(rows, stride, strict=True))
    if given is not None and given != theirs:
        text = (
            f"the dilated input is padded by {given} (padding={jax.settings.get('padding')!r}) in JAX; "
            f"PyTorch's padding={s['padding']} is {theirs} there"
        )
        yield found("lint/transposed-convolution", text, jax, torch, f"padding={theirs}")


def _transposed_pads(k: int, s: int, word: str) -> tuple[int, int]:
    """Return what `jax.lax.conv_transpose` makes of the word."""
    if word == "SAME":
        whole = k + s - 2
        low = k - 1 if s > k - 1 else -(-whole // 2)
    else:
        whole, low = k + s - 2 + max(k - s, 0), k - 1
    return low, whole - low


def _embedding(jax: Layer, torch: Layer) -> Iterator[Finding]:
    if read.own(jax):
        return
    index, limit = torch.settings.get("padding_idx"), torch.settings.get("max_norm")
    if index is not None:
        text = f"padding_idx={index} gets no gradient in PyTorch; JAX's layer has no such row"
        yield found("lint/padding-idx", text, jax, torch)
    if limit is not None:
        yield found("lint/max-norm", f"PyTorch scales rows down to max_norm={limit}; JAX does not", jax, torch)
    ours, theirs = read.get(jax, "num_embeddings"), torch.settings.get("num_embeddings")
    if ours is not None and ours < theirs:
        text = f"the table has {ours} rows in JAX, {theirs} in PyTorch: indices beyond give NaN, not an error"
        yield found("lint/index", text, jax, torch, f"num_embeddings={theirs}")


def _attention(jax: Layer, torch: Layer) -> Iterator[Finding]:
    ours, theirs = read.get(jax, "num_heads"), torch.settings["num_heads"]
    if ours is not None and ours != theirs:
        text = f"num_heads is {ours} in JAX, {theirs} in PyTorch"
        yield found("lint/num-heads", text, jax, torch, f"num_heads={theirs}")
    if not torch.settings.get("batch_first") and not read.own(jax):
        text = "PyTorch takes (length, batch, features) (batch_first=False); JAX's layer (batch, length, features)"
        yield found("lint/batch-first", text, jax, torch)


def _recurrent(jax: Layer, torch: Layer) -> Iterator[Finding]:
    if read.own(jax) or torch.name.endswith("Cell"):
        return
    major = jax.settings.get("time_major")
    if isinstance(major, bool) and major == bool(torch.settings.get("batch_first")):
        words = ("(time, batch, …)", "(batch, time, …)")
        text = f"JAX takes {words[not major]}, PyTorch {words[major]}"
        yield found("lint/batch-first", text, jax, torch, f"time_major={not major}")
    if torch.settings.get("bidirectional") and jax.name == "RNN":
        yield found("lint/bidirectional", "PyTorch reads both ways, JAX's RNN one way", jax, torch, "nnx.Bidirectional")


def _recurrent_bias(jax: Layer, torch: Layer) -> Iterator[Finding]:
    if read.own(jax) or not torch.settings.get("bias", True):
        return
    if torch.name.startswith("GRU") and not jax.kind.startswith("equinox."):
        text = "PyTorch's GRU has b_hn inside the reset gate; Flax's cell cannot hold it"
        yield found("lint/gru-bias", text, jax, torch)
    elif not torch.name.startswith("GRU"):
        text = "PyTorch has two biases, JAX one: they can be summed, but an optimiser moves the sum twice as fast"
        yield found("lint/rnn-bias", text, jax, torch, level="info")


def _slope(jax: Layer, torch: Layer) -> Iterator[Finding]:
    for name in ("negative_slope", "alpha", "beta", "approximate"):
        ours, theirs = jax.settings.get(name), torch.settings.get(name)
        if name in jax.settings and name in torch.settings and ours != theirs:
            yield found("lint/slope", f"{name} is {ours} in JAX, {theirs} in PyTorch", jax, torch, f"{name}={theirs}")


def _dtype(jax: Layer, torch: Layer) -> Iterator[Finding]:
    ours = jax.settings.get("dtype")
    theirs = {str(array.dtype).removeprefix("torch.") for array in torch.arrays.values() if _is_float(array)}
    if ours is not None and theirs:
        name = _dtype_name(ours)
        if name in ("bfloat16", "float16") and name not in theirs:
            text = f"dtype is {name} in JAX, {', '.join(sorted(theirs))} in PyTorch"
            yield found("lint/dtype", text, jax, torch, "dtype=None")
    precision = jax.settings.get("precision")
    if precision is not None and "highest" not in str(precision).lower() and "float32" not in str(precision).lower():
        text = f"precision is {precision} in JAX: products may be rounded on accelerators"
        yield found("lint/precision", text, jax, torch, 'precision="highest"')


def _is_float(array: Any) -> bool:
    return "float" in str(array.dtype)


def _dtype_name(dtype: Any) -> str:
    return str(getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or dtype)


_NORM: tuple[Rule, ...] = (_eps, _fast, _affine)
_RULES: dict[str | tuple[str, ...], tuple[Rule, ...]] = {
    ("LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm", "BatchNorm", "SyncBatchNorm"): _NORM,
    ("BatchNorm", "SyncBatchNorm"): (_momentum,),
    "GroupNorm": (_groups,),
    ("Linear", "Bilinear"): (_bias,),
    ("Conv1d", "Conv2d", "Conv3d"): (_bias, _convolution, _padding),
    "ConvTranspose": (_bias, _transposed),
    "Embedding": (_embedding,),
    "MultiheadAttention": (_attention, _bias),
    ("LSTM", "GRU", "RNN"): (_recurrent, _recurrent_bias),
    ("LeakyReLU", "ELU", "CELU", "GELU", "Softplus"): (_slope,),
}
