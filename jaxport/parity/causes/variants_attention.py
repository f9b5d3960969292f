"""What ports do otherwise in attention."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from .case import Case
from .run import Runner, Variant

NAMES = ("MultiheadAttention",)


def variants(layer: Runner, case: Case) -> list[Variant]:
    """Return swapped batch and length, q, k and v in another order, inverted masks, missing scale, other heads."""
    found = [_batch_first(layer), *_orders(layer), *_scales(layer), *_heads(layer, case), *_masks(layer)]
    for name, word in (("in_proj_bias", "in_proj"), ("out_proj.bias", "out_proj")):
        owner = layer.module.out_proj if name.startswith("out") else layer.module
        bias = owner.bias if name.startswith("out") else owner.in_proj_bias
        if bias is not None:
            changed = layer.changed()
            target = changed.module.out_proj.bias if name.startswith("out") else changed.module.in_proj_bias
            target.data.zero_()
            found.append(Variant("cause/missing-bias", f"JAX does not add the bias of {word}", changed))
    return found


def _batch_first(layer: Runner) -> Variant:
    other = not layer.module.batch_first
    ours, theirs = ("batch, length", "length, batch") if other else ("length, batch", "batch, length")
    text = f"JAX takes ({ours}, features), PyTorch ({theirs}, features): it attends over the other axis"
    fix = "swap the first two axes in front of and behind JAX's attention, or batch_first=True in PyTorch"
    return Variant("cause/batch-first", text, layer.changed(batch_first=other), fix)


def _orders(layer: Runner) -> list[Variant]:
    if layer.module.in_proj_weight is None:
        return []
    found = []
    for order in list(permutations(range(3)))[1:]:
        names = ["in_proj_weight", *(["in_proj_bias"] if layer.has("in_proj_bias") else [])]
        changes = {}
        for name in names:
            blocks = np.split(layer.array(name), 3)
            changes[name] = np.concatenate([blocks[i] for i in order])
        ours = ", ".join("qkv"[i] for i in order)
        text = f"in_proj is split in another order: JAX's q, k, v get PyTorch's {ours}"
        found.append(Variant("cause/qkv-order", text, layer.changed(**changes), "split in_proj as q, k, v"))
    return found


def _scales(layer: Runner) -> list[Variant]:
    if layer.module.in_proj_weight is None:
        return []
    size = layer.module.embed_dim // layer.module.num_heads
    found = []
    for factor, ours in ((size**0.5, "nothing"), (size**-0.5, "d in place of its root")):
        changes = {}
        for name in ["in_proj_weight", *(["in_proj_bias"] if layer.has("in_proj_bias") else [])]:
            q, *rest = np.split(layer.array(name), 3)
            changes[name] = np.concatenate([q * factor, *rest])
        text = f"JAX divides the scores by {ours}, PyTorch by sqrt(d), d = {size}"
        found.append(Variant("cause/attention-scale", text, layer.changed(**changes)))
    return found


def _heads(layer: Runner, case: Case) -> list[Variant]:
    module = layer.module
    found = []
    for heads in range(1, module.embed_dim + 1):
        if module.embed_dim % heads == 0 and heads != module.num_heads:
            run = layer.changed(num_heads=heads, head_dim=module.embed_dim // heads)
            text = f"JAX has {heads} heads, PyTorch {module.num_heads}"
            found.append(Variant("cause/num-heads", text, run, f"num_heads={module.num_heads}"))
    return found


def _masks(layer: Runner) -> list[Variant]:
    found = []
    for name, mask in layer.keywords.items():
        if mask is not None and mask.dtype == np.bool_:
            run = Runner(layer.module, {**layer.keywords, name: ~mask})
            text = f"{name} is inverted: PyTorch leaves out where it is True, JAX attends there"
            found.append(Variant("cause/mask-inverted", text, run, "mask=~key_padding_mask[:, None, None, :]"))
            rest = {key: value for key, value in layer.keywords.items() if key != name}
            found.append(Variant("cause/mask-missing", f"JAX does not use {name}", Runner(layer.module, rest)))
    return found
