"""Checks of the optimisers' arguments, and the arguments that mean nothing here.

PyTorch's `foreach`, `fused`, `capturable` and `differentiable` choose how a step is carried out, not what it computes:
XLA always fuses, an update is always differentiable and there is no graph to capture. They are accepted, so that a
call can be copied from PyTorch, and ignored. What PyTorch refuses is refused here as well: `fused` together with
`foreach` or `differentiable`, and in Adam and AdamW an array as `lr` or in `betas` with ``foreach=True`` but not
`capturable`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

Rate: TypeAlias = float | jax.Array

_ARRAYS = (jax.Array, np.ndarray, np.generic)


def is_array(value: Any) -> bool:
    """Return whether `value` is an array: JAX's, NumPy's or a NumPy scalar."""
    return isinstance(value, _ARRAYS)


def _number(value: Any) -> Any:
    """Return a one-element array as a Python number, anything else as it is."""
    return np.asarray(value).item() if is_array(value) and np.size(value) == 1 else value


def _require(owner: str, name: str, value: Any, allowed: bool, want: str) -> float:
    """Return `value` as a float if it is a number and allowed.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not allowed:
        raise ValueError(f"{owner}: {name} must {want}, got {value!r}")
    return float(value)


def _holds(value: Any, test: Any) -> bool:
    return isinstance(value, (int, float)) and bool(test(value))


def non_negative(owner: str, name: str, value: Any) -> float:
    """Return `value` if it is a number ≥ 0.

    Raises:
        ValueError: it is not.
    """
    value = _number(value)
    return _require(owner, name, value, _holds(value, lambda v: v >= 0.0), "be a number >= 0")


def positive(owner: str, name: str, value: Any) -> float:
    """Return `value` if it is a number > 0.

    Raises:
        ValueError: it is not.
    """
    value = _number(value)
    return _require(owner, name, value, _holds(value, lambda v: v > 0.0), "be a number > 0")


def number(owner: str, name: str, value: Any) -> float:
    """Return `value` if it is a number that is not NaN.

    Raises:
        ValueError: it is not.
    """
    value = _number(value)
    return _require(owner, name, value, _holds(value, lambda v: v == v), "be a number")


def inside(owner: str, name: str, value: Any, low: float, high: float, closed: bool = False) -> float:
    """Return `value` if it is a number in [low, high), or in [low, high] if `closed`.

    Raises:
        ValueError: it is not.
    """
    value = _number(value)
    fits = _holds(value, lambda v: low <= v < high or (closed and v == high))
    return _require(owner, name, value, fits, f"lie in [{low:g}, {high:g}{']' if closed else ')'}")


def pair(owner: str, name: str, values: Any, size: int = 2) -> tuple[Any, ...]:
    """Return `values` if it is a tuple or list of `size` numbers.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(values, (tuple, list)) or len(values) != size:
        raise ValueError(f"{owner}: {name} must be a tuple of {size} numbers, got {values!r}")
    return tuple(values)


def two_betas(owner: str, betas: Any) -> tuple[float, float]:
    """Return β₁ and β₂ if each lies in [0, 1).

    Raises:
        ValueError: one does not.
    """
    first, second = pair(owner, "betas", betas)
    return inside(owner, "betas[0]", first, 0.0, 1.0), inside(owner, "betas[1]", second, 0.0, 1.0)


def learning_rate(owner: str, lr: Any) -> Rate:
    """Return `lr` if it is a number ≥ 0, or an array of one element, as a scalar.

    Raises:
        ValueError: it is negative, not a number, or an array of several elements.
    """
    if not is_array(lr):
        return non_negative(owner, "lr", lr)
    if np.size(lr) != 1:
        raise ValueError(f"{owner}: lr must be a number or an array of one element, got shape {np.shape(lr)}")
    if not isinstance(lr, Tracer):
        non_negative(owner, "lr", lr)
    return jnp.reshape(jnp.asarray(lr), ())


def execution_flags(
    owner: str, foreach: bool | None = None, fused: bool | None = None, differentiable: bool = False
) -> None:
    """Accept the arguments that mean nothing here, but not the combinations that PyTorch refuses.

    Raises:
        ValueError: `fused` with `foreach` or with `differentiable`.
    """
    if fused and foreach:
        raise ValueError(f"{owner}: fused and foreach cannot both be True; both are ignored here, leave them out")
    if fused and differentiable:
        raise ValueError(f"{owner}: fused and differentiable cannot both be True; both are ignored here")


def array_flags(owner: str, lr: Any, betas: Any, foreach: bool | None, capturable: bool) -> None:
    """Refuse what PyTorch's Adam refuses of arrays as arguments.

    Raises:
        ValueError: one beta is an array and the other a number, or an array comes with `foreach` without `capturable`.
    """
    first, second = (is_array(beta) for beta in pair(owner, "betas", betas))
    if first != second:
        raise ValueError(f"{owner}: betas must be two numbers or two arrays, got {betas!r}")
    for name, given in (("lr", is_array(lr)), ("betas", first)):
        if given and foreach and not capturable:
            raise ValueError(f"{owner}: an array as {name} needs capturable=True where foreach=True; leave foreach out")
