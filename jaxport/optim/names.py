"""PyTorch's names of the leaves of a pytree: "conv1.weight"."""

from __future__ import annotations

from typing import Any

import jax
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey


def _part(key: Any) -> str:
    if isinstance(key, SequenceKey):
        return str(key.idx)
    if isinstance(key, GetAttrKey):
        return key.name
    return str(key.key) if isinstance(key, (DictKey, FlattenedIndexKey)) else str(key)


def leaf_name(path: tuple[Any, ...]) -> str:
    """Return the dotted name of a leaf: ['conv1']['weight'].value → conv1.weight."""
    if path and isinstance(path[-1], GetAttrKey) and path[-1].name == "value":
        path = path[:-1]  # the array of an nnx.Variable
    return ".".join(map(_part, path))


def leaf_names(tree: Any) -> list[str]:
    """Return the names of all leaves, in the order of the pytree."""
    return [leaf_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def named_leaves(tree: Any) -> dict[str, Any]:
    """Return name → leaf, in the order of the pytree."""
    return {leaf_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def from_named(like: Any, leaves: dict[str, Any]) -> Any:
    """Return a pytree like `like` with the leaves of those names."""
    return jax.tree_util.tree_map_with_path(lambda path, _: leaves[leaf_name(path)], like)
