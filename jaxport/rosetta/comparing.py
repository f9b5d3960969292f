"""Rows: comparing and choosing."""

from functools import partial

from .row import Row

R = partial(Row, topic="comparing")
INT = "int64 → int32"

ROWS = (
    R("greater-equal", "x >= 0.4", "x >= 0.4", "20-day 4-2"),
    R("ge", "torch.ge(x, y)", "jnp.greater_equal(x, y)", "20-day 4-2"),
    R("equal", "n == 5", "n == 5", "20-day 4-2, basics 5", "NaN equals nothing, itself neither."),
    R("eq", "torch.eq(n, 5)", "jnp.equal(n, 5)", "20-day 4-2"),
    R("not-equal", "n != k", "n != k", "20-day 4-2"),
    R("less", "x < y", "x < y", "20-day 4-2, 20-day 4-1"),
    R("and", "(x >= -1) & (x <= 2)", "(x >= -1) & (x <= 2)", "20-day 4-2", "With parentheses on both sides."),
    R("or", "(x <= -1) | (x >= 2)", "(x <= -1) | (x >= 2)", "20-day 4-2"),
    R(
        "and-word",
        "(x > 0) and (y > 0)",
        "(x > 0) and (y > 0)",
        "20-day 4-2",
        "`and` asks for one truth value.",
        torch_raises="RuntimeError",
        jax_raises="ValueError",
    ),
    R("not", "~mask", "~mask", "20-day 4-2"),
    R(
        "where",
        "torch.where(x > 0.3, x, y)",
        "jnp.where(x > 0.3, x, y)",
        "20-day 4-1, 20-day 5-3",
        "Both sides are computed; a NaN in the one not taken still reaches the gradient (see Gradients at kinks).",
    ),
    R(
        "where-ints",
        "torch.where(scores > 60, torch.tensor(1), torch.tensor(0))",
        "jnp.where(scores > 60, 1, 0)",
        "20-day 4-1",
        dtypes=INT,
    ),
    R(
        "where-accuracy",
        "prediction = torch.where(target > 0.5, torch.ones_like(target), torch.zeros_like(target))\n"
        "torch.mean(1 - torch.abs(bits - prediction))",
        "prediction = jnp.where(target > 0.5, jnp.ones_like(target), jnp.zeros_like(target))\n"
        "jnp.mean(1 - jnp.abs(bits - prediction))",
        "20-day 5-3, 20-day 3-2",
        "Accuracy of a binary classifier.",
    ),
    R(
        "where-places",
        "torch.where(mask)",
        "jnp.where(mask)",
        "20-day 4-1",
        "One argument: places, as many as there are.",
        dtypes=INT,
        jit=False,
    ),
    R("maximum-two", "torch.max(x, y)", "jnp.maximum(x, y)", "20-day 4-2", "Of two tensors: jnp.max reduces one."),
    R("minimum-two", "torch.min(x, y)", "jnp.minimum(x, y)", "20-day 4-2"),
    R(
        "maximum-two-nan",
        "torch.max(holes, torch.zeros(4))",
        "jnp.maximum(holes, jnp.zeros(4))",
        "20-day 4-2",
        "NaN wins on both sides; jnp.fmax leaves it out.",
    ),
    R("nan-compare", "holes == holes", "holes == holes", "20-day 4-2"),
    R("isnan", "torch.isnan(holes)", "jnp.isnan(holes)", "20-day 4-2"),
    R(
        "all-equal",
        "torch.equal(x, y)",
        "jnp.array_equal(x, y)",
        "20-day 4-2",
        "A Python bool in PyTorch.",
        dtypes="Python bool → bool",
    ),
    R(
        "allclose",
        "torch.allclose(x, x + 1e-9)",
        "jnp.allclose(x, x + 1e-9)",
        "20-day 4-2",
        "Relative 1e-5, absolute 1e-8 on both sides. For proofs: `jaxport.parity`.",
        dtypes="Python bool → bool",
    ),
    R(
        "argmax-accuracy",
        "(logits.argmax(1) == labels).type(torch.float).sum()",
        "(logits.argmax(1) == labels).astype(jnp.float32).sum()",
        "quick start",
        "Streaming over batches: `jaxport.metrics.Accuracy`.",
    ),
)
