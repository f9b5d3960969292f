"""The layers with running statistics: BatchNorm1d, 2d, 3d and InstanceNorm1d, 2d, 3d."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from .checks import index_dtype
from .module import Buffer
from .norm_batch import AxisName, batch_norm_with_stats
from .norm_core import AffineModule
from .norm_instance import instance_norm_with_stats


class RunningNorm(AffineModule):
    """What BatchNorm and InstanceNorm share: parameters, running statistics and the checks of dimensions."""

    axis_name: AxisName | None = None
    _dims: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DTypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        if isinstance(num_features, bool) or not isinstance(num_features, int) or num_features < 0:
            raise ValueError(f"{type(self).__name__}: num_features must be an integer >= 0, got {num_features!r}")
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.set_parameters((num_features,), affine, bias, dtype)
        dtype = jnp.float32 if dtype is None else dtype
        self.running_mean = Buffer(jnp.zeros((num_features,), dtype)) if track_running_stats else None
        self.running_var = Buffer(jnp.ones((num_features,), dtype)) if track_running_stats else None
        self.num_batches_tracked = Buffer(jnp.zeros((), index_dtype())) if track_running_stats else None

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the count of batches to 0."""
        for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if buffer is not None:
                buffer.set_value(jnp.full(buffer.shape, value, buffer.dtype))

    def reset_parameters(self) -> None:
        """Set weight, bias and running statistics to their initial values."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check_input_dim(self, input: jax.Array) -> None:
        if input.ndim not in self._dims:
            wanted = " or ".join(map(str, self._dims))
            raise ValueError(f"{type(self).__name__}: input must have {wanted} dimensions, got shape {input.shape}")

    def _running(self) -> tuple[jax.Array | None, jax.Array | None]:
        mean, var = self.running_mean, self.running_var
        return None if mean is None else mean[...], None if var is None else var[...]

    def _store(self, mean: jax.Array | None, var: jax.Array | None) -> None:
        for buffer, value in ((self.running_mean, mean), (self.running_var, var)):
            if buffer is not None and value is not None:
                buffer.set_value(value)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm(RunningNorm):
    """The forward pass of BatchNorm1d, 2d, 3d and SyncBatchNorm."""

    def _factor(self) -> Any:
        """Count the batch and return its weight: momentum, or for None 1 / number of batches (the plain average)."""
        if self.num_batches_tracked is None:
            return 0.0 if self.momentum is None else self.momentum
        count = self.num_batches_tracked[...] + 1
        self.num_batches_tracked.set_value(count)
        return 1.0 / count.astype(jnp.result_type(float)) if self.momentum is None else self.momentum

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input normalised, in its own shape; while training, update the running statistics."""
        self._check_input_dim(input)
        tracked = self.training and self.track_running_stats
        running = self._running() if tracked or not self.training else (None, None)
        batch = self.training or (running[0] is None and running[1] is None)
        factor = self._factor() if tracked else 0.0
        output, *new = batch_norm_with_stats(
            input, *running, *self.parameter_values(), batch, factor, self.eps, axis_name=self.axis_name
        )
        if tracked:
            self._store(*new)
        return output


class BatchNorm1d(BatchNorm):
    """Normalise each channel of (N, C) or (N, C, L) over the batch; see `jaxport.nn.functional.batch_norm`.

    y = (x - mean) / √(var + eps) · weight + bias, with the batch's mean and biased variance while training and the
    running ones in evaluation. The running ones move by `momentum`, the weight of the new value, towards the batch's
    mean and unbiased variance.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the new value; None keeps the plain average over all batches.
        affine: whether there are `weight` (ones at first) and `bias` (zeros), both of shape (C,).
        track_running_stats: whether there are running statistics; without them every pass uses the batch's.
        dtype: of parameters and statistics; None means float32.
        bias: whether there is a bias.

    The running statistics are `Buffer` variables, updated in place as in PyTorch. Under ``jax.jit``, pass the module's
    arrays in and out: ``graph, params, rest = nnx.split(model, nn.Parameter, ...)`` outside,
    ``model = nnx.merge(graph, params, rest, copy=True)`` inside, and return ``nnx.split(model, nn.Parameter, ...)[2]``,
    as jaxport's engine does. A module passed to ``jax.jit`` itself is copied, and its updates are lost silently.

    Raises:
        ValueError: an input of other dimensions, or one value per channel while training.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html
    """

    _dims = (2, 3)


class BatchNorm2d(BatchNorm):
    """Normalise each channel of (N, C, H, W) over the batch; see `BatchNorm1d` for the formula and the options.

    Raises:
        ValueError: an input of other dimensions, or one value per channel while training.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
    """

    _dims = (4,)


class BatchNorm3d(BatchNorm):
    """Normalise each channel of (N, C, D, H, W) over the batch; see `BatchNorm1d` for the formula and the options.

    Raises:
        ValueError: an input of other dimensions, or one value per channel while training.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm3d.html
    """

    _dims = (5,)


class InstanceNorm(RunningNorm):
    """The forward pass of InstanceNorm1d, 2d and 3d; the smaller of `_dims` is that of an input without batch."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: DTypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias=bias)

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input normalised, in its own shape; while training, update the running statistics if tracked."""
        self._check_input_dim(input)
        batched = input.ndim != self._dims[0]
        if input.shape[batched] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: input must have num_features {self.num_features} channels on axis "
                f"{int(batched)}, got shape {input.shape}"
            )
        own = self.training or not self.track_running_stats
        x = input if batched else input[None]
        momentum = 0.0 if self.momentum is None else self.momentum
        output, *new = instance_norm_with_stats(x, *self._running(), *self.parameter_values(), own, momentum, self.eps)
        if own:
            self._store(*new)
        return output if batched else output[0]


class InstanceNorm1d(InstanceNorm):
    """Normalise each channel of each example of (N, C, L) or (C, L); see `jaxport.nn.functional.instance_norm`.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the new value in the running statistics; None leaves them as they are.
        affine: whether there are `weight` (ones at first) and `bias` (zeros), both of shape (C,).
        track_running_stats: whether evaluation uses running statistics, which training then updates.
        dtype: of parameters and statistics; None means float32.
        bias: whether there is a bias, if `affine`.

    `num_batches_tracked` stays 0, as in PyTorch.

    Raises:
        ValueError: an input of other dimensions or channels, or one element per channel.

    Differs from PyTorch: another number of channels is an error also when ``affine=False`` (PyTorch warns).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm1d.html
    """

    _dims = (2, 3)


class InstanceNorm2d(InstanceNorm):
    """Normalise each channel of each example of (N, C, H, W) or (C, H, W); see `InstanceNorm1d`.

    Raises:
        ValueError: an input of other dimensions or channels, or one element per channel.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm2d.html
    """

    _dims = (3, 4)


class InstanceNorm3d(InstanceNorm):
    """Normalise each channel of each example of (N, C, D, H, W) or (C, D, H, W); see `InstanceNorm1d`.

    Raises:
        ValueError: an input of other dimensions or channels, or one element per channel.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm3d.html
    """

    _dims = (4, 5)
