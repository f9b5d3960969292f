"""Rows: gradients where a function has a kink, a tie or no finite slope."""

from functools import partial

from .row import Row

R = partial(Row, topic="kinks")


def _at(torch: str, jax: str, point: str, array: str) -> tuple[str, str]:
    """Return both expressions of the gradient of a function's sum at a point."""
    return (
        f"b = torch.tensor({point}, requires_grad=True)\n{torch}.sum().backward()\nb.grad",
        f"jax.grad(lambda b: {jax}.sum())(jnp.array({array}))",
    )


ZERO, ONES = "[-1.0, 0.0, 2.0]", "[-1.0, 0.5, 1.0]"

ROWS = (
    R("relu-at-zero", *_at("torch.relu(b)", "F.relu(b)", ZERO, ZERO), "basics 4, notes", "0 at 0 in both."),
    R(
        "relu-as-maximum",
        *_at("torch.clamp(b, min=0)", "jnp.maximum(b, 0)", ZERO, ZERO),
        "20-day 2-3",
        "jnp.maximum halves the gradient at a tie, clamp lets it through.",
        torch_is="torch.tensor([0.0, 1.0, 1.0])",
        jax_is="jnp.array([0.0, 0.5, 1.0])",
    ),
    R(
        "clamp-at-bounds",
        *_at("torch.clamp(b, -1, 1)", "jnp.clip(b, -1, 1)", ONES, ONES),
        "20-day 4-2",
        "PyTorch 1 at a bound, JAX one half. `F.hardtanh` and its like follow PyTorch's own rules.",
        torch_is="torch.tensor([1.0, 1.0, 1.0])",
        jax_is="jnp.array([0.5, 1.0, 0.5])",
    ),
    R(
        "abs-at-zero",
        *_at("torch.abs(b)", "jnp.abs(b)", ZERO, ZERO),
        "20-day 5-3",
        "PyTorch 0, JAX 1. `F.l1_loss` follows PyTorch.",
        torch_is="torch.tensor([-1.0, 0.0, 1.0])",
        jax_is="jnp.array([-1.0, 1.0, 1.0])",
    ),
    R(
        "norm-at-zero",
        *_at("torch.norm(b)", "jnp.linalg.norm(b)", "[0.0, 0.0]", "[0.0, 0.0]"),
        "basics 2, 20-day 4-2",
        "PyTorch 0, JAX NaN: guard the norm, or add a small number under the root.",
        torch_is="torch.zeros(2)",
        jax_is="jnp.full(2, jnp.nan)",
    ),
    R(
        "sqrt-at-zero",
        *_at("torch.sqrt(b)", "jnp.sqrt(b)", "[0.0, 4.0]", "[0.0, 4.0]"),
        "20-day 4-2",
        "Infinite on both sides.",
    ),
    R(
        "max-tie",
        *_at("torch.max(b)", "jnp.max(b)", "[1.0, 3.0, 3.0]", "[1.0, 3.0, 3.0]"),
        "20-day 4-2",
        "Of equal maxima each gets its part, on both sides.",
    ),
    R(
        "max-tie-axis",
        *_at("torch.max(b, dim=0).values", "jnp.max(b, axis=0)", "[1.0, 3.0, 3.0]", "[1.0, 3.0, 3.0]"),
        "20-day 4-2",
        "Along an axis PyTorch gives all to one element, JAX parts to each.",
        torch_is="torch.tensor([0.0, 1.0, 0.0])",
        jax_is="jnp.array([0.0, 0.5, 0.5])",
    ),
    R(
        "maximum-tie",
        *_at(
            "torch.max(b, torch.tensor([2.0, 3.0]))",
            "jnp.maximum(b, jnp.array([2.0, 3.0]))",
            "[1.0, 3.0]",
            "[1.0, 3.0]",
        ),
        "20-day 4-2",
        "One half on both sides.",
    ),
    R(
        "max-pool-tie",
        *_at("F.max_pool1d(b, 2)", "F.max_pool1d(b, 2)", "[[3.0, 3.0, 1.0, 2.0]]", "[[3.0, 3.0, 1.0, 2.0]]"),
        "20-day 1-2, notes",
        "jaxport follows PyTorch: all to the first.",
    ),
    R(
        "where-nan",
        *_at(
            "torch.where(b > 0, torch.sqrt(b), torch.zeros(2))",
            "jnp.where(b > 0, jnp.sqrt(b), jnp.zeros(2))",
            "[-1.0, 4.0]",
            "[-1.0, 4.0]",
        ),
        "20-day 4-1",
        "NaN from the branch that was not taken, on both sides.",
    ),
    R(
        "where-safe",
        *_at(
            "torch.where(b > 0, torch.sqrt(torch.where(b > 0, b, torch.ones(2))), torch.zeros(2))",
            "jnp.where(b > 0, jnp.sqrt(jnp.where(b > 0, b, 1.0)), jnp.zeros(2))",
            "[-1.0, 4.0]",
            "[-1.0, 4.0]",
        ),
        "20-day 4-1",
        "The cure on both sides: make the argument harmless first.",
    ),
    R("round-gradient", *_at("torch.round(b * 1.3)", "jnp.round(b * 1.3)", ZERO, ZERO), "20-day 4-2", "0 everywhere."),
    R("power-zero", *_at("torch.pow(b, 2)", "jnp.power(b, 2)", "[0.0, 3.0]", "[0.0, 3.0]"), "20-day 2-2"),
)
