r"""Losses of distributions: kl_div, poisson_nll_loss, gaussian_nll_loss and their modules.

Every function takes ``where``, which examples count; see the docstring of ``jaxport.nn.loss``.
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy

from .checks import Reduction, is_concrete, reduction_name, same_dtype
from .kinks import at_least
from .loss_reduce import Loss, broadcast, floating, floating_target, keep, mask_like, matching_pair, reduce_loss
from .module import Module

KLReduction = Literal["none", "mean", "sum", "batchmean"]


def _kl_reduction(owner: str, value: KLReduction) -> KLReduction:
    if value not in ("none", "mean", "sum", "batchmean"):
        raise ValueError(f"{owner}: reduction must be 'none', 'mean', 'sum' or 'batchmean', got {value!r}")
    return value


def kl_div(
    input: jax.Array,
    target: jax.Array,
    reduction: KLReduction = "mean",
    log_target: bool = False,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Kullback-Leibler divergence of x = log q from p, pointwise: p·(log p - x), where 0·log 0 = 0.

    Args:
        input: x, log-probabilities, any shape.
        target: p, probabilities of the same shape, or log p if `log_target`.
        reduction: 'none'; 'sum'; 'batchmean', the sum over the size of the first axis, which is the divergence as it
            is defined; 'mean', the sum over the number of elements, which is not.
        log_target: whether `target` is given as logarithms.
        where: which examples count; 'batchmean' divides by the rows that keep anything.

    Raises:
        ValueError: shapes differ, or an unknown `reduction`.
        TypeError: dtypes differ or are not floating.

    Differs from PyTorch: no warning about 'mean', and a target of another shape is an error (there it is broadcast).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.kl_div.html
    """
    _kl_reduction("kl_div", reduction)
    input, target = matching_pair("kl_div", input, target, where)
    values = jnp.exp(target) * (target - input) if log_target else xlogy(target, target) - target * input
    if reduction != "batchmean":
        return reduce_loss(values, reduction, where, "kl_div")
    total = reduce_loss(values, "sum", where, "kl_div")
    return total if input.ndim == 0 else total / _rows(values, where)


def _rows(values: jax.Array, where: jax.Array | None) -> jax.Array | int:
    mask = mask_like(where, values.shape, "kl_div")
    if mask is None:
        return values.shape[0]
    return mask.reshape(mask.shape[0], -1).any(1).sum().astype(values.dtype)


def poisson_nll_loss(
    input: jax.Array,
    target: jax.Array,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: Reduction = "mean",
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Negative log-likelihood of counts y under a Poisson distribution, without log y!.

    exp(x) - y·x where x is the logarithm of the rate, else x - y·log(x + ε); with `full` also Stirling's
    y·log y - y + ½·log(2π·y), the approximation of log y!, where y > 1.

    Args:
        input: x, any shape.
        target: y, the same shape; integers are taken as they are.
        log_input: whether `input` is the logarithm of the rate.
        full: whether to add Stirling's term.
        eps: ε, keeps the logarithm of a rate finite.
        reduction: 'none', 'mean' or 'sum'.
        where: which examples count.

    Raises:
        ValueError: shapes differ, or an unknown `reduction`.
        TypeError: dtypes differ.

    Differs from PyTorch: a target of another shape is an error (there it is broadcast); with `full`, the gradient of
    a target ≤ 0 is that of the loss, which has no Stirling term there (PyTorch's is NaN).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.poisson_nll_loss.html
    """
    target = floating_target("poisson_nll_loss", input, target)
    input, target = matching_pair("poisson_nll_loss", input, target, where)
    values = jnp.exp(input) - target * input if log_input else input - target * jnp.log(input + eps)
    if full:
        values = values + _stirling(target)
    return reduce_loss(values, reduction, where, "poisson_nll_loss")


def _stirling(count: jax.Array) -> jax.Array:
    small = count <= 1
    # Where it is not used, a count of 1 keeps the logarithm's gradient finite.
    n = jnp.where(small, jnp.ones_like(count), count)
    return jnp.where(small, jnp.zeros_like(n), n * jnp.log(n) - n + 0.5 * jnp.log(2.0 * math.pi * n))


def gaussian_nll_loss(
    input: jax.Array,
    target: jax.Array,
    var: jax.Array | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Negative log-likelihood of y under a normal distribution: ½·(log v + (x - y)²/v), with v = max(var, ε).

    The bound ε does not stop the gradient of `var`: it is the formula's, at v.

    Args:
        input: x, the mean (…, D).
        target: y, broadcast with `input`.
        var: variances ≥ 0 of the shape of `input`; or with one of its axes of size 1; or without its last axis; or
            one number for all. Negative ones give NaN under jit.
        full: whether to add the constant ½·log 2π.
        eps: ε, the least variance.
        reduction: 'none', 'mean' or 'sum'.
        where: which examples count.

    Raises:
        ValueError: shapes do not fit, a negative variance, or an unknown `reduction`.
        TypeError: dtypes differ.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gaussian_nll_loss.html
    """
    owner = "gaussian_nll_loss"
    target = floating_target(owner, input, target)
    variance = _variance(input, var)
    same_dtype(owner, input=input, var=variance)
    floating(owner, input=input)
    input, target, variance = broadcast(owner, input=input, target=target, var=variance)
    input, target, variance = keep(owner, where, input, target, variance)
    if is_concrete(variance) and (np.asarray(variance) < 0).any():
        raise ValueError(f"{owner}: var must not be negative, got {np.nanmin(np.asarray(variance))}")
    variance = at_least(jnp.where(variance < 0, jnp.full_like(variance, jnp.nan), variance), eps)
    values = 0.5 * (jnp.log(variance) + jnp.square(input - target) / variance)
    if full:
        values = values + 0.5 * math.log(2.0 * math.pi)
    return reduce_loss(values, reduction, where, owner)


def _variance(input: jax.Array, var: jax.Array | float) -> jax.Array:
    """Bring `var` to as many axes as `input`."""
    if isinstance(var, (int, float)):
        return jnp.full_like(input, var)
    if var.shape == input.shape:
        return var
    if var.shape == input.shape[:-1]:
        return var[..., None]
    differing = [n for n, m in zip(var.shape, input.shape, strict=False) if n != m]
    if var.ndim == input.ndim and differing == [1]:
        return var
    raise ValueError(
        f"gaussian_nll_loss: var must have the shape of input, {input.shape}, this without the last axis or with one "
        f"axis of size 1, got {var.shape}"
    )


class KLDivLoss(Module):
    """Kullback-Leibler divergence; see `kl_div`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html
    """

    def __init__(self, reduction: KLReduction = "mean", log_target: bool = False) -> None:
        self.reduction: KLReduction = _kl_reduction("KLDivLoss", reduction)
        self.log_target = log_target

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the divergence of log-probabilities `input` from `target`."""
        return kl_div(input, target, self.reduction, self.log_target, where=where)


class PoissonNLLLoss(Loss):
    """Negative log-likelihood of counts; see `poisson_nll_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.PoissonNLLLoss.html
    """

    def __init__(
        self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: Reduction = "mean"
    ) -> None:
        self.log_input = log_input
        self.full = full
        self.eps = eps
        self.reduction = reduction_name("PoissonNLLLoss", reduction)

    def forward(self, log_input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of rates, or of their logarithms, against counts."""
        return poisson_nll_loss(log_input, target, self.log_input, self.full, self.eps, self.reduction, where=where)


class GaussianNLLLoss(Loss):
    """Negative log-likelihood under a normal distribution; see `gaussian_nll_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GaussianNLLLoss.html
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: Reduction = "mean") -> None:
        self.full = full
        self.eps = eps
        self.reduction = reduction_name("GaussianNLLLoss", reduction)

    def forward(
        self, input: jax.Array, target: jax.Array, var: jax.Array | float, *, where: jax.Array | None = None
    ) -> jax.Array:
        """Return the loss of means `input` and variances `var` against `target`."""
        return gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction, where=where)
