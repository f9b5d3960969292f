"""Rows: activations, as functions and as modules."""

from functools import partial

from .row import Row

R = partial(Row, topic="activations")

ROWS = (
    R(
        "F-relu",
        "F.relu(x)",
        "F.relu(x)",
        "basics 4, notes, 20-day 4-3, basics 6, 20-day 5-3",
        "jax.nn.relu is the same.",
    ),
    R("torch-relu", "torch.relu(x)", "F.relu(x)", "20-day 3-3"),
    R("nn-ReLU", "nn.ReLU()(x)", "nn.ReLU()(x)", "20-day 4-3, practice 4, quick start"),
    R(
        "nn-ReLU-inplace",
        "b = x.clone()\nnn.ReLU(inplace=True)(b)\nb",
        "b = x\nb = nn.ReLU(inplace=True)(b)\nb",
        "notes",
        "`inplace` is accepted and does nothing: keep the result.",
    ),
    R("F-sigmoid", "F.sigmoid(x)", "F.sigmoid(x)", "20-day 4-3"),
    R("nn-Sigmoid", "nn.Sigmoid()(x)", "nn.Sigmoid()(x)", "20-day 4-3, 20-day 5-3"),
    R("F-tanh", "F.tanh(x)", "F.tanh(x)", "20-day 4-3"),
    R("nn-Tanh", "nn.Tanh()(x)", "nn.Tanh()(x)", "20-day 4-3"),
    R(
        "F-softmax",
        "F.softmax(x, dim=1)",
        "F.softmax(x, dim=1)",
        "20-day 4-3, basics 6",
        "Name dim: PyTorch guesses with a warning. jax.nn.softmax takes the last axis.",
    ),
    R("nn-Softmax", "nn.Softmax(dim=1)(x)", "nn.Softmax(dim=1)(x)", "20-day 4-3, quick start, 20-day 6-2"),
    R("nn-Softmax-first", "nn.Softmax(dim=0)(x)", "jax.nn.softmax(x, axis=0)", "20-day 4-3"),
    R("nn-LogSoftmax", "nn.LogSoftmax(dim=1)(x)", "nn.LogSoftmax(dim=1)(x)", "20-day 5-3"),
    R(
        "gelu",
        "F.gelu(x)",
        "F.gelu(x)",
        "20-day 4-3",
        "jax.nn.gelu is the tanh approximation unless approximate=False.",
    ),
    R("nn-Threshold", "nn.Threshold(0.5, -7.0)(x)", "nn.Threshold(0.5, -7.0)(x)", "20-day 5-2"),
)
