"""Convolutions by oneDNN: the numbers of XLA's, and used exactly where they can be."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxport.nn.functional as F
from jaxport import engine
from jaxport.nn import conv_cpu, conv_onednn, conv_weight
from jaxport.nn.conv_bilinear import Geometry

pytestmark = pytest.mark.skipif(not conv_onednn.is_built_in(), reason="this jaxlib is not known to hold oneDNN")
CALL = "__onednn$convolution"

# (size, kernel, stride, pads, dilation), channels and features.
CASES = {
    "3 × 3": (((8, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)), 16, 24),
    "few channels": (((9, 7), (5, 5), (1, 1), ((0, 0), (0, 0)), (1, 1)), 3, 5),
    "not square": (((9, 6), (2, 5), (1, 1), ((1, 0), (2, 1)), (1, 1)), 17, 3),
    "strides, and a rest that no window sees": (((12, 9), (3, 3), (2, 3), ((1, 0), (0, 1)), (1, 1)), 16, 8),
    "dilation": (((11, 9), (3, 2), (1, 1), ((2, 2), (0, 1)), (2, 3)), 16, 8),
    "stride and dilation": (((11, 13), (3, 2), (2, 1), ((2, 2), (0, 1)), (2, 3)), 16, 8),
    "cropped": (((9, 9), (3, 3), (1, 1), ((-1, 0), (1, -2)), (1, 1)), 16, 8),
    "more padding than kernel": (((6, 6), (2, 2), (1, 1), ((3, 3), (2, 4)), (1, 1)), 16, 8),
}


def compiled(function: Any, *args: Any) -> Any:
    with conv_onednn.kept_in_memory():
        return jax.jit(function).lower(*args).compile()


def drawn(name: str, batch: int = 9) -> tuple[Geometry, jax.Array, jax.Array]:
    fields, channels, features = CASES[name]
    rng, geometry = np.random.default_rng(0), Geometry(*fields)
    shapes = (batch, *geometry.size, channels), (*geometry.kernel, channels, features)
    x, w = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)
    return geometry, x, w


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_xla(name):
    geometry, x, w = drawn(name)

    def own(x: jax.Array, w: jax.Array, g: jax.Array) -> Any:
        y, back = jax.vjp(lambda x, w: conv_cpu._apply(x, w, geometry), x, w)
        return y, *back(g)

    def xlas(x: jax.Array, w: jax.Array) -> jax.Array:
        pads, names = geometry.pads, ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, w, geometry.stride, pads, rhs_dilation=geometry.dilation, dimension_numbers=names
        )

    g = jnp.asarray(np.random.default_rng(1).normal(size=xlas(x, w).shape), jnp.float32)
    program = compiled(own, x, w, g)
    # The call that makes y, that of ∂w, and that of ∂x where it has a fast one.
    assert 2 <= program.as_text().count(f'custom_call_target="{CALL}"') <= 3
    with jax.enable_x64(True):
        exact = [jnp.asarray(a, jnp.float64) for a in (x, w, g)]
        y, back = jax.vjp(xlas, *exact[:2])
        wanted = (y, *back(exact[2]))
    for a, e in zip(program(x, w, g), wanted, strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=2e-6 * float(np.abs(e).max()))


def weight_gradients(monkeypatch: pytest.MonkeyPatch, batch: int, images_in_a_call: int) -> list[str]:
    """Check ∂w against float64, and return the shapes of what is convolved."""
    geometry, x, w = drawn("not square", batch)
    g = jnp.asarray(np.random.default_rng(1).normal(size=(batch, *geometry.output, w.shape[-1])), jnp.float32)
    monkeypatch.setattr(conv_weight, "_BYTES", images_in_a_call * 4 * (math.prod(x.shape[1:]) + math.prod(g.shape[1:])))

    def gradient(x: jax.Array, w: jax.Array, g: jax.Array) -> jax.Array:
        return jax.vjp(lambda w: conv_cpu._apply(x, w, geometry), w)[1](g)[0]

    program = compiled(lambda *args: gradient(*args), x, w, g)
    with jax.enable_x64(True):
        wanted = gradient(*(jnp.asarray(a, jnp.float64) for a in (x, w, g)))
    np.testing.assert_allclose(program(x, w, g), wanted, rtol=0, atol=2e-6 * float(np.abs(wanted).max()))
    return re.findall(r"operand_layout_constraints={f32\[([\d,]+)\]", program.as_text())


def test_weight_gradients_are_of_one_wide_picture_or_of_some(monkeypatch):
    # Of 9 × 6 and 17 channels, images innermost.
    assert weight_gradients(monkeypatch, 15, 1000) == ["1,9,102,15"]
    assert weight_gradients(monkeypatch, 15, 2) == ["1,9,102,15"]  # fewer than 16 are not divided
    assert sorted(weight_gradients(monkeypatch, 70, 30)) == ["1,9,102,23", "1,9,102,23", "1,9,102,24"]
    assert sorted(weight_gradients(monkeypatch, 70, 2)) == ["1,9,102,17"] * 2 + ["1,9,102,18"] * 2
    monkeypatch.setattr(conv_weight, "_MOST", 2)
    assert weight_gradients(monkeypatch, 70, 2) == ["1,9,102,35"] * 2


def network(x: jax.Array, w: jax.Array) -> jax.Array:
    return F.conv2d(x, w, padding=1)


def images(batch: int = 4) -> tuple[jax.Array, jax.Array]:
    return jnp.ones((batch, 8, 6, 6)), jnp.ones((8, 8, 3, 3))


def test_programs_of_the_engine_have_it():
    program: Any = engine.compile_function(network, *images())[0]
    assert CALL in program.as_text()


def test_the_cache_of_compiled_programs_never_sees_it(tmp_path, monkeypatch):
    assert jax.config.jax_compilation_cache_dir  # the tests have one  # pyright: ignore[reportAttributeAccessIssue]
    assert CALL not in str(jax.jit(network).lower(*images()).compile().as_text())
    before = set(Path(jax.config.jax_compilation_cache_dir).iterdir())  # pyright: ignore[reportAttributeAccessIssue]
    program: Any = engine.compile_function(lambda x, w: network(x, w) * math.pi, *images())[0]
    assert CALL in program.as_text()
    after = set(Path(jax.config.jax_compilation_cache_dir).iterdir())  # pyright: ignore[reportAttributeAccessIssue]
    assert not {path.name for path in after - before if "lambda" in path.name}


def test_the_cache_is_as_before_afterwards():
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)

    def fail() -> None:
        with conv_onednn.kept_in_memory():
            assert getattr(jax.config, name) == math.inf
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert getattr(jax.config, name) == before
    assert not conv_onednn._in_memory.get()


def test_it_is_not_in_exported_programs():
    with conv_onednn.kept_in_memory():
        text = jax.export.export(jax.jit(network))(*images()).mlir_module()
    assert CALL not in text


def test_it_is_not_for_double_precision():
    with jax.enable_x64(True):
        x, w = (array.astype(jnp.float64) for array in images())
        assert CALL not in compiled(network, x, w).as_text()


def test_empty_batches_have_zero_gradients():
    x, w = images(batch=0)

    def total(w: jax.Array) -> jax.Array:
        return network(x, w).sum()

    np.testing.assert_array_equal(compiled(jax.grad(total), w)(w), jnp.zeros_like(w))


PROGRAM = """
import jax, jax.numpy as jnp
import jaxport.nn.functional as F
from jax.sharding import NamedSharding, PartitionSpec
mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
x = jax.device_put(jnp.ones((4, 8, 6, 6)), NamedSharding(mesh, PartitionSpec("data")))
w = jnp.ones((8, 8, 3, 3))
for places in (PartitionSpec(), None):
    given = w if places is None else jax.device_put(w, NamedSharding(mesh, places))
    images = x if places is not None else jnp.ones(x.shape)
    text = jax.jit(F.conv2d).lower(images, given).compile().as_text()
    print("__onednn$convolution" in text)
"""


def test_it_is_not_in_programs_of_several_devices():
    environment = {key: value for key, value in os.environ.items() if key != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"JAX_NUM_CPU_DEVICES": "2"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, env=environment)
    # Spread over two devices, then on one of them.
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_it_is_not_in_programs_of_other_platforms():
    with conv_onednn.kept_in_memory():
        lowered = jax.jit(network).trace(*images()).lower(lowering_platforms=("cuda",))
    assert CALL not in lowered.as_text()
