"""What a benchmark measures: tasks, precisions, frameworks."""

from __future__ import annotations

# A training step; an epoch from data in memory to new weights; the forward pass of a batch of 1 and of 256.
TASKS = ("step", "epoch", "infer-1", "infer-256")
# Of the computation; parameters are float32.
DTYPES = ("float32", "bfloat16")
FRAMEWORKS = ("jax", "torch", "torch-channels-last", "torch-compile", "torch-dataloader", "keras")
