"""What a comparison needs of the PyTorch side: a model that can be run, or what was recorded of one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from .layer import Layers
from .seen import Pass, Store


class Reference(Protocol):
    """PyTorch's model in one precision.

    Attributes:
        hidden: functions inside which it draws a dropout that cannot be replayed.
        draws: whether it can be run again from other numbers, to see more of its rounding.
    """

    hidden: list[str]
    draws: bool

    def layers(self) -> Layers:
        """Return what is known of its modules, with the state as it is."""
        ...

    def state(self, copied: bool = True) -> dict[str, np.ndarray]:
        """Return its state dict; what is not copied changes with the model."""
        ...

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Fill parameters and buffers."""
        ...

    def draw_masks(self, inputs: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """Return the dropouts' masks for a pass in training mode."""
        ...

    def draw_cotangents(
        self, inputs: Sequence[np.ndarray], training: bool, rng: np.random.Generator
    ) -> list[np.ndarray] | None:
        """Return what the outputs are multiplied with for the gradients; None if there are none."""
        ...

    def output_shapes(
        self, inputs: Sequence[np.ndarray], watch: Collection[str] = (), store: Store | None = None
    ) -> list[tuple[int, ...]]:
        """Return the shapes of its outputs in evaluation mode; `run` may go back to what was watched."""
        ...

    def flattened(self, inputs: Sequence[np.ndarray]) -> Mapping[str, tuple[int, ...]]:
        """Return the layers behind a flatten: path → (C, *spatial)."""
        ...

    def run(
        self,
        inputs: Sequence[np.ndarray],
        training: bool,
        *,
        watch: Collection[str] = (),
        masks: Sequence[np.ndarray] = (),
        cotangents: Sequence[np.ndarray] | None = None,
        store: Store | None = None,
    ) -> Pass:
        """Run one pass."""
        ...
