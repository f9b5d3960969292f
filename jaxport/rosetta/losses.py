"""Rows: losses, as functions and as modules."""

from functools import partial

from .row import Row

R = partial(Row, topic="losses")

ROWS = (
    R("mse-by-hand", "torch.mean((x - y) ** 2)", "jnp.mean((x - y) ** 2)", "practice 3, 20-day 3-1"),
    R("F-mse-loss", "F.mse_loss(x, y)", "F.mse_loss(x, y)", "20-day 4-3", "optax.l2_loss has ½ and no mean."),
    R("nn-MSELoss", "nn.MSELoss()(x, y)", "nn.MSELoss()(x, y)", "basics 3, basics 4, notes, 20-day 4-3, 20-day 5-3"),
    R("nn-L1Loss", "nn.L1Loss()(x, y)", "nn.L1Loss()(x, y)", "20-day 5-3"),
    R("nn-SmoothL1Loss", "nn.SmoothL1Loss()(x, y)", "nn.SmoothL1Loss()(x, y)", "20-day 5-3"),
    R(
        "F-binary-cross-entropy",
        "F.binary_cross_entropy(target, bits)",
        "F.binary_cross_entropy(target, bits)",
        "20-day 4-3, 20-day 5-3",
        "Logarithms are not below -100.",
    ),
    R("nn-BCELoss", "nn.BCELoss()(target, bits)", "nn.BCELoss()(target, bits)", "20-day 4-3, 20-day 5-3"),
    R(
        "nn-BCELoss-none",
        "nn.BCELoss(reduction='none')(target, bits)",
        "nn.BCELoss(reduction='none')(target, bits)",
        "20-day 5-3",
    ),
    R(
        "bce-certain",
        "nn.BCELoss()(torch.zeros(2), torch.ones(2))",
        "nn.BCELoss()(jnp.zeros(2), jnp.ones(2))",
        "20-day 5-3",
        "100, not infinity.",
    ),
    R(
        "nn-BCEWithLogitsLoss",
        "nn.BCEWithLogitsLoss()(logits, bits)",
        "nn.BCEWithLogitsLoss()(logits, bits)",
        "20-day 5-3",
        "Takes logits: no sigmoid before it.",
    ),
    R(
        "F-bce-with-logits",
        "F.binary_cross_entropy_with_logits(logits, bits)",
        "F.binary_cross_entropy_with_logits(logits, bits)",
        "quick start",
    ),
    R(
        "nn-CrossEntropyLoss",
        "nn.CrossEntropyLoss()(logits, labels)",
        "nn.CrossEntropyLoss()(logits, labels)",
        "practice 4, basics 5, basics 6, quick start, 20-day 4-3, 20-day 5-3",
        "Takes logits and integers: no softmax before it.",
    ),
    R("F-cross-entropy", "F.cross_entropy(logits, labels)", "F.cross_entropy(logits, labels)", "20-day 4-3"),
    R(
        "cross-entropy-optax",
        "F.cross_entropy(logits, labels)",
        "optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()",
        "20-day 5-3",
        "optax's has no mean, no weights, no ignore_index.",
    ),
    R(
        "nn-NLLLoss",
        "nn.NLLLoss()(nn.LogSoftmax(dim=1)(logits), labels)",
        "nn.NLLLoss()(nn.LogSoftmax(dim=1)(logits), labels)",
        "20-day 5-3",
        "Cross-entropy in two parts.",
    ),
    R(
        "label-out-of-range",
        "nn.CrossEntropyLoss()(logits, torch.tensor([0, 1, 2, 3]))",
        "jax.jit(F.cross_entropy)(logits, jnp.array([0, 1, 2, 3]))",
        "20-day 5-3",
        "jaxport raises the same IndexError outside jit; under jit nothing can look at values, and the loss is NaN.",
        torch_raises="IndexError",
        jax_is="jnp.array(jnp.nan)",
    ),
    R(
        "cross-entropy-weight",
        "nn.CrossEntropyLoss(weight=torch.tensor([0.2, 0.5, 0.3]))(logits, labels)",
        "nn.CrossEntropyLoss(weight=jnp.array([0.2, 0.5, 0.3]))(logits, labels)",
        "20-day 5-3",
        "The mean is divided by the sum of the weights.",
    ),
    R("nn-CosineSimilarity", "nn.CosineSimilarity(dim=1)(x, y)", "nn.CosineSimilarity(dim=1)(x, y)", "20-day 5-3"),
    R(
        "nn-AdaptiveLogSoftmaxWithLoss",
        "torch.manual_seed(0)\nnn.AdaptiveLogSoftmaxWithLoss(4, 12, cutoffs=[3, 7], div_value=2.0)(batch, 3 * "
        "batch_labels)",
        "nn.AdaptiveLogSoftmaxWithLoss(4, 12, cutoffs=[3, 7], div_value=2.0, rngs=torch_rngs(0))(batch, 3 * "
        "batch_labels)",
        "20-day 5-3",
        "Output and loss.",
        x64=False,
    ),
    R(
        "focal-loss",
        "bce = nn.BCELoss(reduction='none')(target, bits)\np_t = bits * target + (1 - bits) * (1 - target)\n"
        "alpha = bits * 0.75 + (1 - bits) * (1 - 0.75)\ntorch.mean(alpha * torch.pow(1.0 - p_t, 2.0) * bce)",
        "bce = nn.BCELoss(reduction='none')(target, bits)\np_t = bits * target + (1 - bits) * (1 - target)\n"
        "alpha = bits * 0.75 + (1 - bits) * (1 - 0.75)\njnp.mean(alpha * jnp.power(1.0 - p_t, 2.0) * bce)",
        "20-day 5-3",
        "A loss of one's own is a function of predictions and targets.",
    ),
    R(
        "l2-regularisation",
        "torch.manual_seed(0)\nnet = nn.Linear(3, 4)\n"
        "sum(0.001 * 0.5 * torch.sum(torch.pow(p, 2)) for name, p in net.named_parameters() if 'bias' not in name)",
        "net = nn.Linear(3, 4, rngs=torch_rngs(0))\n"
        "sum(0.001 * 0.5 * jnp.sum(jnp.power(p[...], 2)) for name, p in net.named_parameters() if 'bias' not in name)",
        "20-day 5-3",
        "`p[...]` is a parameter's array.",
        x64=False,
    ),
    R(
        "l1-regularisation",
        "torch.manual_seed(0)\nnet = nn.Linear(3, 4)\n"
        "sum(0.001 * torch.sum(torch.abs(p)) for name, p in net.named_parameters() if 'bias' not in name)",
        "net = nn.Linear(3, 4, rngs=torch_rngs(0))\n"
        "sum(0.001 * jnp.sum(jnp.abs(p[...])) for name, p in net.named_parameters() if 'bias' not in name)",
        "20-day 5-3",
        "Its gradient at 0 differs: see Gradients at kinks.",
        x64=False,
    ),
    R("loss-call", "nn.MSELoss().__call__(x, y)", "nn.MSELoss().__call__(x, y)", "quick start"),
    R("sum-of-squares", "(x - y).pow(2).sum()", "((x - y) ** 2).sum()", "basics 3"),
)
