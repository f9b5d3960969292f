"""Train one network with every optimiser on four CPU devices and on one; print how far apart they end, as JSON.

    python tests/sharded_optimizers.py

A program of its own because the number of devices is fixed when JAX starts. The layout is that of fully sharded data
parallelism: batch, parameters and state spread over the devices, scalars on all.
"""

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxport import optim

STEPS = 5
MAKERS: dict[str, Callable[[], optax.GradientTransformationExtraArgs]] = {
    "SGD": lambda: optim.SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda: optim.Adam(lr=0.01, amsgrad=True),
    "AdamW": lambda: optim.AdamW(lr=0.01),
    "Adamax": lambda: optim.Adamax(lr=0.01),
    "NAdam": lambda: optim.NAdam(lr=0.01),
    "RAdam": lambda: optim.RAdam(lr=0.01),
    "Adagrad": lambda: optim.Adagrad(lr=0.1),
    "Adadelta": lambda: optim.Adadelta(lr=1.0),
    "RMSprop": lambda: optim.RMSprop(lr=0.01, momentum=0.9, centered=True),
    "Rprop": lambda: optim.Rprop(lr=0.01),
    "ASGD": lambda: optim.ASGD(lr=0.1),
    "Adafactor": lambda: optim.Adafactor(lr=0.1),
    "SparseAdam": lambda: optim.SparseAdam(lr=0.01),
    "Muon": lambda: optim.groups([{"params": "*w", "optimizer": optim.Muon}, {"params": ...}], optim.AdamW),
    "LBFGS": lambda: optim.LBFGS(lr=0.5, line_search_fn="strong_wolfe", max_iter=4),
    "clipped": lambda: optax.chain(optim.clip_grad_norm(0.05), optim.AdamW(lr=0.01)),
    "accumulated": lambda: optim.accumulate(optim.SGD(lr=0.1), 2),
}


def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean squared error of a network with one hidden layer."""
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    return jnp.mean((hidden @ params["second"]["w"] + params["second"]["b"] - y) ** 2)


def start() -> tuple[Any, jax.Array, jax.Array]:
    """Return parameters and one batch."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape))  # noqa: E731
    params = {"first": {"w": draw(8, 16) / 4, "b": draw(16)}, "second": {"w": draw(16, 4) / 4, "b": draw(4)}}
    return params, draw(32, 8), draw(32, 4)


def train(name: str, mesh: jax.sharding.Mesh | None) -> tuple[Any, Any]:
    """Return the parameters and the state after STEPS updates."""
    optimizer = MAKERS[name]()

    def place(tree: Any) -> Any:
        if mesh is None:
            return tree
        spread = lambda a: jax.P("data") if np.ndim(a) and np.shape(a)[0] % 4 == 0 else jax.P()  # noqa: E731
        return jax.tree.map(lambda a: jax.device_put(a, jax.NamedSharding(mesh, spread(a))), tree)

    def step(params: Any, state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Any]:
        value, grads = jax.value_and_grad(loss)(params, x, y)
        value_fn = lambda params: loss(params, x, y)  # noqa: E731
        more = {} if name in ("clipped", "accumulated") else {"value": value, "grad": grads, "value_fn": value_fn}
        updates, state = optimizer.update(grads, state, params, **more)
        return optax.apply_updates(params, updates), state

    params, x, y = place(start())
    state = place(optimizer.init(params))
    shardings = jax.tree.map(lambda a: a.sharding, (params, state)) if mesh is not None else None
    compiled = jax.jit(step, donate_argnums=(0, 1), out_shardings=shardings)
    for _ in range(STEPS):
        params, state = compiled(params, state, x, y)
    return params, state


def apart(found: Any, wanted: Any) -> float:
    """Return the largest difference, over the largest magnitude of its leaf."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max() / (np.abs(b).max() + 1e-30)) for a, b in pairs)


def main() -> None:
    """Print {optimiser: [parameters' difference, state's difference, devices that hold the first matrix, its part]}."""
    jax.config.update("jax_num_cpu_devices", 4)
    jax.config.update("jax_enable_x64", True)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = {}
    for name in MAKERS:
        params, state = train(name, mesh)
        alone, state_alone = train(name, None)
        matrix = params["first"]["w"]
        part = matrix.addressable_shards[0].data.shape[0]
        rows[name] = [apart(params, alone), apart(state, state_alone), len(matrix.sharding.device_set), part]
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
