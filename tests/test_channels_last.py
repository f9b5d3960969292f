"""Images handed on with their channels last: the numbers of the layers apart, and no transposition in between."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.nn import origin


@pytest.fixture(autouse=True)
def wide() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def drawn(*shapes: tuple[int, ...]) -> list[jax.Array]:
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape)) for shape in shapes]


def arrays() -> list[jax.Array]:
    """Return what goes into `network`. Not drawn with the module, which may not have float64."""
    return drawn((3, 5, 8, 9), (6, 5, 3, 3), (6,), (6,), (6,), (4, 6, 3, 3), (6, 4, 2, 2), (6,), (6,))


def network(training: bool, between: Callable[[jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    """Return convolutions with everything that hands images on; `between` stands behind each layer."""
    mask = jnp.asarray(np.random.default_rng(1).random((3, 6, 1, 1)) > 0.3)

    def forward(x: jax.Array, first: jax.Array, bias: jax.Array, scale: jax.Array, shift: jax.Array,
                second: jax.Array, up: jax.Array, mean: jax.Array, var: jax.Array) -> Any:  # fmt: skip
        y = between(F.conv2d(x, first, bias, padding=1))
        y, *running = F.batch_norm_with_stats(y, mean, jnp.square(var) + 1, scale, shift, training)
        skip = between(F.relu(between(y)))
        y = between(F.max_pool2d(skip, 2))
        with nn.replay_masks([mask]):
            y = between(F.dropout2d(y, 0.3))
        y = between(F.sigmoid(between(F.conv2d(y, second, padding=1))))
        y = between(F.conv_transpose2d(y, up.swapaxes(0, 1), stride=2))
        y = between(nn.cat([skip[:, :, :8, :8], y, y], 1))
        y = between(nn.cat([y, 2 * y], -1))
        return nn.add(y, between(jnp.tanh(y))), running

    return forward


def same(x: jax.Array) -> jax.Array:
    return x


def unknown(x: jax.Array) -> jax.Array:
    return x + 0


def close(ours: Any, theirs: Any) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12 * max(1.0, float(np.abs(b).max())))


@pytest.mark.parametrize("training", [True, False])
def test_values_and_gradients_are_those_of_the_layers_apart(training: bool) -> None:
    def found(between: Callable[[jax.Array], jax.Array]) -> Any:
        def loss(*args: jax.Array) -> Any:
            y, running = network(training, between)(*args)
            return jnp.cos(y).sum(), (y, running)

        return jax.jit(jax.value_and_grad(loss, range(9 if training else 7), has_aux=True))(*arrays())

    close(found(same), found(unknown))


def test_masked_rows_and_mapped_axes() -> None:
    x, weight, scale, shift = drawn((4, 5, 6, 6), (6, 5, 3, 3), (6,), (6,))

    def loss(x: jax.Array, weight: jax.Array, between: Callable[[jax.Array], jax.Array]) -> jax.Array:
        with nn.valid_rows(jnp.array([True, True, False, True])):
            y = F.batch_norm(between(F.conv2d(x, weight)), None, None, scale, shift, True)
        return jnp.cos(F.relu(between(y))).sum()

    for wrap in (lambda f: f, lambda f: jax.vmap(f, (0, None)), lambda f: jax.vmap(f, (None, 0))):
        several = jnp.stack([x, -x]), jnp.stack([weight, 2 * weight])
        for args in ((x, weight), (several[0], weight), (x, several[1])):
            try:
                ours = jax.jit(wrap(jax.grad(lambda *a: loss(*a, same), (0, 1))))(*args)
            except ValueError:
                continue  # mapped over what is not several
            close(ours, jax.jit(wrap(jax.grad(lambda *a: loss(*a, unknown), (0, 1))))(*args))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other backends have channels first")
def test_between_layers_nothing_is_transposed() -> None:
    """Of a training step's images only the input and the output are, and what weight gradients need."""
    x, first, bias, scale, shift, second, *_ = arrays()

    def loss(first: jax.Array, second: jax.Array, between: Callable[[jax.Array], jax.Array]) -> jax.Array:
        y = between(F.conv2d(x, first, bias, padding=1))
        y = F.batch_norm(y, None, None, scale, shift, True)
        y = F.conv2d(F.max_pool2d(F.relu(between(y)), 2), second, padding=1)
        return nn.add(y, y).sum()

    def images(between: Callable[[jax.Array], jax.Array]) -> int:
        text = jax.jit(jax.grad(lambda *a: loss(*a, between), (0, 1))).lower(first, second).as_text()
        return len(re.findall(r"stablehlo.transpose .*dims = \[0, (?:3, 1, 2|2, 3, 1)\]", text))

    # The input's; and of what sums the output.
    assert images(same) <= 3
    assert images(unknown) >= 9


def test_what_is_known_of_an_array() -> None:
    def check(x: jax.Array, weight: jax.Array) -> jax.Array:
        y = F.conv2d(x, weight)
        if jax.default_backend() == "cpu":
            last = origin.known_last(y)
            assert last is not None
            assert last.shape == (3, 6, 7, 6)
            assert origin.known_last(F.relu(y)) is not None
        assert origin.known_last(y + 0) is None
        return y

    jax.jit(check)(*arrays()[:2])
    assert origin.known_last(F.conv2d(*arrays()[:2])) is None  # computed at once


@pytest.mark.parametrize("rows", [2, 8])
def test_a_linear_map_of_flattened_images(rows: int) -> None:
    """Eight images, and as many rows of the weight at most: the weight is turned, not the images."""
    x, weight, fully, bias = drawn((8, 5, 6, 7), (6, 5, 3, 3), (rows, 6 * 4 * 5), (rows,))

    def loss(x: jax.Array, weight: jax.Array, fully: jax.Array, bias: jax.Array, known: bool) -> Any:
        y = F.conv2d(x, weight)
        assert origin.known_last(y) is not None or jax.default_backend() != "cpu"
        y = F.linear(nn.flatten(y if known else y + 0, 1), fully, bias)
        return jnp.cos(y).sum(), y

    def found(known: bool) -> Any:
        gradient = jax.value_and_grad(lambda *args: loss(*args, known), range(4), has_aux=True)
        return jax.jit(gradient).lower(x, weight, fully, bias).compile()

    close(found(True)(x, weight, fully, bias), found(False)(x, weight, fully, bias))


def turned(rows: int, images: int | None, whole: bool = True) -> bool:
    """Return whether the weight of a linear map is in the order of the images' computation."""

    def forward(x: jax.Array, weight: jax.Array, fully: jax.Array) -> jax.Array:
        y = F.conv2d(x, weight)
        return F.linear(nn.flatten(y, 1 if whole else 2), fully)

    arrays = [jnp.zeros(shape) for shape in ((images or 3, 5, 6, 7), (6, 5, 3, 3), (rows, 120 if whole else 20))]
    if images is None:
        (batch,) = jax.export.symbolic_shape("b")
        arrays[0] = jax.ShapeDtypeStruct((batch, *arrays[0].shape[1:]), arrays[0].dtype)  # type: ignore[call-overload]
        return f"{rows}x6x4x5" in jax.export.export(jax.jit(forward))(*arrays).mlir_module()
    return f"{rows}x6x4x5" in jax.jit(forward).lower(*arrays).as_text()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other backends have channels first")
def test_when_a_weight_is_turned() -> None:
    assert turned(rows=2, images=3)
    assert turned(rows=3, images=3)
    assert not turned(rows=4, images=3)  # more of the weight than of the images
    assert not turned(rows=2, images=None)  # exported for any number of images
    assert not turned(rows=2, images=3, whole=False)  # channels are not merged


def test_flatten_without_images_is_a_reshape() -> None:
    (x,) = drawn((2, 3, 4))
    np.testing.assert_array_equal(nn.flatten(x, 1), x.reshape(2, 12))
    np.testing.assert_array_equal(nn.flatten(x), x.reshape(-1))


def test_joining_arrays_as_jax_does() -> None:
    a, b = drawn((2, 3, 4), (2, 5, 4))
    np.testing.assert_array_equal(nn.cat([a, b], 1), jnp.concatenate([a, b], axis=1))
    np.testing.assert_array_equal(nn.cat([a, a]), jnp.concatenate([a, a]))
    np.testing.assert_array_equal(nn.cat([a, a], -1), jnp.concatenate([a, a], axis=-1))
    np.testing.assert_array_equal(nn.add(a, a[:1]), a + a[:1])


@pytest.mark.parametrize("dim", [0, 1, 2, 3, -1, -3])
def test_joining_what_has_its_channels_last(dim: int) -> None:
    x, weight = arrays()[:2]

    def ours() -> jax.Array:
        y, z = F.conv2d(x, weight), F.relu(F.conv2d(x, 2 * weight))
        result = nn.cat([y, z, y], dim)
        assert (origin.known_last(result) is not None) == (jax.default_backend() == "cpu")
        return result

    y, z = F.conv2d(x, weight), F.relu(F.conv2d(x, 2 * weight))
    close(jax.jit(ours)(), jnp.concatenate([y, z, y], axis=dim))


def test_adding_what_has_its_channels_last() -> None:
    x, weight = arrays()[:2]

    def sums() -> Any:
        y, z = F.conv2d(x, weight), F.relu(F.conv2d(x[:1], weight))
        return nn.add(y, F.relu(y)), nn.add(y, z)

    y, z = F.conv2d(x, weight), F.relu(F.conv2d(x[:1], weight))
    close(jax.jit(sums)(), (y + F.relu(y), y + z))


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda: nn.cat([]), ValueError, "at least one array"),
        (lambda: nn.cat([jnp.ones((2, 3)), jnp.ones((2, 4))]), ValueError, "equal shapes but for axis 0"),
        (lambda: nn.cat([jnp.ones((2, 3)), jnp.ones(2)], 0), ValueError, "equal shapes but for axis 0"),
        (lambda: nn.cat([jnp.ones(())]), ValueError, "an axis to be joined along"),
        (lambda: nn.cat([jnp.ones(2)], 1), IndexError, "dim must lie in"),
        (lambda: nn.cat([jnp.ones(2), jnp.ones(2, jnp.float32)]), TypeError, "one dtype"),
        (lambda: nn.add(jnp.ones(2), jnp.ones(2, jnp.float32)), TypeError, "one dtype"),
    ],
)
def test_wrong_arguments_are_refused(function: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        function()
