"""Rows: layers."""

from functools import partial

from .row import Row

R = partial(Row, topic="layers", x64=False)


def _layer(call: str, arguments: str, more: str = "", tail: str = "") -> tuple[str, str]:
    """Return a layer with random weights of seed 0 on both sides, applied to its arguments."""
    return (
        f"torch.manual_seed(0)\nnn.{call}{arguments}{tail}",
        f"nn.{call[:-1]}{', ' if call[-2] != '(' else ''}rngs=torch_rngs(0)){arguments}{more or tail}",
    )


ROWS = (
    R(
        "nn-Linear",
        *_layer("Linear(3, 4)", "(x)"),
        "basics 3, quick start, practice 4, 20-day 4-3, 20-day 5-2, basics 5",
    ),
    R("Linear-keywords", *_layer("Linear(in_features=4, out_features=3)", "(batch)"), "quick start"),
    R(
        "F-linear",
        "F.linear(x, m.T, torch.arange(4.0))",
        "F.linear(x, m.T, jnp.arange(4.0))",
        "20-day 4-3",
        "weight is (out, in).",
        x64=True,
    ),
    R(
        "nn-Flatten",
        "nn.Flatten()(t)",
        "nn.Flatten()(t)",
        "quick start, 20-day 4-3, 20-day 5-2",
        "Channels first on both sides, so nothing is permuted.",
        x64=True,
    ),
    R("nn-Embedding", *_layer("Embedding(6, 4)", "(words)"), "20-day 4-3, 20-day 5-2"),
    R(
        "Embedding-padding",
        *_layer("Embedding(6, 4, padding_idx=1)", "(words)"),
        "20-day 4-3",
        "Row 1 is zeros and has no gradient.",
    ),
    R("F-embedding", "F.embedding(words, batch)", "F.embedding(words, batch)", "20-day 4-3", x64=True),
    R(
        "embedding-out-of-range",
        "F.embedding(torch.tensor([12]), batch)",
        "jax.jit(F.embedding)(jnp.array([12]), batch)",
        "20-day 5-2",
        "jaxport raises an IndexError outside jit; plain `batch[12]` gives the last row.",
        torch_raises="IndexError",
        jax_is="jnp.full((1, 4), jnp.nan)",
    ),
    R("nn-BatchNorm1d", "nn.BatchNorm1d(4)(batch)", "nn.BatchNorm1d(4)(batch)", "20-day 5-2"),
    R("nn-BatchNorm2d", "nn.BatchNorm2d(3)(pictures)", "nn.BatchNorm2d(3)(pictures)", "20-day 5-2, notes"),
    R(
        "BatchNorm2d-running",
        "norm = nn.BatchNorm2d(3)\nnorm(pictures)\n(norm.running_mean, norm.running_var)",
        "norm = nn.BatchNorm2d(3)\nnorm(pictures)\n(norm.running_mean[...], norm.running_var[...])",
        "20-day 5-2",
        "momentum is the new value's weight, 0.1; the stored variance is the unbiased one.",
    ),
    R(
        "BatchNorm2d-eval",
        "nn.BatchNorm2d(3).eval()(pictures)",
        "nn.BatchNorm2d(3).eval()(pictures)",
        "20-day 5-2, quick start",
    ),
    R("nn-BatchNorm3d", "nn.BatchNorm3d(2)(cubes)", "nn.BatchNorm3d(2)(cubes)", "20-day 5-2"),
    R("nn-GroupNorm", "nn.GroupNorm(3, 3)(pictures)", "nn.GroupNorm(3, 3)(pictures)", "20-day 5-2"),
    R(
        "nn-LayerNorm",
        "nn.LayerNorm([7, 5])(pictures)",
        "nn.LayerNorm([7, 5])(pictures)",
        "20-day 5-2",
        "eps 1e-5; Flax's own default is 1e-6.",
    ),
    R("nn-InstanceNorm2d", "nn.InstanceNorm2d(3)(pictures)", "nn.InstanceNorm2d(3)(pictures)", "20-day 5-2"),
    R(
        "nn-Dropout2d",
        "nn.Dropout2d(0.1).eval()(pictures)",
        "nn.Dropout2d(0.1, rngs=nnx.Rngs(0)).eval()(pictures)",
        "20-day 4-3, 20-day 5-2",
    ),
    R(
        "F-dropout2d",
        "F.dropout2d(pictures, 0.4).shape",
        "F.dropout2d(pictures, 0.4, key=jax.random.key(0)).shape",
        "20-day 4-3",
        "A key in place of the global generator.",
    ),
    R(
        "dropout-scale",
        "sorted(set(F.dropout(torch.ones(1000), 0.2).tolist()))",
        "sorted(set(F.dropout(jnp.ones(1000), 0.2, key=jax.random.key(0)).tolist()))",
        "20-day 5-2",
        "What stays is divided by 1 - p on both sides.",
        jit=False,
    ),
    R(
        "nn-Dropout3d",
        "nn.Dropout3d(0.3).eval()(cubes)",
        "nn.Dropout3d(0.3, rngs=nnx.Rngs(0)).eval()(cubes)",
        "20-day 5-2",
    ),
    R("nn-LSTM", *_layer("LSTM(3, 4)", "(steps)", tail="[0]"), "20-day 5-2, 20-day 1-4", "(time, batch, feature)."),
    R(
        "LSTM-batch-first",
        *_layer("LSTM(3, 4, num_layers=2, batch_first=True)", "(steps)", tail="[1][0]"),
        "20-day 5-2",
    ),
    R("nn-GRU", *_layer("GRU(3, 4)", "(steps)", tail="[0]"), "20-day 5-2"),
    R("nn-RNN", *_layer("RNN(3, 4)", "(steps)", tail="[1]"), "20-day 5-2"),
    R("nn-LSTMCell", *_layer("LSTMCell(3, 4)", "(x)"), "20-day 5-2"),
    R("nn-GRUCell", *_layer("GRUCell(3, 4)", "(x)"), "20-day 5-2"),
    R("nn-RNNCell", *_layer("RNNCell(3, 4)", "(x)"), "20-day 5-2"),
    R("nn-MultiheadAttention", *_layer("MultiheadAttention(3, 1)", "(steps, steps, steps)", tail="[0]"), "20-day 5-2"),
    R("nn-TransformerEncoderLayer", *_layer("TransformerEncoderLayer(3, 1, 8, dropout=0.0)", "(steps)"), "20-day 5-2"),
)
