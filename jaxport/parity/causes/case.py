"""Case: everything that is known of one tensor that differs, for the tests of its likely causes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxport.parity.layer import Layer

Input = np.ndarray | tuple[np.ndarray, ...] | None


@dataclass(frozen=True)
class Case:
    """One tensor on which the two sides differ, with what surrounds it. Only the first three fields are needed.

    Attributes:
        kind: as in `Tensor.kind`: "output", "input", "loss", "gradient", "input_gradient", "activation_gradient",
            "parameter", "buffer" or "optimizer".
        ours: JAX's array, in PyTorch's axes where an order of axes fits, else as it is.
        theirs: PyTorch's array.
        jax: the layer that made it, or whose array it is.
        torch: the same in PyTorch; of a loss, the loss module.
        name: the array's name in its PyTorch layer, for parameters, buffers and their gradients: ``running_var``.
        input: the layer's input that was recorded in PyTorch; a tuple where it has several. For gradients of inputs
            and activations, the value that the gradient belongs to. For a loss, PyTorch's prediction.
        keywords: arrays given to the layer by name: ``key_padding_mask``.
        arrays: PyTorch's weights and buffers of the layer, before the step.
        ours_arrays: JAX's weights of the layer by PyTorch's names and in its layouts, where they are known.
        before: the last tensor in front of this one on which both sides agree.
        between: the parameterless PyTorch modules between that tensor and this one, in order of execution.
        training: whether both ran in training mode.
        batch: number of examples.
        target: what a loss compares the prediction with.
        cotangent: the gradient of the layer's output, for gradients.
        step: number of the training step, from 1.
        learning_rate: of that step.
        previous: PyTorch's value of a parameter or buffer before the step.
        gradient: PyTorch's gradient of a parameter in that step.
        state: PyTorch's optimiser tensors of that parameter before the step, by name.
        optimizer: PyTorch's optimiser settings: ``{"name": "Adam", "betas": (0.9, 0.999), …}``.
        gradients_norm: norm of all gradients of the step together, for clipping.
    """

    kind: str
    ours: np.ndarray
    theirs: np.ndarray
    jax: Layer | None = None
    torch: Layer | None = None
    name: str = ""
    input: Input = None
    keywords: Mapping[str, np.ndarray] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    ours_arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    before: np.ndarray | None = None
    between: tuple[Layer, ...] = ()
    training: bool = False
    batch: int | None = None
    target: np.ndarray | None = None
    cotangent: np.ndarray | None = None
    step: int | None = None
    learning_rate: float | None = None
    previous: np.ndarray | None = None
    gradient: np.ndarray | None = None
    state: Mapping[str, np.ndarray] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    gradients_norm: float | None = None

    @property
    def first_input(self) -> np.ndarray | None:
        """The layer's input, the first of several."""
        return self.input[0] if isinstance(self.input, tuple) and self.input else self.input  # type: ignore[return-value]

    def setting(self, *names: str) -> Any:
        """Return the JAX layer's setting of the first of these names that it has, None if it has none."""
        settings = self.jax.settings if self.jax else {}
        return next((settings[name] for name in names if name in settings), None)


@dataclass(frozen=True)
class Hit:
    """A hypothesis that gives the numbers.

    Attributes:
        rule: id of the finding.
        message: one sentence: what JAX's side does in place of what PyTorch's does.
        fix: what to write instead; "" takes the trap's.
        error: what remains, over the largest magnitude.
        rank: 0 if the layer was computed again under the hypothesis, 1 if the numbers alone show it, 2 if they
            suggest it.
    """

    rule: str
    message: str
    fix: str = ""
    error: float = 0.0
    rank: int = 0


Test = Callable[[Case], list[Hit]]
"""A test of some causes: those that fit the case."""
