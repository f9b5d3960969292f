"""Random cases of convolutions, transposed convolutions, fold and unfold: all that PyTorch takes, in small shapes."""

from typing import Any

from cases import Case, label, normal
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from test_nn_conv import conv_case, fold_case, transpose_case, twin, unfold_case

MOST = {1: 9, 2: 6, 3: 4}


def per_axis(draw: DrawFn, ndim: int, least: int, most: int) -> Any:
    """Draw one number, or one for each axis."""
    number = st.integers(least, most)
    return draw(st.one_of(number, st.tuples(*[number] * ndim)))


def numbers(value: Any, ndim: int) -> tuple[int, ...]:
    return (value,) * ndim if isinstance(value, int) else value


@st.composite
def convolutions(draw: DrawFn, ndim: int) -> Case:
    kernel = draw(st.tuples(*[st.integers(1, 3)] * ndim))
    dilation, stride = per_axis(draw, ndim, 1, 2), per_axis(draw, ndim, 1, 3)
    padding = draw(st.sampled_from(["valid", "same", "numbers"]))
    if padding == "same":
        stride = 1
    elif padding == "numbers":
        padding = per_axis(draw, ndim, 0, 3)
    least = [d * (k - 1) + 1 for k, d in zip(kernel, numbers(dilation, ndim), strict=True)]
    size = tuple(draw(st.integers(n, n + MOST[ndim] // 2)) for n in least)
    groups, inside, outside = draw(st.sampled_from([1, 1, 2, 3])), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    batch = draw(st.sampled_from([(), (2,), (3,)]))
    image, weight = (*batch, groups * inside, *size), (groups * outside, inside, *kernel)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    bias = draw(st.booleans())
    id = f"conv{ndim}d-{image}-{weight}-{bias}-{label(options)}"
    return conv_case(id, ndim, image=image, weight=weight, bias=bias, **options)


@st.composite
def transposed(draw: DrawFn, ndim: int) -> Case:
    kernel = draw(st.tuples(*[st.integers(1, 3)] * ndim))
    dilation, stride = per_axis(draw, ndim, 1, 2), per_axis(draw, ndim, 1, 3)
    axes = list(zip(kernel, numbers(stride, ndim), numbers(dilation, ndim), strict=True))
    more = tuple(draw(st.integers(0, max(s, d) - 1)) for _, s, d in axes)
    padding = tuple(draw(st.integers(0, d * (k - 1) + (s - 1))) for k, s, d in axes)
    sides = zip(axes, more, padding, strict=True)
    # Large enough that something is left after cropping.
    least = [max(1, -(-(2 * p - d * (k - 1) - op) // s) + 1) for (k, s, d), op, p in sides]
    size = tuple(draw(st.integers(n, n + MOST[ndim] // 2)) for n in least)
    groups, inside, outside = draw(st.sampled_from([1, 1, 2, 3])), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    batch = draw(st.sampled_from([(), (2,), (3,)]))
    image, weight = (*batch, groups * inside, *size), (groups * inside, outside, *kernel)
    options = {"stride": stride, "padding": padding, "output_padding": more, "dilation": dilation, "groups": groups}
    bias = draw(st.booleans())
    id = f"conv_transpose{ndim}d-{image}-{weight}-{bias}-{label(options)}"
    return transpose_case(id, ndim, image=image, weight=weight, bias=bias, **options)


@st.composite
def blocks(draw: DrawFn, function: str) -> Case:
    kernel, dilation = per_axis(draw, 2, 1, 3), per_axis(draw, 2, 1, 2)
    options = {"dilation": dilation, "padding": per_axis(draw, 2, 0, 2), "stride": per_axis(draw, 2, 1, 3)}
    extents = zip(numbers(kernel, 2), numbers(dilation, 2), strict=True)
    size = tuple(draw(st.integers(d * (k - 1) + 1, d * (k - 1) + 4)) for k, d in extents)
    batch = draw(st.sampled_from([(), (0,), (2,)]))
    channels = draw(st.integers(1, 3))
    id = f"{function}-{batch}-{channels}-{size}-{kernel}-{label(options)}"
    make = {"unfold": unfold_case, "fold": fold_case}[function]
    return make(id, (*batch, channels, *size), kernel, **options)


@st.composite
def time_first(draw: DrawFn) -> Case:
    width, pad = draw(st.integers(1, 4)), draw(st.integers(-1, 3))
    steps = draw(st.integers(max(1, width - 2 * pad), max(1, width - 2 * pad) + 4))
    batch, inside, outside = (draw(st.integers(1, 3)) for _ in range(3))
    id = f"conv_tbc-{(steps, batch, inside)}-{width}-{outside}-{pad}"
    return twin(id, "conv_tbc", normal((steps, batch, inside), (width, inside, outside), (outside,)), pad)


STRATEGIES: dict[str, SearchStrategy[Case]] = {
    **{f"conv{n}d": convolutions(n) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": transposed(n) for n in (1, 2, 3)},
    "unfold": blocks("unfold"),
    "fold": blocks("fold"),
    "conv_tbc": time_first(),
}
