"""A tree of arrays as a flat dictionary with readable names, and back into a tree of the same structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxport.errors import UsageError

_SHOWN = 5


def flatten(tree: Any) -> dict[str, Any]:
    """Return name → array; random keys as the numbers that they are made of."""
    flat: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        flat[_name(path)] = jax.random.key_data(leaf) if is_key(leaf) else leaf
    return flat


def unflatten(like: Any, flat: Mapping[str, Any], owner: str) -> Any:
    """Return a tree with the structure of `like` and the arrays of `flat`, on the devices of `like`.

    Raises:
        UsageError: names or shapes differ; lists them.
    """
    check(describe(like), describe_flat(flat), owner)

    def one(path: Any, leaf: Any) -> Any:
        value = flat[_name(path)]
        if is_key(leaf):
            return jax.random.wrap_key_data(jnp.asarray(value), impl=jax.random.key_impl(leaf))
        return jax.device_put(value, leaf.sharding) if isinstance(value, np.ndarray) else value

    return jax.tree_util.tree_map_with_path(one, like)


def describe(tree: Any) -> dict[str, str]:
    """Return name → "dtype[shape]" of a tree's arrays."""
    return describe_flat(flatten(tree))


def describe_flat(flat: Mapping[str, Any]) -> dict[str, str]:
    """Return name → "dtype[shape]"."""
    return {name: f"{np.dtype(array.dtype).name}{list(array.shape)}" for name, array in flat.items()}


def check(wanted: Mapping[str, str], found: Mapping[str, str], owner: str) -> None:
    """Compare what is needed with what is there.

    Raises:
        UsageError: they differ; names what is missing, unknown, or of another shape or dtype.
    """
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    both = [name for name in wanted if name in found and wanted[name] != found[name]]
    other = [f"{name} is {found[name]}, needed is {wanted[name]}" for name in both]
    parts = [("missing", missing), ("unknown", unknown), ("different", other)]
    lines = [f"{what}: {_shown(names)}" for what, names in parts if names]
    if lines:
        raise UsageError(f"{owner} is of another model or optimiser; {'; '.join(lines)}")


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def is_key(leaf: Any) -> bool:
    """Return whether a leaf is an array of random keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _name(path: Any) -> str:
    names = (getattr(key, "key", getattr(key, "name", getattr(key, "idx", None))) for key in path)
    return ".".join(str(name) for name in names if name != "value")
