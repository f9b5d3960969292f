"""A convolution before max pooling and a global maximum: the same numbers, from fewer windows."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.bench.floor import count_flops
from jaxport.nn import conv_cpu, conv_single, origin
from jaxport.nn.conv_bilinear import Geometry

# Size, kernel, stride, padding, examples, channels, features.
CASES = {
    "plain": ((9, 9), (3, 3), (1, 1), (0, 0), 5, 17, 6),
    "not square": ((9, 12), (2, 5), (1, 1), (0, 0), 3, 5, 4),
    "padded": ((7, 8), (3, 3), (1, 1), (1, 2), 4, 8, 3),
    "strided, and a rest that no window sees": ((12, 11), (3, 2), (2, 3), (1, 0), 4, 7, 5),
    "one example": ((9, 9), (3, 3), (1, 1), (0, 0), 1, 9, 4),
    "more examples than a block": ((6, 6), (3, 3), (1, 1), (0, 0), 150, 4, 2),
}


@pytest.fixture(autouse=True)
def wide() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def drawn(name: str, seed: int = 0) -> tuple[jax.Array, ...]:
    size, kernel, _, _, n, c, o = CASES[name]
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=shape)) for shape in ((n, c, *size), (o, c, *kernel), (o,)))


def network(name: str, *, known: bool = True) -> Callable[..., jax.Array]:
    """Return a convolution, ReLU, max pooling, dropout and a global maximum; `known`: each knows what is before it."""
    _, _, stride, padding, n, _, o = CASES[name]
    mask = jnp.asarray(np.random.default_rng(7).random((n, o, 1, 1)) > 0.3)

    def forward(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        y = F.conv2d(x, weight, bias, stride, padding)
        y = F.max_pool2d(F.relu(y if known else y + 0), 2)
        with nn.replay_masks([mask]):
            y = F.dropout2d(y, 0.3)
        return F.adaptive_max_pool2d(y, 1)

    return forward


def loss(forward: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return lambda *args: (jnp.sin(forward(*args)) * 1.7).sum()


def primitives(function: Callable[..., Any], *args: Any) -> list[Any]:
    return [e for e in jax.make_jaxpr(function)(*args).eqns if "jaxport_conv" in e.primitive.name]


def close(ours: Any, theirs: Any) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * float(np.abs(b).max()))


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_layers_apart(name: str) -> None:
    args = drawn(name)
    found = jax.jit(jax.value_and_grad(loss(network(name)), (0, 1, 2)))
    ours = found(*args)
    close(ours, jax.jit(jax.value_and_grad(loss(network(name, known=False)), (0, 1, 2)))(*args))
    maps = [e.primitive.name for e in primitives(jax.grad(loss(network(name)), (0, 1)), *args)]
    assert maps[-3:] == ["jaxport_conv2d_single", "jaxport_conv2d_single_weight", "jaxport_conv2d_single_input"]
    assert "dynamic_update_slice" in found.lower(*args).as_text()


@pytest.mark.parametrize("name", ["plain", "strided, and a rest that no window sees"])
def test_derivatives_of_every_kind(name: str) -> None:
    args, tangents = drawn(name), drawn(name, 1)
    ours, theirs = (loss(network(name, known=known)) for known in (True, False))

    def products(f: Callable[..., jax.Array]) -> Any:
        gradient = jax.grad(f, (0, 1, 2))
        forward = jax.jvp(f, args, tangents)
        over = jax.jvp(gradient, args, tangents)
        back = jax.grad(lambda *a: sum(jnp.vdot(g, t) for g, t in zip(gradient(*a), tangents, strict=True)), (0, 1, 2))
        return forward, over, back(*args)

    close(jax.jit(lambda: products(ours))(), jax.jit(lambda: products(theirs))())


def test_mapped_over_examples_and_over_weights() -> None:
    x, weight, bias = drawn("plain")
    several = jnp.stack([weight, 2 * weight, -weight])
    for axes, args in (((0, None, None), (x[None] * jnp.arange(1, 4.0).reshape(3, 1, 1, 1, 1), weight, bias)),
                       ((None, 0, None), (x, several, bias))):  # fmt: skip
        ours, theirs = (
            jax.jit(jax.vmap(jax.grad(loss(network("plain", known=known)), (0, 1, 2)), axes))(*args)
            for known in (True, False)
        )
        close(ours, theirs)


def test_equal_elements_and_dropped_channels() -> None:
    """Of equal elements the first counts, wherever it is: a constant image makes all of them equal."""
    _, weight, bias = drawn("plain")
    x = jnp.ones((5, 17, 9, 9))
    ours, theirs = (
        jax.jit(jax.grad(loss(network("plain", known=known)), (0, 1, 2)))(x, weight, bias) for known in (True, False)
    )
    close(ours, theirs)
    assert np.abs(np.asarray(ours[0])).max() > 0


def test_nan_reaches_the_same_weights() -> None:
    x, weight, bias = drawn("plain")
    weight = weight.at[2].set(jnp.nan)
    ours, theirs = (
        jax.jit(jax.grad(loss(network("plain", known=known)), 2))(x, weight, bias) for known in (True, False)
    )
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    assert np.isnan(np.asarray(ours)[2])


def test_long_sums_are_added_in_blocks() -> None:
    """4,000 equal numbers, of which one running sum in float32 would lose as many digits as they are."""
    geometry = Geometry((3, 3), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))
    x = jnp.full((4000, 3, 3, 1), 0.1, jnp.float32)
    g = jnp.zeros((4000, 3, 3, 1), jnp.float32).at[:, 1, 1].set(1.0)
    found = jax.jit(lambda x, g: conv_single.weight_gradient(x, g, geometry))(x, g)
    exact = 4000 * float(np.float32(0.1))
    assert abs(float(found[0, 0, 0, 0]) - exact) < 2e-6 * exact


def test_another_use_of_the_output_has_its_own_gradient() -> None:
    args = drawn("plain")

    def twice(x: jax.Array, weight: jax.Array, bias: jax.Array, known: bool) -> jax.Array:
        y = F.conv2d(x, weight, bias)
        return F.adaptive_max_pool2d(y if known else y + 0, 1).sum() + jnp.cos(y).sum()

    ours, theirs = (
        jax.jit(jax.grad(lambda *a, known=known: twice(*a, known), (0, 1, 2)))(*args) for known in (True, False)
    )
    close(ours, theirs)


def test_one_dimension() -> None:
    rng = np.random.default_rng(0)
    args = tuple(jnp.asarray(rng.normal(size=shape)) for shape in ((3, 20, 30), (6, 20, 4), (6,)))

    def forward(x: jax.Array, weight: jax.Array, bias: jax.Array, known: bool) -> jax.Array:
        y = F.conv1d(x, weight, bias)
        return jnp.sin(F.adaptive_max_pool1d(F.relu(y if known else y + 0), 1)).sum()

    ours, theirs = (
        jax.jit(jax.grad(lambda *a, known=known: forward(*a, known), (0, 1, 2)))(*args) for known in (True, False)
    )
    close(ours, theirs)
    maps = primitives(jax.grad(lambda *a: forward(*a, True), 1), *args)
    assert "jaxport_conv2d_single_weight" in [e.primitive.name for e in maps]


def test_what_no_window_sees_is_not_computed() -> None:
    """Windows of 2 over 9 × 9 leave the last row and column; padding and ceil_mode see them."""
    x, weight, bias = (a.astype(jnp.float32) for a in drawn("padded"))

    def outputs(**options: Any) -> Any:
        used = primitives(lambda x: F.max_pool2d(F.relu(F.conv2d(x, weight, bias, 1, (1, 0))), 2, **options), x)
        return used[-1].params["geometry"].output

    assert outputs() == (6, 6)  # of 7 × 6
    assert outputs(ceil_mode=True) == outputs(padding=1) == outputs(stride=1) == (7, 6)
    assert outputs(stride=3) == (5, 5)

    def dropped(x: jax.Array) -> jax.Array:
        y = F.dropout(F.conv2d(x, weight, bias, 1, (1, 0)), 0.5, key=jax.random.key(0))
        return F.max_pool2d(y, 2)

    assert primitives(dropped, x)[-1].params["geometry"].output == (7, 6)  # its mask belongs to all of them


@pytest.mark.parametrize("name", CASES)
def test_cut_outputs_are_those_of_the_layers_apart(name: str) -> None:
    _, _, stride, padding, *_ = CASES[name]
    args = drawn(name)

    def pooled(x: jax.Array, weight: jax.Array, bias: jax.Array, known: bool) -> jax.Array:
        y = F.conv2d(x, weight, bias, stride, padding)
        return jnp.sin(F.max_pool2d(F.relu(y if known else y + 0), 2, 3)).sum()

    ours, theirs = (
        jax.jit(jax.value_and_grad(lambda *a, known=known: pooled(*a, known), (0, 1, 2)))(*args)
        for known in (True, False)
    )
    close(ours, theirs)


def test_indices_are_of_the_whole_output() -> None:
    x, weight, bias = drawn("plain")

    def both(x: jax.Array) -> Any:
        return F.max_pool2d(F.conv2d(x, weight, bias), 2, return_indices=True)

    y = F.conv2d(x, weight, bias)
    close(jax.jit(both)(x), F.max_pool2d(y, 2, return_indices=True))


def test_one_output_behind_a_flattened_convolution_is_a_product() -> None:
    """A weight of one row would be multiplied element by element, with all that makes its gradient."""
    rng = np.random.default_rng(0)
    args = tuple(jnp.asarray(rng.normal(size=shape)) for shape in ((4, 3, 900), (5, 3, 4), (1, 5 * 448), (1,)))

    def forward(x: jax.Array, weight: jax.Array, row: jax.Array, bias: jax.Array, known: bool = True) -> jax.Array:
        y = nn.Flatten()(F.relu(F.max_pool1d(F.conv1d(x, weight), 2)))
        return jnp.sin(F.linear(y if known else y + 0, row, bias)).sum()

    def products(known: bool) -> list[tuple[int, ...]]:
        equations = jax.make_jaxpr(lambda *a: forward(*a, known))(*args).eqns
        return [e.outvars[0].aval.shape for e in equations if e.primitive.name == "dot_general"]

    assert products(True)[-1:] == [(4, 2)]
    assert products(False)[-1:] == [(4, 1)]
    ours, theirs = (
        jax.jit(jax.grad(lambda *a, known=known: forward(*a, known), (0, 1, 2, 3)))(*args) for known in (True, False)
    )
    close(ours, theirs)


def test_a_number_of_rows_that_is_not_known() -> None:
    """As where a program is exported for any number of rows."""
    row, x = jnp.ones((1, 5 * 448)), jnp.ones((2, 3, 900))

    def forward(x: jax.Array) -> jax.Array:
        y = F.conv1d(x, jnp.ones((5, 3, 4)))
        y = nn.Flatten()(F.relu(F.max_pool1d(y, 2)))
        return F.linear(y, row) + F.adaptive_max_pool1d(F.conv1d(x, jnp.ones((1, 3, 20))), 1)[:, 0]

    shape = jax.ShapeDtypeStruct(jax.export.symbolic_shape("rows, 3, 900"), x.dtype)
    close(jax.export.export(jax.jit(forward))(shape).call(x), forward(x))


def test_what_is_computed_at_once_is_not_noted_and_notes_go_with_their_arrays() -> None:
    x, weight, bias = drawn("plain")
    gc.collect()
    before = len(origin._notes)
    y = F.conv2d(x, weight, bias)
    assert origin.of(y) is None
    jax.grad(lambda w: F.conv2d(x, w, bias).sum())(weight)
    with jax.checking_leaks():
        jax.jit(jax.grad(loss(network("plain"))))(x, weight, bias)
    gc.collect()
    assert len(origin._notes) == before


def test_an_array_between_that_is_not_known_keeps_the_layers_apart() -> None:
    x, weight, bias = drawn("plain")
    maps = primitives(jax.grad(loss(network("plain", known=False)), 1), x, weight, bias)
    assert not [e for e in maps if "single" in e.primitive.name]

    def averaged(w: jax.Array) -> jax.Array:
        return F.adaptive_max_pool2d(F.avg_pool2d(F.conv2d(x, w, bias), 2), 1).sum()

    assert not [e for e in primitives(jax.grad(averaged), weight) if "single" in e.primitive.name]


PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
import jaxport.nn.functional as F
jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
x, weight = jnp.asarray(rng.normal(size=(8, 9, 9, 9))), jnp.asarray(rng.normal(size=(4, 9, 3, 3)))
mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
f = jax.jit(jax.grad(lambda x, w: jnp.sin(F.adaptive_max_pool2d(F.conv2d(x, w), 1)).sum(), (0, 1)))
places = NamedSharding(mesh, PartitionSpec("batch")), NamedSharding(mesh, PartitionSpec())
placed = jax.device_put((x, weight), places)
print("small_loop" in f.lower(*placed).as_text(), "small_loop" in f.lower(x, weight).as_text())
print(all(np.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(f(*placed), f(x, weight))))
"""


def run(**variables: str) -> list[str]:
    environment = {key: value for key, value in os.environ.items() if key != "JAX_COMPILATION_CACHE_DIR"} | variables
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_several_devices_keep_the_convolution() -> None:
    assert run(JAX_NUM_CPU_DEVICES="2") == ["False", "True", "True"]


def test_it_can_be_turned_off() -> None:
    assert run(JAX_NUM_CPU_DEVICES="2", JAXPORT_SMALL_LOOPS="0") == ["False", "False", "True"]


@pytest.mark.parametrize("constant", [(0,), (1,), (0, 1), (2,), (0, 1, 2)])
@pytest.mark.parametrize("shape", [((3, 3), 2), ((9, 1), 1), ((1, 12), 3)])
def test_constants_and_axes_of_length_1(constant: tuple[int, ...], shape: tuple[tuple[int, int], int]) -> None:
    """XLA ends the process on a loop in machine code one of whose arguments it has found a constant for."""
    (height, width), features = shape
    rng = np.random.default_rng(0)
    kernel = (min(height, 2), min(width, 2))
    geometry = Geometry((height, width), kernel, (1, 1), ((0, 0), (0, 0)), (1, 1))
    x, w = jnp.asarray(rng.normal(size=(2, height, width, 5))), jnp.asarray(rng.normal(size=(*kernel, 5, features)))
    g = np.zeros((2, *geometry.output, features))
    g[:, -1, -1] = rng.normal(size=(2, features))
    arrays = (x, w, jnp.asarray(g))

    def pulled(apply: Callable[..., jax.Array]) -> Any:
        def gradients(*rest: jax.Array) -> Any:
            given = iter(rest)
            x, w, g = (array if i in constant else next(given) for i, array in enumerate(arrays))
            return jax.vjp(lambda x, w: apply(x, w, geometry), x, w)[1](g)

        return jax.jit(gradients)(*(array for i, array in enumerate(arrays) if i not in constant))

    close(pulled(conv_cpu._apply_behind_maximum), pulled(conv_cpu._apply))


def test_operations_are_counted_by_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient of one position each multiplies its window once."""
    x, weight, bias = (a.astype(jnp.float32) for a in drawn("plain"))
    n, o, window = x.shape[0], weight.shape[0], weight[0].size

    def gradients(known: bool) -> Callable[..., Any]:
        return lambda *args: jax.vjp(network("plain", known=known), *args)[1](jnp.ones((n, o, 1, 1), jnp.float32))

    few, all_of_them = (count_flops(gradients(known), x, weight, bias) for known in (True, False))
    positions = 7 * 7
    assert all_of_them - few > 2 * (2 * n * o * window) * (positions - 2)
    assert few > 2 * n * o * window * (6 * 6 + 2)
    monkeypatch.setattr(conv_single, "multiplications", lambda equation: 0)
    assert few - count_flops(gradients(True), x, weight, bias) == 2 * (2 * n * o * window)
