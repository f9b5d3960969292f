"""Masks: the dropouts of a training step, the same on both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from jaxport.errors import UsageError

from .observe_torch import _Dropout
from .recorder import dropout_rate, values_of
from .views import find_axes


class Masks:
    """The dropout masks of one step: drawn by the first model that steps, replayed by the others."""

    def __init__(self, rng: np.random.Generator, in_jax: Callable[[np.ndarray], np.ndarray] = np.asarray) -> None:
        self.rng, self.in_jax = rng, in_jax
        self.drawn: list[np.ndarray] = []

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Let PyTorch's model draw."""
        self.drawn = []

        def draw(x: torch.Tensor, p: float) -> np.ndarray:
            self.drawn.append(self.rng.random(tuple(x.shape)) >= p)
            return self.drawn[-1]

        with _Dropout(draw):
            yield

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """Give PyTorch's model the masks that were drawn."""
        rest = iter(self.drawn)
        with _Dropout(lambda x, p: next(rest)):
            yield

    @contextmanager
    def replaying_in_jax(self) -> Iterator[None]:
        """Give every dropout layer of Flax and Equinox its mask: by number, fetched when the step runs."""
        classes: list[type] = [nnx.Dropout, flax.linen.Dropout, *_equinox_dropout()]
        originals = [(cls, cls.__call__) for cls in classes]
        number = 0

        def replaced(cls: type, original: Any) -> Any:
            def __call__(layer: Any, *args: Any, **kwargs: Any) -> Any:
                nonlocal number
                rate = dropout_rate(layer, args, kwargs, True)
                if not rate or not self.drawn:
                    return original.__get__(layer, cls)(*args, **kwargs)
                x = values_of((args, kwargs))[0]
                mine, number = number % len(self.drawn), number + 1
                axes = find_axes(x.shape, self.drawn[mine].shape)
                if axes is None:
                    raise UsageError(f"dropout: shape {x.shape}, PyTorch's number {mine} has {self.drawn[mine].shape}")
                shape = jax.ShapeDtypeStruct(x.shape, jnp.bool_)
                mask = jax.pure_callback(
                    lambda _: np.transpose(self.in_jax(self.drawn[mine]), axes), shape, jnp.zeros(())
                )
                return x * (mask.astype(x.dtype) / (1.0 - rate))

            return __call__

        try:
            for cls, original in originals:
                cls.__call__ = replaced(cls, original)  # type: ignore[method-assign]
            yield
        finally:
            for cls, original in originals:
                cls.__call__ = original  # type: ignore[method-assign]


def _equinox_dropout() -> list[type]:
    import sys

    equinox = sys.modules.get("equinox")
    return [equinox.nn.Dropout] if equinox is not None else []
