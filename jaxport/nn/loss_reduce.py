"""What all losses share: the mask `where`, the reductions, the module's base class."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from .checks import Reduction, reduction_name, same_dtype, same_shape
from .module import Buffer, Module

# A product of fewer numbers is added one after the other, as a sum is.
LONG = 4096


def mask_like(where: jax.Array | None, shape: tuple[int, ...], owner: str) -> jax.Array | None:
    """Bring `where` to `shape`, aligning a (N,) mask with the first axis."""
    if where is None or where.shape == shape:
        return where
    if where.shape != shape[:1]:
        raise ValueError(f"{owner}: where must have shape {shape[:1]} or {shape}, got {where.shape}")
    return jnp.broadcast_to(where.reshape(where.shape + (1,) * (len(shape) - 1)), shape)


def reduce_loss(
    values: jax.Array,
    reduction: Reduction,
    where: jax.Array | None,
    owner: str,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Reduce a loss: Σ values, or Σ values / Σ weights (their count if None), over the entries that `where` keeps."""
    mask = mask_like(where, values.shape, owner)
    if mask is not None:
        values = jnp.where(mask, values, jnp.zeros_like(values))
        weights = mask.astype(values.dtype) if weights is None else jnp.where(mask, weights, jnp.zeros_like(weights))
    match reduction_name(owner, reduction):
        case "none":
            return values
        case "sum":
            return total(values).astype(values.dtype)
        case "mean":
            divisor = values.size if weights is None else total(weights)
            return (total(values) / divisor).astype(values.dtype)


@jax.custom_jvp
def _long_sum(values: jax.Array) -> jax.Array:
    """Return Σ values as a product with ones, which CPUs compute on all cores and in many partial sums.

    What makes the numbers is kept out of that, if the last axis has one element: XLA gives both to YNN, which then
    makes one number at a time. `SmoothL1Loss` of (10⁶, 1): 14.4 ms, and 0.2 with a selection between, which it has not.
    """
    if values.ndim > 1 and values.shape[-1] == 1:
        values = jnp.where(values == values, values, jnp.full_like(values, jnp.nan))
    return jnp.dot(values.ravel(), jnp.ones((values.size,), values.dtype), precision=jax.lax.Precision.HIGHEST)


@_long_sum.defjvp
def _long_sum_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return _long_sum(*primals), tangents[0].sum()


def total(values: jax.Array) -> jax.Array:
    """Return Σ values, at least in float32, with a rounding error like PyTorch's.

    XLA on CPUs adds a small array one number after the other, however many axes it has, which loses 3 times as much as
    PyTorch's partial sums at (15, 10) and 10 times at (10, 10, 10). One axis at a time does not; the barriers keep XLA
    from joining them. A large array is a product.
    """
    if values.dtype.itemsize < 4:
        values = values.astype(jnp.float32)
    if values.size >= LONG and jnp.issubdtype(values.dtype, jnp.floating) and jax.default_backend() == "cpu":
        return _long_sum(values)
    while values.ndim > 1:
        values = jax.lax.optimization_barrier(values.sum(-1))
    return values.sum()


def keep(owner: str, where: jax.Array | None, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Replace what `where` leaves out by 1 (integers: 0): no loss has a NaN there, in its value or in its gradient.

    Masking the values alone would not do: a gradient that is infinite there gives 0 · inf = NaN.
    """

    def kept(array: jax.Array) -> jax.Array:
        mask = mask_like(where, array.shape, owner)
        if mask is None:
            return array
        fill = 1 if jnp.issubdtype(array.dtype, jnp.inexact) else 0
        return jnp.where(mask, array, jnp.full_like(array, fill))

    return tuple(map(kept, arrays))


def broadcast(owner: str, **arrays: jax.Array) -> list[jax.Array]:
    """Bring arrays to their common shape.

    Raises:
        ValueError: they have none.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    try:
        shape = jnp.broadcast_shapes(*shapes.values())
    except ValueError:
        raise ValueError(f"{owner}: shapes must broadcast together, got {_listed(shapes)}") from None
    return [jnp.broadcast_to(array, shape) for array in arrays.values()]


def weight_like(owner: str, name: str, weight: jax.Array | None, shape: tuple[int, ...]) -> jax.Array | None:
    """Broadcast `weight` to the loss's shape, which it must not enlarge.

    Raises:
        ValueError: it does not fit.
    """
    if weight is None:
        return None
    fits = weight.ndim <= len(shape) and all(
        size in (1, wanted) for size, wanted in zip(weight.shape[::-1], shape[::-1], strict=False)
    )
    if not fits:
        raise ValueError(f"{owner}: {name} must broadcast to {shape}, got shape {weight.shape}")
    return jnp.broadcast_to(weight, shape)


def elementwise_weight(owner: str, input: jax.Array, weight: jax.Array, where: jax.Array | None) -> jax.Array:
    """Return what `where` keeps of a weight, one for each element.

    Raises:
        ValueError: it has another shape than `input`.
        TypeError: or another dtype.
    """
    if weight.shape != input.shape:
        raise ValueError(f"{owner}: weight must have the shape of input, {input.shape}, got {weight.shape}")
    same_dtype(owner, input=input, weight=weight)
    return keep(owner, where, weight)[0]


def same_ndim(owner: str, **arrays: jax.Array) -> None:
    """Refuse arrays of different numbers of axes.

    Raises:
        ValueError: they differ.
    """
    if len({array.ndim for array in arrays.values()}) > 1:
        shapes = _listed({name: array.shape for name, array in arrays.items()})
        raise ValueError(f"{owner}: all arrays must have the same number of axes, got {shapes}")


def floating_target(owner: str, input: jax.Array, target: jax.Array) -> jax.Array:
    """Return the target in the dtype of `input`: labels and counts may be integers.

    Raises:
        TypeError: it is floating of another dtype.
    """
    if jnp.issubdtype(target.dtype, jnp.integer) or target.dtype == bool:
        return target.astype(input.dtype)
    same_dtype(owner, input=input, target=target)
    return target


def matching_pair(
    owner: str, input: jax.Array, target: jax.Array, where: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Check that input and target are of one floating dtype and shape, and return what `where` keeps of them.

    Raises:
        ValueError: the shapes differ.
        TypeError: the dtypes differ or are not floating.
    """
    same_shape(owner, input, target)
    same_dtype(owner, input=input, target=target)
    floating(owner, input=input)
    input, target = keep(owner, where, input, target)
    return input, target


def floating(owner: str, **arrays: jax.Array) -> None:
    """Refuse integers.

    Raises:
        TypeError: an array is not floating.
    """
    for name, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"{owner}: {name} must be floating, got {array.dtype}; cast with .astype")


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


class Loss(Module):
    """A loss module: `reduction` says how its values are brought together."""

    reduction: Reduction

    def _set_weight(self, weight: jax.Array | None) -> None:
        self.weight = as_buffer(weight)

    def _get_weight(self) -> jax.Array | None:
        return value_of(self.weight)


def as_buffer(weight: jax.Array | None) -> Buffer | None:
    """Keep a weight as PyTorch does: in the state_dict, and never trained."""
    return None if weight is None else Buffer(jnp.asarray(weight))


def value_of(weight: nnx.Variable | None) -> jax.Array | None:
    """Return the array of a weight, if there is one."""
    return None if weight is None else weight[...]
