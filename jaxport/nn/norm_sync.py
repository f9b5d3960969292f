"""SyncBatchNorm: batch statistics over the devices of a mapped axis."""

from __future__ import annotations

from typing import Any

import jax
from jax.typing import DTypeLike

from .module import Module
from .norm_batch import AxisName
from .norm_running import BatchNorm


class SyncBatchNorm(BatchNorm):
    """BatchNorm of (N, C, *) whose batch is what lies on all devices.

    Under ``jax.jit`` with sharded arrays every BatchNorm sees the whole batch already, and `axis_name` stays None.
    Inside ``jax.shard_map``, ``jax.pmap`` or ``jax.vmap``, give the name of the mapped axis (or several): sums and
    then squared differences from the common mean are added over it, so that the statistics are those of the joined
    batch exactly, the unbiased variance included.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the new value; None keeps the plain average over all batches.
        affine: whether there are `weight` (ones at first) and `bias` (zeros), both of shape (C,).
        track_running_stats: whether there are running statistics; without them every pass uses the batch's.
        process_group: None; JAX has mapped axes instead.
        dtype: of parameters and statistics; None means float32.
        bias: whether there is a bias.
        axis_name: the mapped axis while training; None when there is none.

    Raises:
        ValueError: a `process_group`, fewer than 2 dimensions, no channels, or one value per channel while training.

    Differs from PyTorch: with `axis_name`, evaluation without running statistics takes them over the axis as well.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        dtype: DTypeLike | None = None,
        *,
        bias: bool = True,
        axis_name: AxisName | None = None,
    ) -> None:
        _no_process_group(process_group)
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias=bias)
        self.process_group = process_group
        self.axis_name = axis_name

    def _check_input_dim(self, input: jax.Array) -> None:
        if input.ndim < 2:
            raise ValueError(f"SyncBatchNorm: input must have at least 2 dimensions, got shape {input.shape}")
        if input.shape[1] == 0:
            raise ValueError(f"SyncBatchNorm: input must have channels, got shape {input.shape}")

    @classmethod
    def convert_sync_batchnorm(
        cls, module: Module, process_group: Any = None, *, axis_name: AxisName | None = None
    ) -> Module:
        """Replace every BatchNorm below `module` by a SyncBatchNorm with the same parameters and statistics.

        Args:
            module: changed in place, unless it is a BatchNorm itself.
            process_group: None; JAX has mapped axes instead.
            axis_name: the mapped axis of the new layers.

        Returns:
            `module`, or the SyncBatchNorm that stands for it.
        """
        _no_process_group(process_group)
        if isinstance(module, BatchNorm):
            return _synchronised(module, axis_name)
        for name, child in list(module.named_children()):
            converted = cls.convert_sync_batchnorm(child, axis_name=axis_name)
            if converted is not child:
                setattr(module, name, converted)
        return module


def _no_process_group(process_group: Any) -> None:
    if process_group is not None:
        raise ValueError(f"SyncBatchNorm: process_group must be None; give axis_name instead, got {process_group!r}")


def _synchronised(module: BatchNorm, axis_name: AxisName | None) -> SyncBatchNorm:
    """Return a SyncBatchNorm that shares the variables of `module`."""
    settings = (module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
    new = SyncBatchNorm(*settings, bias=module.bias is not None, axis_name=axis_name)
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(new, name, getattr(module, name))
    new.training = module.training
    return new
