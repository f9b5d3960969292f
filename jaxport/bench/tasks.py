"""What a benchmark measures: tasks, precisions, frameworks."""

from __future__ import annotations

import importlib.util

# A training step; an epoch from data in memory to new weights; the forward pass of a batch of 1 and of 256.
TASKS = ("step", "epoch", "infer-1", "infer-256")
# Of the computation; parameters are float32.
DTYPES = ("float32", "bfloat16")
FRAMEWORKS = ("jax", "torch", "torch-channels-last", "torch-compile", "torch-dataloader", "keras")


def does_not_apply(framework: str, task: str) -> str | None:
    """Say why a framework has nothing to do in a task, or return None."""
    if framework == "torch-dataloader" and task != "epoch":
        return "a DataLoader is part of whole epochs alone"
    if framework == "keras" and not (importlib.util.find_spec("keras") and _has_keras_side()):
        return "Keras is not installed: pip install keras"
    return None


def _has_keras_side() -> bool:
    return importlib.util.find_spec(f"{__package__}.keras_side") is not None
