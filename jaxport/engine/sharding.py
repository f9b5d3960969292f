"""Where arrays live: on one device, or spread over a mesh of devices of one or several hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .state import TrainState
from .step import Task

AXIS = "data"
Rule = Callable[[str, Any], PartitionSpec | None]


@dataclass(frozen=True)
class Placement:
    """Nothing to do on one device; on a mesh, batches are spread over its axis "data", and parameters by a rule.

    Attributes:
        mesh: the devices; None for one.
        device: the one device, None for JAX's default.
        rule: (path, array) → PartitionSpec of a parameter, None for a whole copy on every device.
    """

    mesh: Mesh | None = None
    device: Any = None
    rule: Rule | None = None

    @property
    def multiple(self) -> int:
        """Rows of a batch are padded to a multiple of this."""
        return 1 if self.mesh is None else self.mesh.shape[AXIS]

    def put(self, tree: Any) -> Any:
        """Put data on the device, or a whole copy on each of the mesh."""
        if self.mesh is None:
            return jax.device_put(tree, self.device)
        return _put(tree, NamedSharding(self.mesh, PartitionSpec()))

    def put_batch(self, tree: Any, axis: int = 0, own: bool = False) -> Any:
        """Put a batch of the host on the device, or its rows on those of the mesh.

        Args:
            tree: arrays of the host.
            axis: of the rows.
            own: whether each process has its own part of the rows, rather than all.
        """
        if self.mesh is None:
            return jax.device_put(tree, self.device)
        sharding = NamedSharding(self.mesh, PartitionSpec(*(None,) * axis, AXIS))
        if own:
            return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, np.asarray(a)), tree)
        return _put(tree, sharding)

    def settled(self, results: Any) -> Any:
        """Return what a program returned; where several devices share one CPU, when it is there.

        XLA runs such devices on a few common threads. Calls that run ahead can take all of them to wait for each
        other's sums, and after 40 seconds XLA ends the process.
        """
        devices = () if self.mesh is None else self.mesh.local_devices
        shared = len(devices) > 1 and devices[0].platform == "cpu"
        return jax.block_until_ready(results) if shared else results

    def batch(self, batch: Any) -> Any:
        """Spread the rows of a batch over the devices; traceable."""
        return self._constrain(batch, PartitionSpec(AXIS))

    def replicated(self, tree: Any) -> Any:
        """Keep whole copies; traceable."""
        return self._constrain(tree, PartitionSpec())

    def _constrain(self, tree: Any, spec: PartitionSpec) -> Any:
        if self.mesh is None:
            return tree
        return jax.lax.with_sharding_constraint(tree, NamedSharding(self.mesh, spec))

    def state(self, state: TrainState) -> TrainState:
        """Keep a state where `put_state` placed it; traceable."""
        if self.mesh is None:
            return state
        return jax.tree.map(jax.lax.with_sharding_constraint, state, self.shardings(state))

    def gathering(self, task: Task) -> Task:
        """Return the task with parameters that are put together for a model's use.

        The devices of the axis "data" have different examples, and so need the same parameters: left alone, XLA may as
        well gather the examples.
        """
        return task if self.rule is None else replace(task, gather=self._gathered)

    def _gathered(self, params: Any) -> Any:
        mesh, rule = self.mesh, self.rule
        assert mesh is not None
        assert rule is not None

        def one(path: Any, leaf: Any) -> Any:
            spec = rule(".".join(_keys(path)), leaf) or PartitionSpec()
            rest = PartitionSpec(*(_without_data(part) for part in spec))
            return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, rest))

        return jax.tree_util.tree_map_with_path(one, params)

    def put_state(self, state: TrainState) -> TrainState:
        """Put a state on the device, or spread it over the mesh by the rule."""
        if self.mesh is None:
            return state if self.device is None else jax.device_put(state, self.device)
        return jax.tree.map(_put, state, self.shardings(state))

    def whole(self, tree: Any) -> Any:
        """Return arrays that are whole on JAX's default device, as if there had been no mesh.

        Arrays that are split over several processes are fetched by all of them together.
        """
        if self.mesh is None:
            return tree
        gather = jax.jit(lambda array: array, out_shardings=NamedSharding(self.mesh, PartitionSpec()))

        def one(array: jax.Array) -> jax.Array:
            if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(one(jax.random.key_data(array)), impl=jax.random.key_impl(array))
            if not (array.is_fully_addressable or array.is_fully_replicated):
                array = gather(array)
            return jnp.asarray(np.asarray(array))  # through the host: an array of this process alone

        return jax.tree.map(one, tree)

    def outputs(self, count: int, *args: Any) -> Any:
        """Return the shardings of the `count` results of a program with these arguments, None for where it likes.

        A program that takes a state gives (state, …): XLA might choose another layout than the next call expects.
        """
        if self.mesh is None:
            return None
        whole = NamedSharding(self.mesh, PartitionSpec())
        return (self.shardings(args[0]), *(whole,) * (count - 1)) if isinstance(args[0], TrainState) else whole

    def shardings(self, state: TrainState) -> TrainState:
        """Return a sharding for each array: parameters by the rule, what belongs to one like it, others whole."""
        mesh = self.mesh
        assert mesh is not None
        specs: dict[tuple[str, ...], tuple[tuple[int, ...], PartitionSpec]] = {}
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.params):
            keys = _keys(path)
            spec = None if self.rule is None else self.rule(".".join(keys), leaf)
            specs[keys] = (leaf.shape, spec or PartitionSpec())

        def sharding(path: Any, leaf: Any) -> NamedSharding:
            keys = _keys(path)
            for start in range(len(keys)):
                shape, spec = specs.get(keys[start:], (None, None))
                if spec is not None and shape == leaf.shape:
                    return NamedSharding(mesh, spec)
            return NamedSharding(mesh, PartitionSpec())

        return jax.tree_util.tree_map_with_path(sharding, state)


def _without_data(part: Any) -> Any:
    """Return what is left of one axis' part of a PartitionSpec: None, a name, or a tuple of names."""
    names = tuple(name for name in (part if isinstance(part, tuple) else (part,)) if name not in (None, AXIS))
    return names or None


def _keys(path: Any) -> tuple[str, ...]:
    names = (getattr(key, "key", getattr(key, "name", getattr(key, "idx", None))) for key in path)
    return tuple(str(name) for name in names if name != "value")


def _put(tree: Any, sharding: NamedSharding) -> Any:
    """Put arrays that every process has on a mesh; each process sends the parts of its own devices."""
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)

    def one(array: Any) -> jax.Array:
        if isinstance(array, jax.Array) and array.sharding.is_equivalent_to(sharding, array.ndim):
            return array
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            data = one(jax.random.key_data(array))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
        value = np.asarray(array)
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

    return jax.tree.map(one, tree)
