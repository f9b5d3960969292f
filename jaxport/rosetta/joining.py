"""Rows: joining, splitting, broadcasting."""

from functools import partial

from .row import Row

R = partial(Row, topic="joining")
INT = "int64 → int32"

ROWS = (
    R(
        "cat",
        "torch.cat([x, y, x], dim=0)",
        "jnp.concatenate([x, y, x], axis=0)",
        "20-day 4-1, basics 1, basics 5, 20-day 5-3, basics 6",
    ),
    R(
        "cat-columns",
        "torch.cat([m, a], dim=1)",
        "jnp.concatenate([m, a], axis=1)",
        "quick start, 20-day 4-1",
        "The other axes are of one length.",
    ),
    R(
        "cat-axis",
        "torch.cat([x, y], axis=1)",
        "jnp.concatenate([x, y], axis=1)",
        "20-day 4-1",
        "PyTorch takes `axis` for `dim`.",
    ),
    R(
        "cat-promotes",
        "torch.cat([n, x], dim=0)",
        "jnp.concatenate([n, x], axis=0)",
        "20-day 4-1",
        "Integers become floats on both sides.",
    ),
    R(
        "cat-wrong",
        "torch.cat([x, m], dim=1)",
        "jnp.concatenate([x, m], axis=1)",
        "20-day 4-1",
        "2 rows and 3 rows.",
        torch_raises="RuntimeError",
        jax_raises="TypeError",
    ),
    R("stack", "torch.stack([x, y], dim=0)", "jnp.stack([x, y], axis=0)", "20-day 4-1, 20-day 5-1", "A new axis."),
    R("stack-inner", "torch.stack([x, y], axis=1)", "jnp.stack([x, y], axis=1)", "20-day 4-1"),
    R(
        "stack-columns",
        "torch.stack((v, torch.ones(3)), dim=1)",
        "jnp.stack((v, jnp.ones(3)), axis=1)",
        "basics 3",
        "The matrix of a straight line: x and a column of ones.",
    ),
    R(
        "split-size",
        "torch.split(m, split_size_or_sections=3, dim=1)",
        "(m[:, :3], m[:, 3:])",
        "20-day 4-1",
        "The length of a part, the last shorter. In jnp.split a number is the number of parts.",
    ),
    R(
        "split-even",
        "torch.split(t, 2, dim=2)",
        "jnp.split(t, t.shape[2] // 2, axis=2)",
        "20-day 4-1",
        "Parts of length 2 in PyTorch, a number of equal parts in JAX.",
    ),
    R(
        "split-number",
        "torch.split(m, 2, dim=0)",
        "jnp.split(m, 2, axis=0)",
        "20-day 4-1",
        "3 rows: PyTorch makes parts of 2 and 1; jnp.split wants equal parts (jnp.array_split does not).",
        jax_raises="ValueError",
        torch_is="(m[:2], m[2:])",
    ),
    R(
        "split-sections",
        "torch.split(t, split_size_or_sections=[1, 2, 1], dim=2)",
        "jnp.split(t, [1, 3], axis=2)",
        "20-day 4-1",
        "Lengths in PyTorch, places of the cuts in JAX: `np.cumsum(lengths)[:-1]`.",
    ),
    R(
        "broadcast",
        "x + v",
        "x + v",
        "20-day 4-2",
        "The same rules. Under `jax.numpy_rank_promotion('raise')` JAX refuses: write `v[None]`.",
    ),
    R("broadcast-column", "x + x[:, :1]", "x + x[:, :1]", "20-day 4-2"),
    R(
        "broadcast-wrong",
        "x + torch.ones(2)",
        "x + jnp.ones(2)",
        "20-day 4-2",
        "Axes are matched from the last.",
        torch_raises="RuntimeError",
        jax_raises="ValueError",
    ),
    R(
        "broadcast-tensors",
        "torch.broadcast_tensors(v, x)",
        "jnp.broadcast_arrays(v, x)",
        "20-day 4-2",
        "Views with stride 0 in PyTorch: do not write to them.",
    ),
    R(
        "broadcast-outer",
        "v.view(-1, 1) * torch.tensor([1.0, 10.0])",
        "v.reshape(-1, 1) * jnp.array([1.0, 10.0])",
        "20-day 4-2",
    ),
    R(
        "broadcast-silent",
        "((v.view(-1, 1) - v) ** 2).mean()",
        "((v.reshape(-1, 1) - v) ** 2).mean()",
        "20-day 4-2",
        "(3, 1) against (3,) is (3, 3) on both sides, without a word: the usual mistake of a loss. Here rank promotion"
        " 'raise' helps.",
    ),
    R("repeat-rows", "v.expand(2, 3)", "jnp.broadcast_to(v, (2, 3))", "20-day 4-2"),
)
