"""The JAX half of a port's proof: its model, observed and trained with the engine's own step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxport import engine, nn
from jaxport.interop import load_state_dict, state_dict
from jaxport.interop.state_dict import as_in_torch
from jaxport.port import Port

from .record import Arrays, Example, Observation, Snapshot, named_outputs


def _key(path: tuple[Any, ...]) -> str:
    """Return the dotted name of a leaf: ['conv1']['weight'].value → conv1.weight."""
    return ".".join(str(part.key) for part in path if isinstance(part, jax.tree_util.DictKey))


def flatten(tree: Any) -> Arrays:
    """Return a pytree of parameters as key → array."""
    return {_key(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def unflatten(template: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return a pytree like `template` with the leaves replaced by `arrays`."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: jnp.asarray(arrays[_key(path)]), template)


class JaxSide:
    """A port's model with its recipe, as the engine trains it.

    Args:
        port: which port.
        weights: PyTorch keys → arrays; their dtype is the model's.
    """

    def __init__(self, port: Port, weights: Arrays) -> None:
        dtype = next(iter(weights.values())).dtype
        self.port = port
        self.module = _unfilled(port).to(dtype)
        load_state_dict(self.module, weights)
        self.task = engine.make_task(self.module, port.loss(), port.make_optimizer())
        self.state = engine.create_state(self.module, self.task.optimizer)
        self._observe = jax.jit(self._observation, static_argnums=0)
        self._step = jax.jit(self._train)

    def _observation(self, training: bool, params: Any, x: Any, y: Any, cotangent: Any, masks: Any) -> Any:
        graph = self.task.train_graph if training else self.task.eval_graph

        def forward(params: Any, x: jax.Array) -> tuple[jax.Array, Any]:
            module = nnx.merge(graph, params, self.state.rest, copy=True)
            with nn.replay_masks(masks if training else ()), nn.record_outputs(module) as outputs:
                output = module(x)
            buffers = {name: buffer[...] for name, buffer in module.named_buffers()}
            return output, (outputs, buffers)

        output, pullback, (outputs, buffers) = jax.vjp(forward, params, x, has_aux=True)
        loss, loss_pullback = jax.vjp(lambda output: self.task.loss(output, y), output)
        grads = [pullback(seed) for seed in (*loss_pullback(jnp.ones_like(loss)), cotangent)]
        if not jnp.issubdtype(x.dtype, jnp.floating):  # numbers of words have no gradient
            grads = [(of_params, None) for of_params, _ in grads]
        return outputs, loss, *grads, buffers

    def observe(self, example: Example, training: bool) -> Observation:
        """Run one pass forward and two backward: from the loss, and from the random cotangent."""
        outputs, loss, grad, cotangent, buffers = self._observe(training, self.state.params, *map(_on_device, example))

        def by_name(grads: tuple[Any, jax.Array | None]) -> Arrays:
            return {"input": np.asarray(grads[1]), **flatten(grads[0])} if grads[1] is not None else flatten(grads[0])

        return Observation(
            {
                name: np.asarray(part)
                for path, out in outputs.items()
                for name, part in named_outputs(path, out).items()
            },
            {"loss": np.asarray(loss)},
            by_name(grad),
            by_name(cotangent),
            {name: as_in_torch(np.asarray(value)) for name, value in buffers.items()},
        )

    def _train(self, state: engine.TrainState, x: Any, y: Any, masks: Any) -> tuple[engine.TrainState, jax.Array]:
        with nn.replay_masks(masks):
            state, _, loss = engine.train_step(self.task, state, engine.empty_totals(()), engine.Batch(x, y))
        return state, loss

    def step(self, example: Example) -> np.ndarray:
        """Take one optimiser step and return the loss before it."""
        x, y, _, masks = map(_on_device, example)
        self.state, loss = self._step(self.state, x, y, masks)
        return np.asarray(loss)

    def snapshot(self) -> Snapshot:
        """Return the training state."""
        nnx.update(self.module, self.state.params, self.state.rest)
        keys = flatten(self.state.params)
        tensors = {
            # PyTorch keeps a number of the optimiser (NAdam's mu_product, say) with each parameter.
            name: {key: np.asarray(tree) for key in keys} if isinstance(tree, jax.Array) else flatten(tree)
            for name, tree in _tensor_trees(self.state.opt_state).items()
        }
        return Snapshot(int(self.state.step), state_dict(self.module), tensors)

    def restore(self, snapshot: Snapshot) -> None:
        """Go to a training state, PyTorch's as well as our own."""
        load_state_dict(self.module, snapshot.params)
        state = engine.create_state(self.module, self.task.optimizer)
        trees = {
            name: jnp.asarray(next(iter(snapshot.optimizer[name].values())), tree.dtype)
            if isinstance(tree, jax.Array)
            else unflatten(tree, snapshot.optimizer[name])
            for name, tree in _tensor_trees(state.opt_state).items()
            if name in snapshot.optimizer
        }
        step = jnp.asarray(snapshot.steps, state.step.dtype)
        self.state = state._replace(opt_state=state.opt_state._replace(step=step, **trees), step=step)


def _tensor_trees(opt_state: Any) -> dict[str, Any]:
    """Return what an optimiser keeps for the parameters, by PyTorch's name."""
    own = ("lr", "step", "momentum")
    return {name: tree for name, tree in opt_state._asdict().items() if name not in own and tree is not None}


def _unfilled(port: Port) -> nn.Module:
    """Return the port's module with zeros for its weights, which are loaded over: drawing large ones takes a minute."""

    def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.key(0) if is_key else jnp.zeros(leaf.shape, leaf.dtype)

    graph, state = nnx.split(nnx.eval_shape(lambda: port.build(0)))
    return nnx.merge(graph, jax.tree.map(fill, state))


def _on_device(value: Any) -> Any:
    return jax.tree.map(jnp.asarray, value)
