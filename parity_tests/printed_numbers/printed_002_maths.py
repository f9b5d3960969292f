"""20-day tutorial, 4-2: arithmetic, statistics, sorting, matrices, broadcasting."""

import jax
import jax.numpy as jnp
import torch

from .printed_row import Printed

a = jnp.array([[1.0, 2], [-3, 4.0]])
b = jnp.array([[5.0, 6], [7.0, 8.0]])
p, q = jnp.array([1.0, 8.0]), jnp.array([5.0, 6.0])
x = jnp.array([2.6, -2.7])
far = jnp.array([0.9, -0.8, 100.0, -20.0, 0.7])
whole = jnp.arange(1, 10)
nine = whole.astype(jnp.float32)
grid = nine.reshape(3, 3)
mixed = jnp.array([[9.0, 7, 8], [1, 3, 2], [5, 6, 4]])
square = jnp.array([[1.0, 2], [3, 4]])
turning = jnp.array([[1.0, 2], [-5, 4]])
tall = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
counts, thirds = jnp.array([1, 2, 3]), jnp.array([[0, 0, 0], [1, 1, 1], [2, 2, 2]])


def reached(best: jax.Array) -> jax.Array:
    """Return where each running maximum or minimum of `whole` stands."""
    return jnp.argmax(best[:, None] == whole[None, :], 1)


def parts(x: jax.Array) -> jax.Array:
    """Return the real and the imaginary parts side by side."""
    return jnp.stack([x.real, x.imag], -1)


def eigenvalues() -> jax.Array:
    """Return the eigenvalues as torch.eig did, real and imaginary part in a row."""
    return parts(jnp.linalg.eig(turning)[0])


def eigenvectors() -> jax.Array:
    """Return the eigenvectors as torch.eig did: of a pair, the real part and the imaginary part are the columns."""
    return parts(jnp.linalg.eig(turning)[1][:, 0])


def eigenvalues_torch() -> torch.Tensor:
    """Return what PyTorch gives in their place today."""
    return torch.view_as_real(torch.linalg.eig(torch.tensor([[1.0, 2], [-5, 4]]))[0])


def eigenvectors_torch() -> torch.Tensor:
    """Return what PyTorch gives in their place today."""
    return torch.view_as_real(torch.linalg.eig(torch.tensor([[1.0, 2], [-5, 4]]))[1][:, 0])


def product() -> jax.Array:
    """Return the matrix that its decomposition gives back."""
    u, s, vt = jnp.linalg.svd(tall, False)
    return u @ jnp.diag(s) @ vt


ROWS = (
    Printed("002 4-2:5284", "a + b", "a + b", "tensor([[ 6., 8.], [ 4., 12.]])"),
    Printed("002 4-2:5295", "a - b", "a - b", "tensor([[ -4., -4.], [-10., -4.]])"),
    Printed("002 4-2:5306", "a * b", "a * b", "tensor([[ 5., 12.], [-21., 32.]])"),
    Printed("002 4-2:5317", "a / b", "a / b", "tensor([[ 0.2000, 0.3333], [-0.4286, 0.5000]])", "digits"),
    Printed("002 4-2:5328", "a ** 2", "a**2", "tensor([[ 1., 4.], [ 9., 16.]])"),
    Printed("002 4-2:5339", "a ** 0.5", "a**0.5", "tensor([[1.0000, 1.4142], [ nan, 2.0000]])", "digits"),
    Printed("002 4-2:5350", "a % 3", "a % 3", "tensor([[1., 2.], [0., 1.]])"),
    Printed("002 4-2:5359", "a // 3", "a // 3", "tensor([[ 0., 0.], [-1., 1.]])"),
    Printed("002 4-2:5370", "a >= 2", "a >= 2", "tensor([[False, True], [False, True]])"),
    Printed("002 4-2:5381", "(a >= 2) & (a <= 3)", "(a >= 2) & (a <= 3)", "tensor([[False, True], [False, False]])"),
    Printed("002 4-2:5392", "(a >= 2) | (a <= 3)", "(a >= 2) | (a <= 3)", "tensor([[True, True], [True, True]])"),
    Printed("002 4-2:5403", "a == 5", "a == 5", "tensor([[False, False], [False, False]])"),
    Printed("002 4-2:5414", "torch.sqrt(a)", "jnp.sqrt(a)", "tensor([[1.0000, 1.4142], [ nan, 2.0000]])", "digits"),
    Printed("002 4-2:5430", "a + b + c", "p + q + jnp.array([6.0, 7.0])", "tensor([12., 21.])"),
    Printed("002 4-2:5440", "torch.max(a, b)", "jnp.maximum(p, q)", "tensor([5., 8.])"),
    Printed("002 4-2:5450", "torch.min(a, b)", "jnp.minimum(p, q)", "tensor([1., 6.])"),
    Printed("002 4-2:5465", "torch.round(x)", "jnp.round(x)", "tensor([ 3., -3.])"),
    Printed("002 4-2:5466", "torch.floor(x)", "jnp.floor(x)", "tensor([ 2., -3.])"),
    Printed("002 4-2:5467", "torch.ceil(x)", "jnp.ceil(x)", "tensor([ 3., -2.])"),
    Printed("002 4-2:5468", "torch.trunc(x)", "jnp.trunc(x)", "tensor([ 2., -2.])"),
    Printed("002 4-2:5480", "torch.fmod(x, 2)", "jnp.fmod(x, 2)", "tensor([ 0.6000, -0.7000])", "digits"),
    Printed("002 4-2:5481", "torch.remainder(x, 2)", "jnp.remainder(x, 2)", "tensor([0.6000, 1.3000])", "digits"),
    Printed(
        "002 4-2:5494",
        "torch.clamp(x, min=-1, max=1)",
        "jnp.clip(far, -1, 1)",
        "tensor([ 0.9000, -0.8000, 1.0000, -1.0000, 0.7000])",
        "digits",
    ),
    Printed(
        "002 4-2:5495",
        "torch.clamp(x, max=1)",
        "jnp.clip(far, max=1)",
        "tensor([ 0.9000, -0.8000, 1.0000, -20.0000, 0.7000])",
        "digits",
    ),
    Printed("002 4-2:5520", "torch.sum(a)", "jnp.sum(nine)", "tensor(45.)"),
    Printed("002 4-2:5521", "torch.mean(a)", "jnp.mean(nine)", "tensor(5.)"),
    Printed("002 4-2:5522", "torch.max(a)", "jnp.max(nine)", "tensor(9.)"),
    Printed("002 4-2:5523", "torch.min(a)", "jnp.min(nine)", "tensor(1.)"),
    Printed("002 4-2:5524", "torch.prod(a)", "jnp.prod(nine)", "tensor(362880.)"),
    Printed("002 4-2:5525", "torch.std(a)", "jnp.std(nine, ddof=1)", "tensor(2.7386)", "digits"),
    Printed("002 4-2:5526", "torch.var(a)", "jnp.var(nine, ddof=1)", "tensor(7.5000)", "digits"),
    Printed("002 4-2:5527", "torch.median(a)", "jnp.median(nine)", "tensor(5.)"),
    Printed("002 4-2:5543", "a.view(3, 3)", "grid", "tensor([[1., 2., 3.], [4., 5., 6.], [7., 8., 9.]])"),
    Printed("002 4-2:5547", "torch.max(b, dim=0).values", "jnp.max(grid, 0)", "tensor([7., 8., 9.])"),
    Printed("002 4-2:5548", "torch.max(b, dim=0).indices", "jnp.argmax(grid, 0)", "tensor([2, 2, 2])"),
    Printed("002 4-2:5550", "torch.max(b, dim=1).values", "jnp.max(grid, 1)", "tensor([3., 6., 9.])"),
    Printed("002 4-2:5551", "torch.max(b, dim=1).indices", "jnp.argmax(grid, 1)", "tensor([2, 2, 2])"),
    Printed("002 4-2:5568", "torch.cumsum(a, 0)", "jnp.cumsum(whole)", "tensor([ 1, 3, 6, 10, 15, 21, 28, 36, 45])"),
    Printed(
        "002 4-2:5569",
        "torch.cumprod(a, 0)",
        "jnp.cumprod(whole)",
        "tensor([ 1, 2, 6, 24, 120, 720, 5040, 40320, 362880])",
    ),
    Printed(
        "002 4-2:5570", "torch.cummax(a, 0).values", "jax.lax.cummax(whole)", "tensor([1, 2, 3, 4, 5, 6, 7, 8, 9])"
    ),
    Printed(
        "002 4-2:5571",
        "torch.cummax(a, 0).indices",
        "reached(jax.lax.cummax(whole))",
        "tensor([0, 1, 2, 3, 4, 5, 6, 7, 8])",
    ),
    Printed(
        "002 4-2:5573", "torch.cummin(a, 0).values", "jax.lax.cummin(whole)", "tensor([1, 1, 1, 1, 1, 1, 1, 1, 1])"
    ),
    Printed(
        "002 4-2:5574",
        "torch.cummin(a, 0).indices",
        "reached(jax.lax.cummin(whole))",
        "tensor([0, 0, 0, 0, 0, 0, 0, 0, 0])",
    ),
    Printed(
        "002 4-2:5593",
        "torch.topk(a, 2, dim=0).values",
        "jax.lax.top_k(mixed.T, 2)[0].T",
        "tensor([[9., 7., 8.], [5., 6., 4.]])",
    ),
    Printed("002 4-2:5595", "its indices", "jax.lax.top_k(mixed.T, 2)[1].T", "tensor([[0, 0, 0], [2, 2, 2]])"),
    Printed(
        "002 4-2:5599",
        "torch.topk(a, 2, dim=1).values",
        "jax.lax.top_k(mixed, 2)[0]",
        "tensor([[9., 8.], [3., 2.], [6., 5.]])",
    ),
    Printed("002 4-2:5602", "its indices", "jax.lax.top_k(mixed, 2)[1]", "tensor([[0, 2], [1, 2], [1, 0]])"),
    Printed(
        "002 4-2:5607",
        "torch.sort(a, dim=1).values",
        "jnp.sort(mixed, 1)",
        "tensor([[7., 8., 9.], [1., 2., 3.], [4., 5., 6.]])",
    ),
    Printed("002 4-2:5610", "its indices", "jnp.argsort(mixed, 1)", "tensor([[1, 2, 0], [0, 2, 1], [2, 0, 1]])"),
    Printed(
        "002 4-2:5643", "a @ b", "jnp.array([[1, 2], [3, 4]]) @ jnp.array([[2, 0], [0, 2]])", "tensor([[2, 4], [6, 8]])"
    ),
    Printed("002 4-2:5656", "a.t()", "square.T", "tensor([[1., 3.], [2., 4.]])"),
    Printed(
        "002 4-2:5669",
        "torch.inverse(a)",
        "jnp.linalg.inv(square)",
        "tensor([[-2.0000, 1.0000], [ 1.5000, -0.5000]])",
        "digits",
    ),
    Printed("002 4-2:5682", "torch.trace(a)", "jnp.trace(square)", "tensor(5.)"),
    Printed("002 4-2:5694", "torch.norm(a)", "jnp.linalg.norm(square)", "tensor(5.4772)", "digits"),
    Printed("002 4-2:5706", "torch.det(a)", "jnp.linalg.det(square)", "tensor(-2.0000)", "digits"),
    Printed(
        "002 4-2:5716",
        "the eigenvalues, in a comment",
        "eigenvalues()",
        "tensor([[-2.5000, 2.7839], [2.5000, -2.7839]])",
        "misprint",
        torch="eigenvalues_torch()",
        reason="the first real part has a sign too many; the output below it is right",
    ),
    Printed(
        "002 4-2:5721",
        "torch.eig(a).eigenvalues",
        "eigenvalues()",
        "tensor([[ 2.5000, 2.7839], [ 2.5000, -2.7839]])",
        "digits",
    ),
    Printed(
        "002 4-2:5723",
        "torch.eig(a, eigenvectors=True).eigenvectors",
        "eigenvectors()",
        "tensor([[ 0.2535, -0.4706], [ 0.8452, 0.0000]])",
        "old_version",
        torch="eigenvectors_torch()",
        reason="the vector times -1; torch.eig is no more, torch.linalg.eig gives it with the other sign",
    ),
    Printed(
        "002 4-2:5758",
        "torch.svd(a).U",
        "jnp.linalg.svd(tall, False)[0]",
        "tensor([[-0.2298, 0.8835], [-0.5247, 0.2408], [-0.8196, -0.4019]])",
        "digits",
    ),
    Printed("002 4-2:5762", "torch.svd(a).S", "jnp.linalg.svd(tall, False)[1]", "tensor([9.5255, 0.5143])", "digits"),
    Printed(
        "002 4-2:5764",
        "torch.svd(a).V",
        "jnp.linalg.svd(tall, False)[2].T",
        "tensor([[-0.6196, -0.7849], [-0.7849, 0.6196]])",
        "digits",
    ),
    Printed(
        "002 4-2:5767",
        "u @ torch.diag(s) @ v.t()",
        "product()",
        "tensor([[1.0000, 2.0000], [3.0000, 4.0000], [5.0000, 6.0000]])",
        "digits",
    ),
    Printed("002 4-2:5796", "a + b", "counts[None] + thirds", "tensor([[1, 2, 3], [2, 3, 4], [3, 4, 5]])"),
    Printed(
        "002 4-2:5817",
        "a + b",
        "sum(jnp.broadcast_arrays(counts[None], thirds))",
        "tensor([[1, 2, 3], [2, 3, 4], [3, 4, 5]])",
    ),
    Printed(
        "002 4-2:5809",
        "torch.broadcast_tensors(a, b)[0]",
        "jnp.broadcast_arrays(counts[None], thirds)[0]",
        "tensor([[1, 2, 3], [1, 2, 3], [1, 2, 3]])",
    ),
    Printed(
        "002 4-2:5813",
        "torch.broadcast_tensors(a, b)[1]",
        "jnp.broadcast_arrays(counts[None], thirds)[1]",
        "tensor([[0, 0, 0], [1, 1, 1], [2, 2, 2]])",
    ),
)
