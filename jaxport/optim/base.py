"""What the optimisers share: the transformation, the walk over the leaves, weight decay, bias correction."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from .arguments import Rate
from .hyper import Constant, Momentum
from .names import leaf_names

_HALF = (jnp.bfloat16, jnp.float16)


class Optimizer(optax.GradientTransformationExtraArgs):
    """An optax transformation that remembers which of PyTorch's optimisers it is, and its arguments.

    Updates are added to the parameters (``optax.apply_updates``).

    Attributes:
        kind: name of the class in torch.optim.
        options: its arguments by name.
        groups: the optimisers of its parameter groups; only itself where there are none.
        members: parameters → the names of each group's parameters.
    """

    kind: str
    options: dict[str, Any]
    groups: tuple[Optimizer, ...]
    members: Callable[[Any], list[list[str]]]

    def __repr__(self) -> str:
        """Return the call that made it."""
        return f"{self.kind}({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"


def optimizer(kind: str, options: dict[str, Any], init: Callable[..., Any], update: Callable[..., Any]) -> Optimizer:
    """Return the transformation of one of PyTorch's optimisers."""
    made = Optimizer(init, update)
    made.kind, made.options, made.groups = kind, options, (made,)
    made.members = lambda params: [leaf_names(params)]
    return made


def rate_array(rate: Rate) -> jax.Array:
    """Return a learning rate as a new array, so that it can be changed in the state without a new compilation.

    New for every state: a step that donates its state deletes the state's arrays, and the optimiser may be used again.
    """
    return jnp.array(rate, None if isinstance(rate, jax.Array) else jnp.result_type(float))


def first_step() -> jax.Array:
    """Return the number of steps taken before the first one."""
    return jnp.zeros((), jnp.int32)


def zeros_like(params: optax.Params) -> Any:
    """Return zeros in the shape of `params`."""
    return jax.tree.map(jnp.zeros_like, params)


def full_like(params: optax.Params, value: Rate) -> Any:
    """Return leaves in the shape of `params`, filled with `value`."""
    return jax.tree.map(lambda p: jnp.zeros_like(p) + as_scalar(value, p), params)


def as_scalar(value: Any, like: jax.Array) -> Any:
    """Return a scalar array in the dtype of `like`; a Python number as it is."""
    return value.astype(like.dtype) if isinstance(value, jax.Array) else value


def needs_params(owner: str, params: optax.Params | None, why: str = "") -> None:
    """Check that `update` was given the parameters.

    Raises:
        ValueError: it was not.
    """
    if params is None:
        raise ValueError(f"{owner}: {why}needs update(grads, state, params), got params=None")


def prepare_gradients(
    owner: str, grads: optax.Updates, params: optax.Params | None, weight_decay: float, maximize: bool
) -> optax.Updates:
    """Return ±g + weight_decay · p: the coupled weight decay of PyTorch's SGD and Adam.

    Raises:
        ValueError: weight decay was asked for and `params` is None.
    """
    if maximize:
        grads = jax.tree.map(jnp.negative, grads)
    if weight_decay == 0.0:
        return grads
    needs_params(owner, params, f"weight_decay={weight_decay} ")
    return jax.tree.map(lambda g, p: g + weight_decay * p, grads, params)


def decay_rate(lr: jax.Array, weight_decay: float) -> jax.Array:
    """Return lr · weight_decay, the part of a parameter that decoupled weight decay takes away.

    PyTorch multiplies by 1 - lr · weight_decay. Where lr is an array of less precision than the default, that factor is
    rounded to it, in PyTorch and so here.
    """
    taken = lr * weight_decay
    return taken if lr.dtype == jnp.result_type(float) else 1.0 - (1.0 - taken)


def bias_correction(beta: float | Constant | Momentum, step: jax.Array) -> jax.Array:
    """Return 1 - βᵗ.

    As -expm1(t · log β) with log β taken in double precision: in float32, 1 - 0.999¹ itself is off by 1e-5, where
    PyTorch, which computes this number on the host, is exact.
    """
    time = step.astype(jnp.result_type(float))
    if isinstance(beta, Momentum):
        close = beta.complement < 0.5
        log = jnp.where(close, jnp.log1p(-jnp.where(close, beta.complement, 0.0)), jnp.log(beta.value))
        return -jnp.expm1(time * log)
    beta = beta.value if isinstance(beta, Constant) else beta
    return jnp.ones_like(time) if beta == 0.0 else -jnp.expm1(time * math.log(beta))


def _wide(leaf: Any) -> Any:
    """Return a leaf in the precision in which it is computed with: half precision in single."""
    return leaf.astype(jnp.float32) if leaf is not None and leaf.dtype in _HALF else leaf


def _like(leaf: Any, old: Any) -> Any:
    return leaf if leaf is None or old is None else leaf.astype(old.dtype)


def refuse_complex(owner: str, tree: Any) -> None:
    """Check that no leaf is complex.

    Raises:
        ValueError: one is.
    """
    if any(jnp.issubdtype(leaf.dtype, jnp.complexfloating) for leaf in jax.tree.leaves(tree)):
        raise ValueError(
            f"{owner} does not support complex parameters here (JAX's gradient is the conjugate of PyTorch's): "
            "keep real and imaginary part as two real parameters"
        )


def map_leaves(
    rule: Callable[..., tuple[Any, ...]], grads: optax.Updates, params: optax.Params | None, *trees: Any
) -> tuple[Any, ...]:
    """Apply an optimiser's rule to every leaf.

    Args:
        rule: (gradient, parameter or None, one leaf of each tree) → (update, the new leaves).
        grads: gradients.
        params: parameters, or None.
        trees: state, each a tree like `grads` or None; a leaf may be None.

    Returns:
        The updates, then the new trees. Half precision is computed with in single and rounded once.
    """
    leaves, treedef = jax.tree.flatten(grads)
    if not leaves:
        return grads, *trees
    columns = [[None] * len(leaves) if tree is None else treedef.flatten_up_to(tree) for tree in (params, *trees)]
    found = []
    for grad, *row in zip(leaves, *columns, strict=True):
        new = rule(_wide(grad), *map(_wide, row))
        found.append([_like(leaf, old) for leaf, old in zip(new, (grad, *row[1:]), strict=True)])
    updates, *rest = map(list, zip(*found, strict=True))
    return treedef.unflatten(updates), *(
        None if tree is None else treedef.unflatten(column) for tree, column in zip(trees, rest, strict=True)
    )
