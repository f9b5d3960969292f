"""``torch.optim.swa_utils``: averages of a model's weights over training, and the statistics that they need."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport.nn import Buffer, Module
from jaxport.nn.checks import index_dtype
from jaxport.nn.norm_running import BatchNorm

from .lr_scheduler.swa import SWALR as SWALR

AvgFn = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
MultiAvgFn = Callable[[Sequence[jax.Array], Sequence[jax.Array], jax.Array], Sequence[jax.Array]]
Tree = TypeVar("Tree")


def _check_decay(owner: str, decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"{owner}: decay must lie in [0, 1], got {decay!r}")


def _inexact(x: jax.Array) -> jax.Array:
    """Return integers (a count of batches) in float32, in which PyTorch averages them."""
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.float32)


def get_ema_avg_fn(decay: float = 0.999) -> AvgFn:
    """Return the exponential moving average of one array: average ← decay · average + (1 - decay) · current.

    Raises:
        ValueError: `decay` outside [0, 1].
    """
    _check_decay("get_ema_avg_fn", decay)

    def ema_update(ema_param: jax.Array, current_param: jax.Array, num_averaged: jax.Array) -> jax.Array:
        del num_averaged
        return decay * _inexact(ema_param) + (1 - decay) * _inexact(current_param)

    return ema_update


def get_swa_avg_fn() -> AvgFn:
    """Return the plain average of one array over all updates: average ← average + (current - average) / (n + 1)."""

    def swa_update(averaged_param: jax.Array, current_param: jax.Array, num_averaged: jax.Array) -> jax.Array:
        average, current = _inexact(averaged_param), _inexact(current_param)
        return average + (current - average) / (num_averaged + 1).astype(average.dtype)

    return swa_update


def _for_each(function: AvgFn) -> MultiAvgFn:
    def update(averaged: Sequence[jax.Array], current: Sequence[jax.Array], n: jax.Array) -> list[jax.Array]:
        return [function(average, value, n) for average, value in zip(averaged, current, strict=True)]

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAvgFn:
    """Return the exponential moving average of a list of arrays; see `get_ema_avg_fn`.

    Raises:
        ValueError: `decay` outside [0, 1].
    """
    _check_decay("get_ema_multi_avg_fn", decay)
    return _for_each(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> MultiAvgFn:
    """Return the plain average of a list of arrays; see `get_swa_avg_fn`.

    As in PyTorch the weight 1 / (n + 1) is a float32 number, for float64 arrays too.
    """

    def swa_update(averaged_param: jax.Array, current_param: jax.Array, num_averaged: jax.Array) -> jax.Array:
        average, current = _inexact(averaged_param), _inexact(current_param)
        weight = 1.0 / (num_averaged + 1).astype(jnp.float32)
        return average + weight.astype(average.dtype) * (current - average)

    return _for_each(swa_update)


def update_average(
    averaged: Tree,
    current: Tree,
    n_averaged: jax.Array,
    avg_fn: AvgFn | None = None,
    multi_avg_fn: MultiAvgFn | None = None,
) -> Tree:
    """Return the average of a tree of arrays after one more update: the pure core of `AveragedModel`.

    The first update (``n_averaged`` 0) takes the current values as they are. Count ``n_averaged`` up yourself.

    Args:
        averaged: average so far.
        current: the values to add, in the same structure.
        n_averaged: how many updates are in the average (an integer array).
        avg_fn: (average, current, n_averaged) → new average, of one array; None means `get_swa_avg_fn`.
        multi_avg_fn: the same on lists of arrays.

    Raises:
        ValueError: both functions were given.
    """
    if avg_fn is not None and multi_avg_fn is not None:
        raise ValueError("only one of avg_fn and multi_avg_fn may be given, got both")
    olds, tree = jax.tree.flatten(averaged)
    values = tree.flatten_up_to(current)
    news = (multi_avg_fn or _for_each(avg_fn or get_swa_avg_fn()))(olds, values, n_averaged)
    # Fractions of integers are cut off.
    chosen = [
        jnp.where(n_averaged == 0, value.astype(old.dtype), new.astype(old.dtype))
        for old, value, new in zip(olds, values, news, strict=True)
    ]
    return jax.tree.unflatten(tree, chosen)


class AveragedModel(Module):
    """A copy of a model whose parameters are an average over training.

    ``averaged.update_parameters(model)`` after each step or epoch; ``averaged(x)`` applies the averaged model. The
    first update copies the parameters. By default the average is the plain one (stochastic weight averaging).

    Args:
        model: what is averaged; it is copied.
        avg_fn: (average, current, n_averaged) → new average, of one array: `get_ema_avg_fn`, `get_swa_avg_fn`.
        multi_avg_fn: the same on lists of arrays, which it returns: `get_ema_multi_avg_fn`.
        use_buffers: whether buffers (running statistics) are averaged too; otherwise they are copied at each update.

    Attributes:
        module: the averaged model; its keys in the state_dict begin with ``module.``.
        n_averaged: updates so far.

    Raises:
        ValueError: both functions were given.

    Differs from PyTorch: no `device`; averaging functions return their result. In compiled code carry the arrays
    (``nnx.split``), or use `update_average` on the trees.

    Source: https://docs.pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema
    """

    def __init__(
        self,
        model: Module,
        avg_fn: AvgFn | None = None,
        multi_avg_fn: MultiAvgFn | None = None,
        use_buffers: bool = False,
    ) -> None:
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: only one of avg_fn and multi_avg_fn may be given, got both")
        self.module = copy.deepcopy(model)
        self.n_averaged = Buffer(jnp.zeros((), index_dtype()))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the averaged model."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Add the model's parameters to the average, in place."""
        mine, theirs = list(self.module.parameters()), list(model.parameters())
        my_buffers, their_buffers = list(self.module.buffers()), list(model.buffers())
        if self.use_buffers:
            mine, theirs = [*mine, *my_buffers], [*theirs, *their_buffers]
        else:
            for mine_b, theirs_b in zip(my_buffers, their_buffers, strict=True):
                mine_b.set_value(theirs_b[...].astype(mine_b.dtype))
        averaged, current = ([variable[...] for variable in variables] for variables in (mine, theirs))
        news = update_average(averaged, current, self.n_averaged[...], self.avg_fn, self.multi_avg_fn)
        for variable, value in zip(mine, news, strict=True):
            variable.set_value(value)
        self.n_averaged.set_value(self.n_averaged[...] + 1)


def update_bn(loader: Iterable[Any], model: Module) -> None:
    """Compute the running statistics of every BatchNorm anew, as plain averages over the batches of `loader`, in place.

    An averaged model needs it before evaluation: its statistics were never seen in training.

    Args:
        loader: batches of inputs, or tuples or lists whose first is the inputs.
        model: any module; without BatchNorm nothing happens.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.swa_utils.update_bn.html
    """
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    if not norms:
        return
    momenta, training = [norm.momentum for norm in norms], model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    graph, arrays = nnx.split(model)

    @jax.jit
    def forward(arrays: Any, inputs: jax.Array) -> Any:
        module = nnx.merge(graph, arrays, copy=True)
        module(inputs)
        return nnx.split(module)[1]

    try:
        for batch in loader:
            arrays = forward(arrays, jnp.asarray(batch[0] if isinstance(batch, (list, tuple)) else batch))
        nnx.update(model, arrays)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)
