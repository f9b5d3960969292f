"""The traps: 33 places where JAX and PyTorch differ, what is seen, why, what to write, and which rules say so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trap:
    """One difference between the frameworks that ports fall into.

    Attributes:
        number: its number, stable between versions.
        title: what it is about.
        symptom: what is seen, in the words that one would search for.
        cause: what each framework does.
        fix: what to write instead.
        rules: ids of the findings that name it: "lint/…" before anything runs, "cause/…" from the numbers.
    """

    number: int
    title: str
    symptom: str
    cause: str
    fix: str
    rules: tuple[str, ...]


TRAPS: tuple[Trap, ...] = (
    Trap(
        1,
        "BatchNorm's running variance",
        "Training outputs agree, but `running_var` differs after the first step, by a factor of n/(n−1) in what is "
        "added; evaluation is off by a little, more so with small batches.",
        "Both normalise by the biased variance. PyTorch stores the unbiased one (n/(n−1)), Flax the biased one.",
        "Scale the batch's variance by n/(n−1) before it is stored, as `jaxport.nn.BatchNorm2d` does; for weights that "
        "are only evaluated nothing is to be done.",
        ("lint/running-variance", "cause/unbiased-variance"),
    ),
    Trap(
        2,
        "BatchNorm's momentum",
        "`running_mean` moves nine times too fast or ten times too slowly; training looks right, evaluation does not.",
        "PyTorch's momentum is the weight of the new value (0.1), Flax's that of the old one (0.99 by default).",
        "`nnx.BatchNorm(…, momentum=1 - m)`: 0.9 for PyTorch's default of 0.1.",
        ("lint/momentum", "cause/momentum"),
    ),
    Trap(
        3,
        "BatchNorm with momentum=None, num_batches_tracked",
        "The running statistics agree after no step; the state dict has a `num_batches_tracked` that has no place.",
        "With `momentum=None` PyTorch averages all batches with equal weights and counts them; Flax has neither.",
        "Keep a counter k beside the layer and use 1 − 1/k as momentum, or take `jaxport.nn.BatchNorm2d`.",
        ("lint/momentum-none", "cause/cumulative-average"),
    ),
    Trap(
        4,
        "Fast variance",
        "In float32 a norm is wrong by per cents (or NaN) where inputs have a large mean; in float64 it is right.",
        "Flax computes E[x²] − E[x]² by default, which cancels; PyTorch subtracts the mean first.",
        "`use_fast_variance=False` in nnx and Linen norms.",
        ("lint/fast-variance", "cause/fast-variance"),
    ),
    Trap(
        5,
        "eps of LayerNorm and GroupNorm",
        "Norms differ by 1e-5 on usual inputs and by much on small ones (first tokens, padded rows, dead channels).",
        "PyTorch's eps is 1e-5 in all norms but RMSNorm; Flax's is 1e-6 in LayerNorm, GroupNorm and InstanceNorm.",
        "`epsilon=1e-5`, or what the PyTorch layer has.",
        ("lint/eps", "cause/eps"),
    ),
    Trap(
        6,
        "GELU",
        "Activations differ by up to 5e-4 after each GELU, and more with every layer.",
        "`torch.nn.GELU` is x·Φ(x) with erf; `jax.nn.gelu` and `nnx.gelu` take the tanh approximation by default.",
        "`jax.nn.gelu(x, approximate=False)`; for `GELU(approximate='tanh')` the default is right.",
        ("lint/gelu", "cause/gelu-tanh"),
    ),
    Trap(
        7,
        "Flatten order",
        "Everything agrees up to the first linear layer after the convolutions, whose output has nothing in common.",
        "PyTorch flattens N, C·H·W; a JAX model with channels last flattens N, H·W·C.",
        "Move channels in front before flattening (`x.transpose(0, 3, 1, 2).reshape(n, -1)`), or permute the rows of "
        "the linear layer's kernel once, when weights are carried over.",
        ("lint/flatten-order", "cause/flatten-order"),
    ),
    Trap(
        8,
        "Padding",
        "Convolution or pooling outputs are shifted by a pixel at stride 2, or have another shape.",
        "PyTorch pads by integers, both sides alike, 0 by default. 'SAME' (Flax's default) pads by what the input's "
        "size asks for, and at stride 2 one more behind than in front.",
        "Give both sides: `padding=((1, 1), (1, 1))`, or `padding='VALID'` for PyTorch's default of 0.",
        ("lint/padding", "cause/padding"),
    ),
    Trap(
        9,
        "Transposed convolution",
        "Up-sampled maps are mirrored, or cropped at other places; sizes differ by one or two.",
        "PyTorch's is the gradient of a convolution: the kernel is flipped, and padding crops the result. JAX slides "
        "the kernel as it stands over the dilated input, and padding is added to that.",
        "Flip the kernel's spatial axes when weights are carried over (or `transpose_kernel=True`), and pad by "
        "(d(k−1) − p, d(k−1) − p + output_padding).",
        ("lint/transposed-convolution", "cause/kernel-flip", "cause/transposed-padding"),
    ),
    Trap(
        10,
        "LSTM biases and gates",
        "Hidden states differ from the first step on; or they agree, and one optimiser step parts the biases.",
        "PyTorch has two biases (b_ih + b_hh) and stacks the gates i, f, g, o. Flax has one, so that an optimiser "
        "moves the sum once where PyTorch moves it twice.",
        "Carry over b_ih + b_hh; keep the gate order; for equal training keep both biases (`jaxport.nn.LSTM`).",
        ("lint/rnn-bias", "cause/rnn-bias", "cause/gate-order"),
    ),
    Trap(
        11,
        "GRU's bias inside the reset gate",
        "A GRU with carried-over weights is close, but not equal, from the first step.",
        "PyTorch has n = tanh(W x + b_in + r ⊙ (U h + b_hn)); Flax's cell has no b_hn, and no other bias replaces it.",
        "Use a cell that has it (`jaxport.nn.GRU`, Equinox's `GRUCell` with `bias_n`), or train PyTorch with b_hn = 0.",
        ("lint/gru-bias", "cause/gru-bias"),
    ),
    Trap(
        12,
        "Attention",
        "Attention mixes examples of the batch, or attends to padding only; weights do not fit (3E, E).",
        "PyTorch packs q, k, v in one `in_proj`, takes (length, batch, features) by default, and masks where True. "
        "Flax keeps separate kernels, takes (batch, length, features), and masks where False.",
        "Swap the first two axes or build PyTorch's with `batch_first=True`; split `in_proj` in the order q, k, v; "
        "pass `mask=~key_padding_mask[:, None, None, :]`.",
        ("lint/batch-first", "lint/num-heads", "cause/batch-first", "cause/qkv-order", "cause/mask-inverted"),
    ),
    Trap(
        13,
        "Average pooling",
        "The border of a pooled map differs, the middle agrees; or the last row or column is missing.",
        "PyTorch counts the padding in the divisor by default (`count_include_pad`), has `ceil_mode` and "
        "`divisor_override`; JAX's helpers have some of these with other defaults, and stride 1 where PyTorch takes "
        "the window's size.",
        "`nnx.avg_pool(x, (k, k), strides=(k, k), padding=…, count_include_pad=True)`.",
        ("lint/pooling", "cause/count-include-pad", "cause/ceil-mode", "cause/pool-stride"),
    ),
    Trap(
        14,
        "Max pooling",
        "The border of a max-pooled map is 0 where PyTorch has a negative number; sizes differ with `ceil_mode`.",
        "PyTorch pads with −∞ and has dilation, `return_indices` and `ceil_mode`; a padding by zeros before a "
        "JAX pooling is another thing.",
        "Give the padding to the pooling (`nnx.max_pool(…, padding=((1, 1), (1, 1)))`), which pads with −∞.",
        ("lint/pooling", "cause/max-pool-padding", "cause/ceil-mode", "cause/pool-stride"),
    ),
    Trap(
        15,
        "Gradients of a maximum with ties",
        "Outputs agree, gradients differ at a few elements: 1 and 0 in PyTorch, 0.5 and 0.5 in JAX.",
        "`torch.max(x, dim)` gives the whole gradient to one index, `amax` and `jnp.max` split it among equals.",
        "`jnp.take_along_axis(x, jnp.argmax(x, axis, keepdims=True), axis)` for `max(dim)`, `jnp.max` for `amax`.",
        ("lint/tied-maximum", "cause/tied-maximum"),
    ),
    Trap(
        16,
        "Gradients at kinks",
        "Gradients differ exactly where an input is 0 (or on a bound), often for padded or clipped data; or NaN.",
        "PyTorch: relu 0 at 0, clamp 1 on its bounds, abs 0, norm 0. JAX: `jnp.maximum(x, 0)` 0.5, `jnp.clip` 0.5 on a "
        "bound, `jnp.abs` 1, `jnp.linalg.norm` NaN.",
        "`jax.nn.relu`; `jnp.where` with the wanted side; for norms the double-where trick: replace zeros before sqrt.",
        ("lint/kink", "cause/kink", "cause/norm-at-zero"),
    ),
    Trap(
        17,
        "Nearest-neighbour resizing",
        "Nearest up-sampling by a factor that is no integer, or down-sampling, picks neighbouring pixels.",
        "`mode='nearest'` takes floor(i·scale); `jax.image.resize(…, 'nearest')` takes pixel centres, which PyTorch "
        "calls 'nearest-exact'.",
        "Index with `jnp.floor(jnp.arange(out) * (in / out))`, or `mode='nearest-exact'` in PyTorch.",
        ("lint/resize", "cause/nearest"),
    ),
    Trap(
        18,
        "Linear resizing",
        "Down-sampled pictures are smoother in JAX; up-sampled ones are stretched by a fraction of a pixel.",
        "`jax.image.resize` antialiases when shrinking, PyTorch does not unless told; `align_corners=True` has no "
        "counterpart in JAX.",
        "`jax.image.resize(…, 'linear', antialias=False)`; for align_corners `jax.image.scale_and_translate` or "
        "`jaxport.nn.functional.interpolate`.",
        ("lint/resize", "cause/antialias", "cause/align-corners"),
    ),
    Trap(
        19,
        "Bicubic resizing",
        "Bicubic results differ by up to a quarter of the range near edges.",
        "PyTorch's kernel has a = −0.75, JAX's (Keys) a = −0.5, and borders are treated in another way.",
        "`jaxport.nn.functional.interpolate(mode='bicubic')`; `antialias=True` in PyTorch has a = −0.5 too.",
        ("lint/resize", "cause/bicubic"),
    ),
    Trap(
        20,
        "var, std and median",
        "A standard deviation is off by sqrt(n/(n−1)); a median of an even number of values is another number.",
        "`torch.var`/`std` divide by n − 1, `jnp.var`/`std` by n. `torch.median` returns the lower of the middle two, "
        "`jnp.median` their mean.",
        "`jnp.var(x, ddof=1)`; `jnp.sort(x)[..., (n - 1) // 2]`.",
        ("lint/ddof", "lint/median", "cause/ddof", "cause/median"),
    ),
    Trap(
        21,
        "Index out of range",
        "Where PyTorch raises IndexError JAX goes on: rows of NaN, or those of the last index.",
        "JAX's gathers clamp, or fill with NaN (`nnx.Embed`, `jnp.take`), as compiled code cannot raise.",
        "Check the indices and the table's size before the call; `jax.experimental.checkify` in debugging.",
        ("lint/index", "cause/index-out-of-range"),
    ),
    Trap(
        22,
        "Integer width",
        "Indices, counts or hashes become negative or wrong beyond 2^31; dtypes int32 and int64 differ.",
        "PyTorch's integers are int64; JAX's are int32 unless `jax_enable_x64` is set, and overflow wraps silently.",
        '`jax.config.update("jax_enable_x64", True)`, or keep such sums in floats or in uint32 pairs.',
        ("lint/integer-width", "cause/integer-width"),
    ),
    Trap(
        23,
        "Embedding's padding_idx and max_norm",
        "The row of the padding token trains in JAX and stays in PyTorch; long rows are scaled down in PyTorch.",
        "`padding_idx` gives its row no gradient, `max_norm` rescales rows in place; Flax's Embed has neither.",
        "Multiply by `(ids != padding_idx)[..., None]`, or stop the gradient there: `jaxport.nn.Embedding`.",
        ("lint/padding-idx", "lint/max-norm", "cause/padding-idx", "cause/max-norm"),
    ),
    Trap(
        24,
        "Cross-entropy's options",
        "The loss differs although logits agree, once there are class weights, ignored labels or smoothing.",
        "PyTorch's weighted mean divides by the sum of the weights; `ignore_index` leaves positions out of both sum "
        "and count; smoothing is an argument. optax's losses are one number an example and have none of these.",
        "`(w[y] * nll).sum() / w[y].sum()`, or `jaxport.nn.functional.cross_entropy`.",
        ("lint/cross-entropy", "cause/weighted-mean", "cause/ignore-index", "cause/label-smoothing"),
    ),
    Trap(
        25,
        "Squared error's ½",
        "Loss and all gradients are exactly half of PyTorch's.",
        "`torch.nn.MSELoss` has no ½, `optax.l2_loss` has one.",
        "`optax.squared_error(x, y).mean()`.",
        ("lint/half-square", "cause/half-square"),
    ),
    Trap(
        26,
        "Binary cross-entropy of probabilities 0 and 1",
        "The loss is inf or NaN in JAX where PyTorch shows 100 or less.",
        "`torch.nn.BCELoss` clamps each logarithm at −100; a written-out −y·log(p) does not.",
        "`jnp.maximum(jnp.log(p), -100.0)`; better, a loss from logits on both sides.",
        ("lint/log-clamp", "cause/log-clamp"),
    ),
    Trap(
        27,
        "KL divergence, SmoothL1 and Huber",
        "A loss is off by the number of classes, by beta, or by a constant factor.",
        "`KLDivLoss` averages over all elements unless told 'batchmean'; SmoothL1(beta) is Huber(delta)/beta; "
        "optax sums over classes and has Huber only.",
        "Average over the same elements; `optax.huber_loss(x, y, delta=beta).mean() / beta` for SmoothL1.",
        ("lint/loss-reduction", "cause/kl-reduction", "cause/huber"),
    ),
    Trap(
        28,
        "Dropout",
        "Outputs of two evaluations differ, or have zeros; training never agrees.",
        "Masks come from other generators and cannot coincide. A layer that is left on in evaluation, or that takes "
        "the probability of keeping for that of dropping, is a bug.",
        "`model.eval()` (nnx sets `deterministic`), the same rate on both sides; replay the masks to compare training.",
        ("lint/dropout", "lint/train-mode", "cause/dropout", "cause/train-mode"),
    ),
    Trap(
        29,
        "Initialisation",
        "Two models of the same shape train differently from the first step; biases start at 0.",
        "PyTorch: kaiming_uniform(a=√5), which is uniform within 1/√fan_in, biases too; Embedding N(0, 1). Flax: "
        "lecun_normal and zero biases.",
        "Carry the weights over before comparing; for equal distributions use `jaxport.nn.init`.",
        ("lint/initialisation", "cause/initialisation"),
    ),
    Trap(
        30,
        "Matrix precision",
        "On a GPU or TPU everything is off by 1e-3; on a CPU it agrees. Or a layer has dtype=bfloat16.",
        "JAX's default precision allows TF32 on GPUs and bfloat16 products on TPUs; PyTorch's matrix products are "
        "float32 unless told.",
        '`jax.config.update("jax_default_matmul_precision", "highest")`, `precision="highest"` in the layer, and no '
        "`dtype=jnp.bfloat16` where PyTorch has float32.",
        ("lint/precision", "lint/dtype", "cause/low-precision"),
    ),
    Trap(
        31,
        "Order of float32 sums",
        "float64 agrees to 1e-15, float32 differs by 1e-6 or more where thousands of numbers are added.",
        "Sums are rounded in the order in which they are added; one running total (a scan, a cumulative sum) is the "
        "worst order.",
        "Nothing, if float32 stays within PyTorch's own rounding; else `jnp.sum` in place of a running total.",
        ("cause/summation",),
    ),
    Trap(
        32,
        "NNX modules under jax.jit",
        "The loss does not fall and parameters keep their values; no error is raised.",
        "A module that is passed through `jax.jit` is a copy inside: its updates are lost. A donated state deletes the "
        "module's arrays.",
        "`nnx.jit`, or `nnx.split`, return the new state from the step, and `nnx.update`.",
        ("cause/no-update", "train/no-op"),
    ),
    Trap(
        33,
        "A bias in front of BatchNorm",
        "One bias differs by the learning rate after an Adam step, all else agrees.",
        "Its true gradient is 0; Adam divides rounding noise by its own size and makes steps of ±lr of it.",
        "`use_bias=False` (`bias=False`) in front of BatchNorm; or compare such leaves in float64 only.",
        ("lint/bias-before-norm", "cause/zero-gradient"),
    ),
)

OTHER_RULES: dict[str, str] = {
    "lint/bias": "a layer has a bias on one side only",
    "lint/stride": "strides differ",
    "lint/dilation": "dilations differ",
    "lint/groups": "groups differ",
    "lint/shape": "sizes of two paired layers differ",
    "lint/affine": "a norm has scale or bias on one side only",
    "lint/bidirectional": "a recurrent layer reads both ways on one side only",
    "lint/slope": "the slope or alpha of an activation differs",
    "lint/x64": "x64 is off, so that float64 cannot be compared",
    "cause/axes": "the same numbers in another order of axes",
    "cause/matrix-transposed": "a square weight is transposed",
    "cause/factor": "a constant factor",
    "cause/sign": "the opposite sign",
    "cause/offset": "a constant offset",
    "cause/missing-bias": "the bias is not added",
    "cause/missing-scale": "the scale is not applied",
    "cause/shift": "the same numbers one place further",
    "cause/reversed": "the same numbers in reversed order",
    "cause/stride": "another stride",
    "cause/dilation": "another dilation",
    "cause/groups": "the channels of the groups are in another order",
    "cause/softmax-axis": "softmax over another axis",
    "cause/num-heads": "another number of attention heads",
    "cause/mask-missing": "a mask that is not used",
    "cause/attention-scale": "scores are not divided by the root of the head's size",
    "cause/gru-update-gate": "the update gate is used the other way round",
    "cause/activation": "another activation",
    "cause/adam-eps": "Adam's eps inside the root",
    "cause/weight-decay": "weight decay coupled on one side and decoupled on the other",
    "cause/nesterov": "Nesterov's momentum on one side only",
    "cause/dampening": "momentum with dampening on one side only",
    "cause/clip-norm": "gradients are clipped by another norm",
    "cause/learning-rate": "steps are a constant multiple of PyTorch's",
    "cause/ascent": "steps go the other way",
    "cause/bias-correction": "Adam without bias correction",
}
"""Rules that name no trap of the list, and what they say."""


def trap_of(rule: str) -> int | None:
    """Return the number of the first trap that a rule names, None if it names none."""
    return next((trap.number for trap in TRAPS if rule in trap.rules), None)


def fix_of(rule: str) -> str:
    """Return that trap's fix, "" if there is none."""
    number = trap_of(rule)
    return TRAPS[number - 1].fix if number else ""


_HEAD = """# Traps: symptom → cause → fix

The places where JAX and PyTorch differ and ports go wrong. Each names the rules by which `jaxport` points to it:
`lint/…` is read from the settings of both models before anything runs, `cause/…` from the numbers, and only if they
can be reconstructed under that hypothesis.

This page is written by `python -m jaxport.parity.traps` from `jaxport/parity/traps.py`.
"""


def to_markdown() -> str:
    """Return docs/traps.md."""
    parts = [_HEAD]
    for trap in TRAPS:
        rules = ", ".join(f"`{rule}`" for rule in trap.rules)
        parts.append(
            f"## {trap.number}. {trap.title}\n\n**Symptom.** {trap.symptom}\n\n**Cause.** {trap.cause}\n\n"
            f"**Fix.** {trap.fix}\n\n**Rules.** {rules}\n"
        )
    rows = "\n".join(f"| `{rule}` | {text} |" for rule, text in OTHER_RULES.items())
    parts.append(f"## Other findings\n\n| rule | what it says |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(to_markdown(), end="")
