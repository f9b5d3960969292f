"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from flax import nnx


def parameters_to_vector(parameters: Iterable[nnx.Variable | jax.Array]) -> jax.Array:
    """Return all elements of the parameters, one after the other, as one vector.

    Raises:
        ValueError: there are no parameters.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parameters_to_vector.html
    """
    parts = [parameter[...].reshape(-1) for parameter in parameters]
    if not parts:
        raise ValueError("parameters_to_vector: parameters must not be empty")
    return jnp.concatenate(parts)


def vector_to_parameters(vec: jax.Array, parameters: Iterable[nnx.Variable]) -> None:
    """Fill the parameters, in their order, with the elements of `vec`.

    Raises:
        TypeError: `vec` is not an array.
        ValueError: it has fewer elements than the parameters.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.vector_to_parameters.html
    """
    if not isinstance(vec, jax.Array):
        raise TypeError(f"vector_to_parameters: vec must be an array, got {type(vec).__name__}")
    variables = list(parameters)
    needed = sum(variable.size for variable in variables)
    if vec.size < needed:
        raise ValueError(f"vector_to_parameters: vec must have at least {needed} elements, got {vec.size}")
    start = 0
    for variable in variables:
        variable.set_value(vec[start : start + variable.size].reshape(variable.shape))
        start += variable.size
