"""What ports do otherwise in linear layers, embeddings, softmax and dropout."""

from __future__ import annotations

import numpy as np

from .case import Case
from .fit import wide
from .run import Runner, Variant

NAMES = ("Linear", "Embedding", "Softmax", "LogSoftmax")


def variants(layer: Runner, case: Case) -> list[Variant]:
    """Return transposed weights, missing biases, products of low precision, other axes."""
    name = type(layer.module).__name__
    if name == "Linear":
        return _linear(layer, case)
    return _embedding(layer, case) if name == "Embedding" else _softmax(layer, case)


def _linear(layer: Runner, case: Case) -> list[Variant]:
    weight, found = layer.array("weight"), []
    if weight.shape[0] == weight.shape[1]:
        text = "JAX's weight is PyTorch's transposed (it is square, so that it fits both ways)"
        fix = "kernel = weight.T, once"
        found.append(Variant("cause/matrix-transposed", text, layer.changed(weight=np.array(weight.T)), fix))
    if layer.has("bias"):
        plain = layer.changed(bias=np.zeros_like(layer.array("bias")))
        found.append(Variant("cause/missing-bias", "JAX does not add the bias, or it was not carried over", plain))
    return found + _reordered(layer)


def _reordered(layer: Runner) -> list[Variant]:
    """Return features that were flattened with the channels last, for every possible number of channels."""
    features, found = layer.module.in_features, []
    for channels in range(2, features // 2 + 1):
        if features % channels == 0:

            def run(x: np.ndarray, c: int = channels) -> np.ndarray:
                return layer(np.swapaxes(x.reshape(*x.shape[:-1], c, -1), -1, -2).reshape(x.shape))

            rest = features // channels
            text = f"JAX's features are flattened from ({rest}, {channels}), PyTorch's from ({channels}, {rest})"
            found.append(Variant("cause/flatten-order", text, run))
    return found


def _embedding(layer: Runner, case: Case) -> list[Variant]:
    found = []
    size = layer.module.embedding_dim**0.5
    scaled = layer.changed(weight=layer.array("weight") * size)
    found.append(Variant("cause/factor", f"JAX multiplies embeddings by sqrt(features) = {size:.4g}", scaled))
    if layer.module.max_norm is not None:
        text = f"JAX does not scale rows down to max_norm={layer.module.max_norm}"
        found.append(Variant("cause/max-norm", text, layer.changed(max_norm=None)))
        if "weight" in case.ours_arrays:  # PyTorch scales its rows in place: after the call only JAX's are as before
            before = wide(case.ours_arrays["weight"])
            found.append(Variant("cause/max-norm", text, layer.changed(max_norm=None, weight=before)))
    if layer.module.padding_idx is not None:
        weight = layer.array("weight").copy()
        weight[layer.module.padding_idx] = 0.0
        text = f"JAX's row {layer.module.padding_idx} (padding_idx) is zero, PyTorch's is not"
        found.append(Variant("cause/padding-idx", text, layer.changed(weight=weight)))
    return found


def _softmax(layer: Runner, case: Case) -> list[Variant]:
    log = type(layer.module).__name__ == "LogSoftmax"
    found = []
    for axis in range(case.ours.ndim):
        text = f"JAX's softmax is over axis {axis}, PyTorch's over {layer.module.dim}"
        found.append(Variant("cause/softmax-axis", text, layer.changed(dim=axis), f"axis={layer.module.dim}"))
    other = (lambda x: np.exp(layer(x))) if log else (lambda x: np.log(wide(layer(x))))
    ours, theirs = ("softmax", "log_softmax") if log else ("log_softmax", "softmax")
    return [*found, Variant("cause/activation", f"JAX has {ours}, PyTorch {theirs}", other)]
