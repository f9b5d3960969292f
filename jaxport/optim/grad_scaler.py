"""Loss scaling for mixed precision: PyTorch's GradScaler as pure functions, and around an optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike


class GradScalerState(NamedTuple):
    """The scale (float32), and how many steps in a row were finite (int32)."""

    scale: jax.Array
    growth_tracker: jax.Array


class ScaledState(NamedTuple):
    """State of `scaled`: the optimiser's, the scaler's, and whether the last step was skipped."""

    optimizer: Any
    scaler: GradScalerState
    found_inf: jax.Array


def _times(scale: jax.Array, factor: float) -> jax.Array:
    """Return scale · factor, computed in double precision and rounded once, as PyTorch does."""
    with jax.enable_x64(True):
        return (scale.astype(jnp.float64) * factor).astype(jnp.float32)


@dataclass(frozen=True)
class GradScaler:
    """Multiply the loss so that small gradients survive half precision; lower the factor when they overflow.

    A step whose gradients hold an infinity or NaN is skipped, and scale ← scale · backoff_factor. After
    `growth_interval` finite steps in a row, scale ← scale · growth_factor.

    Args:
        init_scale: first scale.
        growth_factor: above 1.
        backoff_factor: below 1.
        growth_interval: finite steps before the scale grows.
        enabled: False leaves losses, gradients and steps as they are.

    Raises:
        ValueError: `growth_factor` ≤ 1 or `backoff_factor` ≥ 1.

    Differs from PyTorch: no `device`; the state is a value that is passed in and out. `scaled` is its ``step`` and
    ``update`` around an optimiser.

    Source: https://docs.pytorch.org/docs/stable/amp.html#gradient-scaling
    """

    init_scale: float = 2.0**16
    growth_factor: float = 2.0
    backoff_factor: float = 0.5
    growth_interval: int = 2000
    enabled: bool = True

    def __post_init__(self) -> None:
        if not self.enabled:
            return
        if self.growth_factor <= 1.0:
            raise ValueError(f"GradScaler: growth_factor must be > 1, got {self.growth_factor}")
        if self.backoff_factor >= 1.0:
            raise ValueError(f"GradScaler: backoff_factor must be < 1, got {self.backoff_factor}")

    def init(self) -> GradScalerState:
        """Return the first state."""
        scale = self.init_scale if self.enabled else 1.0
        return GradScalerState(jnp.asarray(scale, jnp.float32), jnp.zeros((), jnp.int32))

    def scale(self, state: GradScalerState, outputs: Any) -> Any:
        """Return a loss, or a tree of them, times the scale; half precision becomes float32, which can hold it."""
        if not self.enabled:
            return outputs

        def times(x: jax.Array) -> jax.Array:
            dtype = jnp.float32 if jnp.ndim(x) == 0 and x.dtype.itemsize < 4 else x.dtype
            return x.astype(dtype) * state.scale.astype(dtype)

        return jax.tree.map(times, outputs)

    def unscale(self, state: GradScalerState, grads: Any) -> tuple[Any, jax.Array]:
        """Return the gradients divided by the scale, and whether any entry was infinite or NaN before.

        Raises:
            ValueError: gradients in float16: the parameters have to be in float32.
        """
        if not self.enabled:
            return grads, jnp.zeros((), bool)
        if any(leaf.dtype == jnp.float16 for leaf in jax.tree.leaves(grads)):
            raise ValueError(
                "GradScaler: grads must not be float16; keep parameters in float32 and cast them to compute"
            )
        finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads)]

        def divided(g: jax.Array) -> jax.Array:
            # PyTorch multiplies by the rounded inverse. From 2^127 on that is subnormal, which XLA takes for 0.
            scale = state.scale.astype(g.dtype)
            return jnp.where(state.scale < 2.0**126, g * (1.0 / state.scale).astype(g.dtype), g / scale)

        return jax.tree.map(divided, grads), ~jnp.stack(finite).all()

    def update(
        self, state: GradScalerState, found_inf: jax.Array, new_scale: ArrayLike | None = None
    ) -> GradScalerState:
        """Return the state after a step whose gradients overflowed or not; `new_scale` sets the scale instead."""
        if not self.enabled:
            return state
        if new_scale is not None:
            return state._replace(scale=jnp.asarray(new_scale, jnp.float32))
        tracker = state.growth_tracker + 1
        grown = _times(state.scale, self.growth_factor)
        grow = tracker == self.growth_interval
        larger = jnp.where(grow & jnp.isfinite(grown), grown, state.scale)
        return GradScalerState(
            jnp.where(found_inf, _times(state.scale, self.backoff_factor), larger),
            jnp.where(found_inf | grow, 0, tracker),
        )

    def state_dict(self, state: GradScalerState) -> dict[str, Any]:
        """Return what PyTorch's GradScaler loads; empty if not `enabled`."""
        if not self.enabled:
            return {}
        return {
            "scale": float(state.scale),
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": int(state.growth_tracker),
        }

    @staticmethod
    def from_state_dict(state_dict: Mapping[str, Any]) -> tuple[GradScaler, GradScalerState]:
        """Return the scaler and its state from PyTorch's ``state_dict()``.

        Raises:
            ValueError: it is empty, as a scaler's that is not enabled.
        """
        if not state_dict:
            raise ValueError("GradScaler: state_dict must not be empty; was it saved by a scaler with enabled=False?")
        options = {name: state_dict[name] for name in ("growth_factor", "backoff_factor", "growth_interval")}
        scaler = GradScaler(init_scale=state_dict["scale"], **options)
        return scaler, scaler.init()._replace(growth_tracker=jnp.asarray(state_dict["_growth_tracker"], jnp.int32))


def scaled(
    optimizer: optax.GradientTransformation, scaler: GradScaler | None = None
) -> optax.GradientTransformationExtraArgs:
    """Take the gradients of a scaled loss: unscale them, skip the step if they overflowed, and adapt the scale.

    ``grads`` are those of ``scaler.scale(state.scaler, loss)``. Where an entry is infinite or NaN, the updates are zero
    and the optimiser's state stays, inside ``jax.jit``.

    Args:
        optimizer: any optax transformation.
        scaler: None means ``GradScaler()``.

    Source: https://docs.pytorch.org/docs/stable/notes/amp_examples.html
    """
    inner, scaler = optax.with_extra_args_support(optimizer), scaler or GradScaler()

    def init(params: optax.Params) -> ScaledState:
        return ScaledState(inner.init(params), scaler.init(), jnp.zeros((), bool))

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None, **extra: Any
    ) -> tuple[Any, ScaledState]:
        grads, found_inf = scaler.unscale(state.scaler, updates)

        def take() -> tuple[Any, Any]:
            return inner.update(grads, state.optimizer, params, **extra)

        def skip() -> tuple[Any, Any]:
            return jax.tree.map(jnp.zeros_like, grads), state.optimizer

        steps, new = lax.cond(found_inf, skip, take)
        return steps, ScaledState(new, scaler.update(state.scaler, found_inf), found_inf)

    return optax.GradientTransformationExtraArgs(init, update)
