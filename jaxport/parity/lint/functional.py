"""What the functions say that two models call: traps that stand in no module's settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jaxport.parity.result import Finding
from jaxport.parity.traps import TRAPS, trap_of

from .calls import Call, Calls


def call_findings(calls: Calls) -> Iterator[Finding]:
    """Yield the traps that the functions show."""
    for rule in (
        _gelu, _resize, _spread, _median, _ties, _kinks, _pooling, _convolutions, _indices, _integers, _losses,
        _precision, _dropout,
    ):  # fmt: skip
        yield from rule(calls)


def _found(
    rule: str, text: str, call: Call | None = None, level: str = "warning", fix: str = "", trap: int | None = None
) -> Finding:
    number = trap or trap_of(rule)
    fix = fix or (TRAPS[number - 1].fix if number else "")
    return Finding(rule, level, text, "", call.path if call else "", number, fix)


def _named(calls: Iterable[Call], *names: str) -> list[Call]:
    return [call for call in calls if call.name in names]


def _argument(call: Call, name: str, place: int, default: Any) -> Any:
    """Return an argument of a PyTorch call, given by name or in its place."""
    return call.arguments.get(name, call.arguments.get(str(place), default))


def _gelu(calls: Calls) -> Iterator[Finding]:
    gelus = _named(calls.torch, "gelu")
    exact = [call for call in gelus if _argument(call, "approximate", 1, "none") == "none"]
    erf = len(_named(calls.jax, "erf", "erfc"))
    # The constant of the tanh approximation, which no other function has.
    tanh = sum(any(abs(v - 0.044715) < 1e-6 for v in call.literals) for call in calls.jax)
    if exact and tanh and erf < len(exact):
        text = f"PyTorch has {len(exact)} GELU with erf, JAX {erf}, and {tanh} with tanh"
        fix = "jax.nn.gelu(x, approximate=False)"
        yield _found("lint/gelu", text, exact[0], fix=fix)
    if len(gelus) > len(exact) and erf and tanh < len(gelus) - len(exact):
        text = f"PyTorch has {len(gelus) - len(exact)} GELU with tanh, JAX {tanh}, and {erf} with erf"
        yield _found("lint/gelu", text, gelus[0], fix="jax.nn.gelu(x, approximate=True)")


def _resize(calls: Calls) -> Iterator[Finding]:
    theirs = _named(calls.torch, "interpolate")
    ours = _named(calls.jax, "_resize", "resize")
    if not theirs or not ours:
        return
    smooth = any(call.within[-1:] == (ours[0].name,) and _antialiases(call) for call in calls.jax)
    for call in theirs:
        mode = _argument(call, "mode", 3, "nearest")
        if _argument(call, "align_corners", 4, None):
            text = f"PyTorch's {mode} aligns the corners, jax.image.resize never does"
            yield _found("lint/resize", text, call, trap=18)
        elif mode == "nearest":
            text = "PyTorch's 'nearest' takes floor, jax.image.resize the nearest centre ('nearest-exact')"
            yield _found("lint/resize", text, call)
        elif mode == "bicubic" and not _argument(call, "antialias", 6, False):
            text = "PyTorch's bicubic kernel has a = −0.75, jax.image.resize's a = −0.5"
            yield _found("lint/resize", text, call, trap=19)
        elif "linear" in mode and not _argument(call, "antialias", 6, False) and smooth:
            text = "jax.image.resize antialiases when it shrinks, PyTorch does not"
            yield _found("lint/resize", text, call, trap=18)


def _antialiases(call: Call) -> bool:
    """Whether it is the widening of the kernel, max(1/scale, 1), of a size that shrinks."""
    return call.name == "max" and len(call.literals) == 2 and call.literals[1] == 1.0 < call.literals[0]


def _spread(calls: Calls) -> Iterator[Finding]:
    theirs = [call for call in _named(calls.torch, "var", "std", "var_mean", "std_mean") if _corrects(call)]
    ours = [call for call in _named(calls.jax, "_var", "_std") if call.literals[:1] == (0.0,)]
    if theirs and ours:
        text = f"PyTorch's {theirs[0].name} divides by n − 1, JAX's var and std by n ({len(ours)} calls)"
        yield _found("lint/ddof", text, theirs[0])


def _corrects(call: Call) -> bool:
    unbiased = call.arguments.get("unbiased", call.arguments.get("2", True))
    return unbiased is not False and call.arguments.get("correction", 1) != 0


def _median(calls: Calls) -> Iterator[Finding]:
    theirs, ours = _named(calls.torch, "median"), _named(calls.jax, "median", "_median")
    if theirs and ours:
        yield _found("lint/median", "PyTorch's median is the lower of the middle two, JAX's their mean", theirs[0])


def _ties(calls: Calls) -> Iterator[Finding]:
    theirs = [call for call in _named(calls.torch, "max", "min") if _argument(call, "dim", 1, None) is not None]
    inner = ("softmax", "_softmax", "log_softmax", "logsumexp")
    ours = [call for call in _named(calls.jax, "reduce_max", "reduce_min") if not set(call.within) & set(inner)]
    if theirs and ours:
        text = f"PyTorch's {theirs[0].name}(dim) gives the gradient to one of equal values, JAX's splits it"
        yield _found("lint/tied-maximum", text, theirs[0], "info")


def _kinks(calls: Calls) -> Iterator[Finding]:
    zero = [call for call in _named(calls.jax, "max") if 0.0 in call.literals and not call.within]
    relus = _named(calls.torch, "relu", "relu_")
    # JAX's relu6 and what is made of it are written with a maximum, and so are PyTorch's: no trap.
    sixes = _named(calls.torch, "relu6", "hardswish", "hardsigmoid", "hardtanh")
    if len(zero) > len(sixes) and relus:
        text = "JAX's maximum(x, 0) has the gradient 0.5 at 0, PyTorch's relu 0"
        yield _found("lint/kink", text, relus[0], "info", "jax.nn.relu(x)")
    for name, ours, text in (
        ("clamp", ("clip", "clamp"), "JAX's clip has the gradient 0.5 on its bounds, PyTorch's clamp 1"),
        ("clip", ("clip", "clamp"), "JAX's clip has the gradient 0.5 on its bounds, PyTorch's clip 1"),
        ("abs", ("abs",), "JAX's abs has the gradient 1 at 0, PyTorch's 0"),
        ("norm", ("sqrt", "norm"), "JAX's norm has the gradient NaN at 0, PyTorch's 0"),
        ("vector_norm", ("sqrt", "norm"), "JAX's norm has the gradient NaN at 0, PyTorch's 0"),
    ):
        theirs = [call for call in _named(calls.torch, name) if call.dtypes[:1] and "float" in call.dtypes[0]]
        outside = [c for c in _named(calls.jax, *ours) if not set(c.within) & {"_resize", "_std", "std", "_var"}]
        if theirs and outside:
            yield _found("lint/kink", text, theirs[0], "info")


def _pooling(calls: Calls) -> Iterator[Finding]:
    windows = [c for c in calls.jax if c.name in ("reduce_window_sum", "reduce_window_max", "reduce_window")]
    for name in ("avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d"):
        theirs = _named(calls.torch, name) or (_named(calls.torch, "boolean_dispatch") if "max" in name else [])
        if not theirs or not windows:
            continue
        yield from _windows(name, theirs[0], windows)


def _windows(name: str, call: Call, windows: list[Call]) -> Iterator[Finding]:
    n, average = int(name[-2]), name.startswith("avg")
    trap = 13 if average else 14
    kind = "reduce_window_sum" if average else "reduce_window_max"
    ours = [c for c in windows if c.name == kind and len(c.arguments.get("window_dimensions", ())) == n + 2]
    if not ours:
        return
    size = _argument(call, "kernel_size", 1, None)
    stride, padding = _argument(call, "stride", 2, None) or size, _argument(call, "padding", 3, 0)
    theirs = tuple(sorted(_tuple(stride, n)))
    mine = tuple(sorted(v for v in ours[0].arguments["window_strides"]))[-n:]
    if theirs != tuple(sorted(mine)):
        yield _found("lint/pooling", f"{name} has stride {theirs} in PyTorch, {mine} in JAX", call, trap=trap)
    pads = {tuple(p) for p in ours[0].arguments["padding"]} - {(0, 0)}
    expected = {(p, p) for p in _tuple(padding, n)} - {(0, 0)}
    if pads != expected:
        text = f"{name} is padded by {padding} in PyTorch, by {sorted(pads) or 0} in JAX"
        yield _found("lint/pooling", text, call, trap=trap)
    if _argument(call, "ceil_mode", 4 if average else 5, False):
        yield _found("lint/pooling", f"{name} has ceil_mode in PyTorch, which JAX's windows have not", call, trap=trap)
    counted = _argument(call, "count_include_pad", 5, True)
    # A divisor that is counted is a second window sum, over ones.
    divided = len(ours) > 1 and any(c.shapes and c.shapes[0][:1] == (1,) for c in ours[1:])
    if average and expected and counted == divided:
        text = f"count_include_pad is {counted} in PyTorch, {not divided} in JAX"
        yield _found("lint/pooling", text, call, trap=trap, fix=f"count_include_pad={counted}")


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    value = (value,) * n if isinstance(value, int) else tuple(value)
    return value * n if len(value) == 1 else value


def _convolutions(calls: Calls) -> Iterator[Finding]:
    """Compare convolutions in the order of their calls, if both have as many."""
    theirs = _named(calls.torch, "conv1d", "conv2d", "conv3d")
    ours = _named(calls.jax, "conv_general_dilated")
    if len(theirs) != len(ours):
        return
    for call, mine in zip(theirs, ours, strict=True):
        n = int(call.name[-2])
        stride, padding = _argument(call, "stride", 3, 1), _argument(call, "padding", 4, 0)
        dilation, groups = _argument(call, "dilation", 5, 1), _argument(call, "groups", 6, 1)
        rows: list[tuple[str, Any, Any]] = [
            ("lint/stride", _tuple(stride, n), tuple(mine.arguments["window_strides"])),
            ("lint/dilation", _tuple(dilation, n), tuple(mine.arguments["rhs_dilation"])),
            ("lint/groups", groups, mine.arguments["feature_group_count"]),
        ]
        if not isinstance(padding, str):
            pads = tuple((p, p) for p in _tuple(padding, n))
            rows.append(("lint/padding", pads, tuple(tuple(p) for p in mine.arguments["padding"])))
        for rule, wanted, got in rows:
            if wanted != got:
                text = f"{call.name} in {call.path or 'the model'}: {rule[5:]} is {wanted} in PyTorch, {got} in JAX"
                yield _found(rule, text, call)


def _indices(calls: Calls) -> Iterator[Finding]:
    theirs = _named(calls.torch, "embedding", "index_select", "gather", "take_along_dim")
    gathers = [c for c in _named(calls.jax, "gather") if "IN_BOUNDS" not in str(c.arguments.get("mode"))]
    if theirs and gathers:
        modes = sorted({str(c.arguments.get("mode")).rsplit(".", 1)[-1].lower() for c in gathers})
        text = f"an index out of range raises in PyTorch's {theirs[0].name}; JAX's gather goes on ({', '.join(modes)})"
        yield _found("lint/index", text, theirs[0], "info")


def _integers(calls: Calls) -> Iterator[Finding]:
    arithmetic = ("mul", "__mul__", "__rmul__", "add", "__add__", "__radd__", "sum", "cumsum", "prod", "__lshift__")
    theirs = [c for c in _named(calls.torch, *arithmetic) if c.out_dtypes[:1] == ("int64",)]
    ours = [
        c for c in _named(calls.jax, "mul", "reduce_sum", "cumsum", "reduce_prod") if c.out_dtypes[:1] == ("int32",)
    ]
    if theirs and ours:
        text = f"PyTorch computes with int64 ({theirs[0].name}), JAX with int32, which wraps around at 2^31"
        yield _found("lint/integer-width", text, theirs[0])


def _losses(calls: Calls) -> Iterator[Finding]:
    for call in _named(calls.torch, "cross_entropy", "nll_loss"):
        options = {k: call.arguments[k] for k in ("weight", "label_smoothing") if call.arguments.get(k)}
        if options and calls.jax:
            text = f"PyTorch's {call.name} has {', '.join(options)}; its weighted mean divides by the sum of weights"
            yield _found("lint/cross-entropy", text, call)
    squares = _named(calls.torch, "mse_loss")
    if squares and any(0.5 in c.literals and c.name == "mul" for c in calls.jax):
        yield _found("lint/half-square", "PyTorch's mse_loss has no ½; JAX multiplies by 0.5", squares[0], "info")
    clamped = _named(calls.torch, "binary_cross_entropy")
    logs = _named(calls.jax, "log", "log1p")
    if clamped and logs and not any(-100.0 in c.literals for c in calls.jax):
        yield _found("lint/log-clamp", "PyTorch clamps the logarithms at −100, JAX does not", clamped[0])
    for name in ("kl_div", "smooth_l1_loss", "huber_loss"):
        for call in _named(calls.torch, name) if calls.jax else []:
            reduction = call.arguments.get("reduction", "mean")
            beta = call.arguments.get("beta", call.arguments.get("delta", 1.0))
            if (name == "kl_div" and reduction == "mean") or (name != "kl_div" and beta != 1.0):
                text = f"PyTorch's {name} has reduction={reduction!r}" + ("" if name == "kl_div" else f", beta {beta}")
                yield _found("lint/loss-reduction", text, call, "info")


def _precision(calls: Calls) -> Iterator[Finding]:
    theirs = {dtype for call in calls.torch for dtype in call.dtypes}
    for call in _named(calls.jax, "dot_general", "conv_general_dilated"):
        low = [d for d in call.dtypes if d in ("bfloat16", "float16") and d not in theirs]
        if low and theirs:
            yield _found("lint/dtype", f"JAX multiplies in {low[0]}, PyTorch in {', '.join(sorted(theirs))}")
            return


def _dropout(calls: Calls) -> Iterator[Finding]:
    theirs = [c for c in _named(calls.torch, "dropout", "dropout2d") if _argument(c, "training", 2, True)]
    random = [c for c in calls.jax if c.name in ("random_bits", "_bernoulli", "bernoulli", "random_wrap")]
    if random and not theirs and calls.torch:
        yield _found("lint/dropout", "JAX draws random numbers, PyTorch has no dropout that is on: is JAX in training?")
