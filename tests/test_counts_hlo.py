"""What no port's training step may hold, from its lowered text: nothing is compiled here."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import lax

from jaxport import nn, ports
from jaxport.bench.count_fits import step_problems, step_text
from jaxport.bench.hlo import Convolution, computations, convolutions, hlo_problems, looped
from jaxport.engine import dispatch
from jaxport.models import digits


@pytest.mark.parametrize("name", ports.names())
def test_step_of_every_port(name):
    assert step_problems(ports.get(name)) == []


X, W = jax.ShapeDtypeStruct((4, 8, 8, 2), jnp.float32), jax.ShapeDtypeStruct((3, 3, 2, 5), jnp.float32)
FAST, FIRST = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")


def forward(x, w, axes=FAST, **options):
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=axes, **options)


def naive_gradient(x, w):
    return jax.grad(lambda w: (forward(x, w) ** 2).sum())(w)


def channels_first(x, w):
    return forward(x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1), FIRST)


def batch_groups(x, w):
    return forward(x, jnp.concatenate([w, w], -1)[..., :4], batch_group_count=2)


def own_gradient(x, w):
    layer = nn.Conv2d(8, 5, 3, padding=1, rngs=nnx.Rngs(0))
    return jax.grad(lambda v: (nn.functional.conv2d(x, v, padding=1) ** 2).sum())(layer.weight[...])


def text_of(function, turns: int = 0, w=W) -> str:
    """Return the text of a function alone, or in a loop (inside a call inside it)."""

    def looping(x, w):
        out = jax.eval_shape(function, x, w)
        body = jax.jit(lambda x, i: function(x + i, w))
        return lax.fori_loop(0, turns, lambda i, sum: sum + body(x, i.astype(x.dtype)), jnp.zeros(out.shape))

    with jax.numpy_rank_promotion("allow"):
        return jax.jit(looping if turns else function).lower(X, w).as_text(dialect="hlo")


@pytest.mark.parametrize(
    ("function", "labels"),
    [
        (naive_gradient, "f01b_i01o->01bf"),
        (channels_first, "bf01_oi01->bf01"),
        (batch_groups, "b01f_01io->b01f"),
    ],
)
def test_slow_convolutions_in_a_loop_are_reported(function, labels):
    assert f"convolution {labels} inside a loop" in hlo_problems(text_of(function, turns=2))
    assert hlo_problems(text_of(function)) == []
    assert hlo_problems(text_of(function, turns=2), backend="gpu") == []


@pytest.mark.parametrize("function", [forward, own_gradient])
def test_the_fast_form_is_allowed_in_a_loop_where_asked(function):
    text = text_of(function, turns=2)
    assert hlo_problems(text) == []
    assert len(hlo_problems(text, loops=False)) == len(convolutions(text)) >= 1


def test_a_reversed_kernel_is_not_fast():
    line = "conv = f32[4,8,8,5] convolution(x, w), window={size=3x3 rhs_reversal=1x1}, dim_labels=b01f_01io->b01f"
    text = f"HloModule m\n\nENTRY main.1 {{\n  {line}\n}}\n"
    assert convolutions(text) == [Convolution("b01f_01io->b01f", looped=False, fast=False)]
    assert convolutions(text.replace(" rhs_reversal=1x1", ""))[0].fast


def test_select_and_scatter_is_reported():
    def pool(x, w):
        pooled = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return (pooled * w[0, 0, 0, 0]).sum()

    text = text_of(jax.grad(pool))
    assert hlo_problems(text) == ["1 select-and-scatter"]
    assert hlo_problems(text, backend="gpu") == ["1 select-and-scatter"]


def test_loops_are_found_at_any_depth():
    def deep(x, w):
        def turn(x, _):
            return lax.cond(x.sum() > 0, lambda x: jax.jit(forward)(x, w[..., :2]), jnp.sin, x), None

        return lax.scan(turn, x, length=3)[0]

    (found,) = convolutions(text_of(deep))
    assert found == Convolution("b01f_01io->b01f", looped=True, fast=True)


def test_compiled_text_is_read_too():
    compiled = jax.jit(lambda x: lax.fori_loop(0, 3, lambda i, x: jnp.sin(x @ x), x)).lower(jnp.eye(3)).compile()
    parts = computations(compiled.as_text())
    assert looped(parts)
    assert len(parts) > len(looped(parts))


def test_a_text_that_is_none_is_no_pass():
    assert hlo_problems("nothing") == ["no computation was found: this is no HLO text"]


def test_a_port_in_a_loop_is_reported(monkeypatch):
    monkeypatch.setattr(dispatch, "choose_dispatch", lambda backend, convolutional: "scan")
    assert step_problems(ports.get("digits")) == ["digits: 1 convolutions are dispatched by scan, inside a loop"]


def test_a_port_with_jax_own_convolution_is_reported(monkeypatch):
    from dataclasses import replace

    class Naive(nn.Module):
        def __init__(self, *, rngs):
            self.inner = digits.build(rngs=rngs)
            self.weight = nnx.Param(jnp.ones((1, 1, 3, 3)))

        def forward(self, input):
            return self.inner(lax.conv_general_dilated(input, self.weight[...], (1, 1), "SAME"))

    found = step_problems(replace(ports.get("digits"), model=Naive))
    assert any("bf01_oi01->bf01, which is slow in a loop" in line for line in found)


def test_nothing_is_compiled_for_the_text():
    from jaxport.bench.counts import recording

    with recording() as programs:
        text, how, long = step_text(ports.get("digits"))
    assert not programs
    assert long
    assert how == ("steps" if jax.default_backend() == "cpu" else "scan")
    assert len(convolutions(text)) == 1  # the first is a product, and gradients behind a global maximum are windows
