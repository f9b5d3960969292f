"""Rows: linear algebra."""

from functools import partial

from .row import Row

R = partial(Row, topic="linear_algebra")
INT = "int64 → int32"
GPU = " On GPUs JAX multiplies float32 in TF32: `jax.default_matmul_precision('highest')`."

ROWS = (
    R("matmul-operator", "x @ m", "x @ m", "20-day 4-2, quick start, 20-day 2-3, 20-day 3-1", "The same." + GPU),
    R("matmul", "torch.matmul(x, m)", "jnp.matmul(x, m)", "20-day 4-2, quick start"),
    R("matmul-method", "x.matmul(m)", "jnp.matmul(x, m)", "quick start"),
    R("mm", "torch.mm(x, m)", "jnp.matmul(x, m)", "20-day 4-2", "Two matrices, nothing else, in PyTorch."),
    R("mv", "x.mv(v)", "x @ v", "basics 3", "A matrix and a vector."),
    R(
        "matmul-batched",
        "pictures[:, 0] @ pictures[0, 1].T",
        "pictures[:, 0] @ pictures[0, 1].T",
        "20-day 4-2",
        "Axes in front of the last two are a batch, and are broadcast.",
    ),
    R("matmul-bias", "x @ m + torch.arange(4.0)", "x @ m + jnp.arange(4.0)", "20-day 3-1, quick start"),
    R("matmul-ints", "n @ k.T", "n @ k.T", "20-day 4-2", dtypes=INT),
    R(
        "matmul-mixed",
        "n @ m",
        "n @ m",
        "20-day 4-2",
        "PyTorch wants one dtype; JAX promotes.",
        torch_raises="RuntimeError",
        jax_is="n.astype(m.dtype) @ m",
    ),
    R("matmul-wrong", "x @ x", "x @ x", "20-day 4-2", torch_raises="RuntimeError", jax_raises="TypeError"),
    R("matmul-transposed", "x @ x.T", "x @ x.T", "quick start"),
    R(
        "inverse",
        "torch.inverse(a)",
        "jnp.linalg.inv(a)",
        "20-day 4-2",
        "To solve equations: torch.linalg.solve, jnp.linalg.solve.",
    ),
    R(
        "inverse-singular",
        "torch.inverse(torch.ones(3, 3))",
        "jnp.isfinite(jnp.linalg.inv(jnp.ones((3, 3)))).any()",
        "20-day 4-2",
        "PyTorch raises; JAX cannot, its numbers are infinite or NaN.",
        torch_raises="RuntimeError",
        jax_is="jnp.array(False)",
    ),
    R(
        "inverse-ints",
        "torch.inverse(torch.tensor([[1, 2], [3, 4]]))",
        "jnp.linalg.inv(jnp.array([[1, 2], [3, 4]]))",
        "20-day 4-2",
        "PyTorch wants floats; JAX makes floats.",
        torch_raises="RuntimeError",
        jax_is="jnp.linalg.inv(jnp.array([[1.0, 2], [3, 4]]))",
    ),
    R("trace", "torch.trace(a)", "jnp.trace(a)", "20-day 4-2"),
    R("det", "torch.det(a)", "jnp.linalg.det(a)", "20-day 4-2"),
    R(
        "eigenvalues",
        "torch.linalg.eigvals(torch.tensor([[1.0, 2.0], [-5.0, 4.0]]))",
        "jnp.linalg.eigvals(jnp.array([[1.0, 2.0], [-5.0, 4.0]]))",
        "20-day 4-2",
        "torch.eig is gone; the values are complex.",
    ),
    R(
        "eig-gone",
        "torch.eig(a, eigenvectors=True)",
        "jnp.linalg.eigvals(a).real.sum()",
        "20-day 4-2",
        "Removed from PyTorch; its eigenvalues stood in two columns, real and imaginary.",
        torch_raises="RuntimeError",
        jax_is="jnp.trace(a)",
    ),
    R(
        "eig",
        "values, vectors = torch.linalg.eig(a)\n(vectors @ torch.diag(values) @ torch.inverse(vectors)).real",
        "values, vectors = jnp.linalg.eig(a)\n(vectors @ jnp.diag(values) @ jnp.linalg.inv(vectors)).real",
        "20-day 4-2",
        "Vectors are unique but for a factor, so products of them are compared.",
    ),
    R(
        "qr",
        "q, r = torch.linalg.qr(m.T)\n(q.abs(), r.abs(), q @ r)",
        "q, r = jnp.linalg.qr(m.T)\n(jnp.abs(q), jnp.abs(r), q @ r)",
        "20-day 4-2",
        "Signs of q's columns are free.",
    ),
    R(
        "qr-old",
        "q, r = torch.qr(a)\nq @ r",
        "q, r = jnp.linalg.qr(a)\nq @ r",
        "20-day 4-2",
        "torch.qr still works, with a warning.",
    ),
    R("svd-values", "torch.svd(m)[1]", "jnp.linalg.svd(m, compute_uv=False)", "20-day 4-2", "Falling, on both sides."),
    R(
        "svd",
        "u, s2, w = torch.svd(m)\nu @ torch.diag(s2) @ w.t()",
        "u, s2, wh = jnp.linalg.svd(m, full_matrices=False)\nu @ jnp.diag(s2) @ wh",
        "20-day 4-2",
        "torch.svd gives V, JAX (and torch.linalg.svd) its transpose; jnp's default makes u and V square.",
    ),
    R(
        "svd-shapes",
        "torch.svd(m)[2].shape",
        "jnp.linalg.svd(m)[2].shape",
        "20-day 4-2",
        "The trap of the two defaults.",
        torch_is="(4, 3)",
        jax_is="(4, 4)",
    ),
)
