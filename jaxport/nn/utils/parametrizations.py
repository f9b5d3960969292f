"""Ready parametrisations: weight_norm, spectral_norm, orthogonal."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxport.nn.checks import positive_int
from jaxport.nn.init_draw import draw_normal
from jaxport.nn.module import Buffer, Module, fresh_rngs

from . import algebra
from .parametrize import register_parametrization


def _weight(owner: str, module: Module, name: str) -> Any:
    weight = getattr(module, name, None)
    if not hasattr(weight, "shape"):
        raise ValueError(f"{owner}: {type(module).__name__} has no parameter or buffer {name!r}")
    return weight


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: jax.Array, weight_v: jax.Array) -> jax.Array:
        return algebra.weight_norm(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        return algebra.norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train length and direction of a weight apart: w = g · v / ‖v‖, one length for each index of axis `dim`.

    g is ``parametrizations.<name>.original0`` and v ``original1``. `dim` None means one length for all.

    Raises:
        ValueError: there is no such parameter.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.weight_norm.html
    """
    _weight("weight_norm", module, name)
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    def __init__(self, weight: jax.Array, n_power_iterations: int, dim: int, eps: float, rngs: nnx.Rngs) -> None:
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(f"spectral_norm: dim must lie in [{-weight.ndim}, {weight.ndim - 1}], got {dim}")
        positive_int("spectral_norm", "n_power_iterations", n_power_iterations)
        self.dim = dim % weight.ndim
        self.eps = eps
        if weight.ndim == 1:
            return
        self.n_power_iterations = n_power_iterations
        matrix = algebra.as_matrix(weight, self.dim)
        u, v = (draw_normal(rngs.params(), (n,), weight.dtype) for n in matrix.shape)
        u, v = algebra.power_iterations(matrix, u, algebra.normalize(v, eps), 15, eps, u_first=True)
        self._u, self._v = Buffer(u), Buffer(v)

    def forward(self, weight: jax.Array) -> jax.Array:
        if weight.ndim == 1:
            return algebra.normalize(weight, self.eps)
        u, v = self._u[...], self._v[...]
        if self.training:
            matrix = algebra.as_matrix(weight, self.dim)
            u, v = algebra.power_iterations(matrix, u, v, self.n_power_iterations, self.eps, u_first=True)
            self._u.set_value(u)
            self._v.set_value(v)
        return algebra.spectral_norm(weight, u, v, self.dim)

    def right_inverse(self, value: jax.Array) -> jax.Array:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
    *,
    rngs: nnx.Rngs | int,
) -> Module:
    """Divide a weight by its largest singular value: w = W / σ, σ = uᵀ W v.

    u and v are buffers, improved by `n_power_iterations` power iterations each time the weight is read in training.

    Args:
        module: changed in place and returned.
        name: of the parameter.
        n_power_iterations: each time.
        eps: the least norm to divide by.
        dim: axis of the weight's outputs; None means 1 for transposed convolutions and 0 otherwise.
        rngs: for the first u and v (stream ``params``).

    Raises:
        ValueError: there is no such parameter, or `n_power_iterations` is not positive.
        IndexError: `dim` is not an axis of the weight.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.spectral_norm.html
    """
    weight = _weight("spectral_norm", module, name)[...]
    dim = algebra.default_dim(module) if dim is None else dim
    made = _SpectralNorm(weight, n_power_iterations, dim, eps, fresh_rngs(rngs, "spectral_norm"))
    return register_parametrization(module, name, made)


def _reflections(a: jax.Array, tau: jax.Array) -> jax.Array:
    """Return the first k columns of H₁ … H_k, H_i = 1 - τ_i v_i v_iᵀ, where v_i is column i of `a` below a 1."""
    n, k = a.shape[-2:]
    vectors = jnp.tril(a, -1) + jnp.eye(n, k, dtype=a.dtype)

    def reflect(q: jax.Array, column: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        v, t = column
        return q - t[..., None, None] * v[..., :, None] * algebra.product(v[..., None, :], q), None

    start = jnp.broadcast_to(jnp.eye(n, k, dtype=a.dtype), a.shape)
    columns = jnp.moveaxis(vectors, -1, 0), jnp.moveaxis(tau, -1, 0)
    return lax.scan(reflect, start, columns, reverse=True)[0]


def _diagonal(x: jax.Array) -> jax.Array:
    return jnp.diagonal(x, axis1=-2, axis2=-1)


def _make_orthogonal(a: jax.Array) -> jax.Array:
    q, r = jnp.linalg.qr(a)
    return q * jnp.sign(_diagonal(r))[..., None, :]


class _Orthogonal(Module):
    def __init__(self, weight: jax.Array, orthogonal_map: str, use_trivialization: bool, rngs: nnx.Rngs | None) -> None:
        self.shape = tuple(weight.shape)
        self.orthogonal_map = orthogonal_map
        self.base = self._base_of(weight, rngs) if use_trivialization and rngs is not None else None

    def _base_of(self, weight: jax.Array, rngs: nnx.Rngs) -> Buffer:
        """Return the orthogonal matrix that the parametrisation starts from: that of the weight, completed."""
        tall = weight.mT if weight.shape[-2] < weight.shape[-1] else weight
        n, k = tall.shape[-2:]
        if n == k:
            error = jnp.abs(algebra.product(tall.mT, tall) - jnp.eye(k, dtype=tall.dtype)).max()
            orthogonal = bool(error <= 10.0 * n * jnp.finfo(tall.dtype).eps + 1e-5)
            return Buffer(tall if orthogonal else _make_orthogonal(tall))
        more = draw_normal(rngs.params(), (*tall.shape[:-1], n - k), tall.dtype)
        return Buffer(_make_orthogonal(jnp.concatenate([tall, more], axis=-1)))

    def forward(self, x: jax.Array) -> jax.Array:
        wide = x.shape[-2] < x.shape[-1]
        x = x.mT if wide else x
        q = self._reflected(x) if self.orthogonal_map == "householder" else self._rotated(x)
        if self.base is not None:
            q = algebra.product(lax.stop_gradient(self.base[...]), q)
        return q.mT if wide else q

    def _reflected(self, x: jax.Array) -> jax.Array:
        a = jnp.tril(x, -1)
        q = _reflections(a, 2.0 / (1.0 + jnp.square(a).sum(-2)))
        return q * lax.stop_gradient(jnp.trunc(_diagonal(x)))[..., None, :]

    def _rotated(self, x: jax.Array) -> jax.Array:
        n, k = x.shape[-2:]
        x = jnp.tril(jnp.concatenate([jnp.tril(x), jnp.zeros((*x.shape[:-1], n - k), x.dtype)], axis=-1))
        a = x - x.mT
        if self.orthogonal_map == "matrix_exp":
            return jax.scipy.linalg.expm(a)[..., :k]
        identity = jnp.broadcast_to(jnp.eye(n, dtype=a.dtype), a.shape)
        return jnp.linalg.solve(identity - 0.5 * a, identity + 0.5 * a)[..., :k]

    def right_inverse(self, value: jax.Array) -> jax.Array:
        if value.shape != self.shape:
            raise ValueError(f"orthogonal: the value must have shape {self.shape}, got {value.shape}")
        if self.base is not None:
            return jnp.broadcast_to(-jnp.eye(*value.shape[-2:], dtype=value.dtype), value.shape)
        if self.orthogonal_map != "householder":
            raise NotImplementedError("orthogonal: only householder can be assigned to when use_trivialization=False")
        wide = value.shape[-2] < value.shape[-1]
        h, tau = jnp.linalg.qr(value.mT if wide else value, mode="raw")
        a = h.mT
        sign = jnp.sign(_diagonal(a)) * jnp.where(tau == 0.0, -jnp.ones_like(tau), jnp.ones_like(tau))
        a = jnp.where(jnp.eye(*a.shape[-2:], dtype=bool), sign[..., None, :], a)
        return a.mT if wide else a


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
    rngs: nnx.Rngs | int | None = None,
) -> Module:
    """Keep a weight (…, n, k) orthogonal: Qᵀ Q = 1 for n >= k, Q Qᵀ = 1 otherwise.

    Args:
        module: changed in place and returned.
        name: of the parameter.
        orthogonal_map: 'matrix_exp' (exp of a skew matrix), 'cayley', or 'householder' (a product of reflections); None
            means matrix_exp for square weights and householder for others.
        use_trivialization: whether Q is a fixed matrix, near the weight at first, times the map.
        rngs: completes a weight that is not square (stream ``params``); needed with `use_trivialization`.

    Raises:
        ValueError: no such parameter, fewer than 2 axes, or an unknown map.
        TypeError: no `rngs` with `use_trivialization`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.orthogonal.html
    """
    weight = _weight("orthogonal", module, name)[...]
    if weight.ndim < 2:
        raise ValueError(f"orthogonal: {name} must have at least 2 dimensions, got shape {weight.shape}")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f"orthogonal: orthogonal_map must be 'matrix_exp', 'cayley' or 'householder', got {orthogonal_map!r}"
        )
    given = fresh_rngs(rngs, "orthogonal") if use_trivialization else None
    made = _Orthogonal(weight, orthogonal_map, use_trivialization, given)
    return register_parametrization(module, name, made, unsafe=True)
