"""Programs for a process of its own, as XLA ends the process where it has no code: small loops beside plain ones."""

import os
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxport import engine, metrics, nn, optim
from jaxport.data import DataLoader
from jaxport.engine import small_loop
from jaxport.engine.dispatch import compile_function
from jaxport.interop import state_dict

RNG = np.random.default_rng(0)


@jax.custom_vjp
def halved(x: jax.Array) -> jax.Array:
    """Return half of x, with a gradient of its own."""
    return x / 2


halved.defvjp(lambda x: (x / 2, None), lambda _, slope: (slope / 2,))


def everything(carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
    """Use every operation that a small step may hold, on 4 × 3 numbers."""
    w, n, key = carry
    y = jnp.abs(x) + 0.1
    sums = [
        jnp.sin(x) + jnp.cos(x) + jnp.tan(x) + jnp.tanh(x) + lax.erf(x) + lax.erfc(x) + lax.logistic(x) + jnp.sign(x),
        jnp.exp(-y)
        + jnp.exp2(-y)
        + jnp.expm1(-y)
        + jnp.log(y)
        + jnp.log1p(y)
        + jnp.sqrt(y)
        + lax.rsqrt(y)
        + lax.neg(x),
        lax.erf_inv(jnp.tanh(x) / 2) + jnp.atan2(x, y) + lax.pow(y, x) + lax.rem(x, y) + x**3 + lax.square(x),
        jnp.floor(x) + jnp.ceil(x) + lax.round(x) + lax.clamp(-0.5, x, 0.5) + lax.stop_gradient(x) + jnp.copy(x),
        jnp.maximum(x, 0.3) + jnp.minimum(x, w) + jnp.where((x > 0) & (x <= 2) | ~(x >= 1) ^ (x < 0.5), x, y),
        jnp.where(jnp.isfinite(x) & (x == x) & (x != 0.25), x, 0.0)
        + jnp.roll(x, 1, 0)
        + jnp.flip(x, 1)
        + x.T.reshape(4, 3),
        jnp.pad(x, ((1, 0), (0, 0)))[:4] + jnp.concatenate([x[1:], x[:1]]) + lax.broadcast_in_dim(x[0], (4, 3), (1,)),
        lax.dynamic_slice(x, (n[0] % 2, 0), (2, 3)).sum()
        + lax.dynamic_update_slice(x, w[:2], (n[1] % 3, 0))
        + x[n % 4][:, :1],
        jnp.split(x, [1], axis=1)[1].sum(1, keepdims=True)
        + x.max(0)
        + x.min(0)
        + y.prod(0)
        + jax.nn.relu(x)
        + jax.nn.silu(x),
        jnp.expand_dims(x, 0)[0] + lax.squeeze(lax.expand_dims(x, (1,)), (1,)) + (x > 0).all(0) + (x > 1).any(0),
        jnp.float32(jnp.argmax(x, 1, keepdims=True) + jnp.argmin(x, 1, keepdims=True)) + lax.iota(jnp.float32, 3),
        lax.bitcast_convert_type(lax.bitcast_convert_type(x, jnp.uint32) ^ jnp.uint32(1), jnp.float32),
    ]
    shifted = (n << 1) | (n >> 1) | lax.shift_right_logical(n, jnp.int32(1)) | (n & 7) | ~n
    key, other = jax.random.split(jax.random.fold_in(key, n[0]))
    noise = (
        jax.random.bernoulli(other, 0.5, (4, 3))
        + jax.random.key_data(jax.random.wrap_key_data(jax.random.key_data(key)))[0] % 5
    )
    seeded = jax.random.uniform(jax.random.key(n[0]), (4, 3))
    y = lax.optimization_barrier(halved(sum(sums)) + noise.astype(jnp.float32) + seeded)
    w = w + 0.01 * jax.grad(lambda w: jnp.sum(jax.nn.gelu(jnp.tanh(x @ w.T)) * jnp.sum(y)))(w)
    return (jnp.clip(w, -1, 1), shifted % 100, key), y.sum()


def names(jaxpr: Any) -> set[str]:
    """Return the operations of a traced program, at any depth."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    found = {equation.primitive.name for equation in jaxpr.eqns}
    is_program = lambda part: isinstance(part, (Jaxpr, ClosedJaxpr))  # noqa: E731
    parts = jax.tree.leaves([equation.params for equation in jaxpr.eqns], is_leaf=is_program)
    return found.union(*(names(part) for part in parts if is_program(part)))


def both(name: str, loop: Any, *args: Any, rtol: float = 1e-5) -> None:
    """Compare `loop` as one function with the same as XLA emits it, and say that it lived."""
    print("begin", name, flush=True)
    ours: Any = compile_function(loop, *args)[0]
    assert 'inlineable="false"' in ours.as_text(), name
    plain = jax.jit(lambda *args: loop(*args))(*args)  # where no loop is allowed
    for one, other in zip(*(jax.tree.leaves(part) for part in (ours(*args), plain)), strict=True):
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol, err_msg=name)
    print("done", name, flush=True)


def operations() -> None:
    """Compare a loop over all operations that may be in one, and see that there are no others."""
    xs = jnp.asarray(RNG.normal(size=(5, 4, 3)).astype(np.float32))
    carry = jnp.asarray(RNG.normal(size=(4, 3)).astype(np.float32)), jnp.arange(4, dtype=jnp.int32), jax.random.key(0)
    found, newer = names(jax.make_jaxpr(everything)(carry, xs[0])), set(small_loop._NEWER.split())
    assert found | newer == small_loop._KNOWN
    both("all operations", lambda carry, xs: small_loop.scan(everything, carry, xs), carry, xs)


def arguments() -> None:
    """Loops with arguments that nothing uses once XLA has simplified them: handed in, closed over, of one step."""
    x, unused, w = (jnp.asarray(RNG.normal(size=(3, 3)).astype(np.float32)) for _ in range(3))

    def body(i: Any, w: jax.Array) -> jax.Array:
        return w + x[i] * 0.1 + (unused.astype(jnp.int32) * 0).astype(jnp.float32)

    def held(w: jax.Array, x: jax.Array, unused: jax.Array, end: Any) -> Any:
        step = lambda i, w: w + x[i] * 0.1 + (unused.astype(jnp.int32) * 0).astype(jnp.float32)  # noqa: E731
        return small_loop.fori_loop(0, end, step, w)

    both("constants", lambda w, end: small_loop.fori_loop(0, end, body, w), w, 3)
    both("closed over", held, w, x, unused, 3)
    both("one step", lambda w, x, unused: held(w, x, unused, 1), w, x, unused)
    both("no result of it", lambda w: small_loop.fori_loop(0, 3, lambda i, w: w * 0 + x[i], w), w)
    both(
        "handed in",
        lambda *xs: small_loop.scan(lambda w, x: (w + x[0], (x[1].astype(jnp.int32) * 0)), w, xs),
        x,
        unused,
    )


class Examples:
    """A data set that is no array: its batches come from the host."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int32]:
        return self.x[index], self.y[index]


def trained(model: int, **options: Any) -> dict[str, np.ndarray]:
    """Return the weights and columns of one of some small models, trained in float64."""
    rng = np.random.default_rng(model)
    x, y = rng.normal(size=(23, 3)), rng.integers(0, 2, 23).astype(np.int32)
    layers = [
        [nn.Linear(3, 4, rngs=0), nn.Dropout(0.3, rngs=1), nn.Linear(4, 2, rngs=2)],
        [nn.Linear(3, 6, rngs=0), nn.BatchNorm1d(6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 2, rngs=2)],
    ]
    optimizer = [optim.Adam(0.05), optim.SGD(0.1, momentum=0.9, weight_decay=0.01)][model]
    module = nn.Sequential(*layers[model]).double()
    given: dict[str, Any] = {"epochs": 2, "validation": (x, y), "metrics": [metrics.Accuracy()]}
    data = DataLoader(Examples(x, y), 5) if model else (x, y)
    given |= {} if model else {"batch_size": 5}
    history = engine.fit(module, data, loss=nn.CrossEntropyLoss(), optimizer=optimizer, **(given | options))
    return {name: np.asarray(history[name]) for name in history if name != "seconds"} | state_dict(module)


def models() -> None:
    """Train models on the device and from the host, with such loops and without."""
    with jax.enable_x64(True):
        for model, options in enumerate([{}, {"steps_per_call": 3}]):
            print("begin model", model, flush=True)
            os.environ["JAXPORT_SMALL_LOOPS"] = "1"
            made = trained(model, **options)
            os.environ["JAXPORT_SMALL_LOOPS"] = "0"
            for name, wanted in trained(model, **options).items():
                np.testing.assert_allclose(made[name], wanted, rtol=1e-10, atol=1e-12, err_msg=name)
            print("done model", model, flush=True)


if __name__ == "__main__":
    {"operations": operations, "arguments": arguments, "models": models}[sys.argv[1]]()
