"""What ports do otherwise in recurrent layers."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from .case import Case
from .run import Runner, Variant

NAMES = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")

_GATES = {"LSTM": "ifgo", "GRU": "rzn", "RNN": "h"}


def variants(layer: Runner, case: Case) -> list[Variant]:
    """Return biases left out, gates in another order, transposed matrices, GRU's two conventions, other axes."""
    kind = type(layer.module).__name__.removesuffix("Cell")
    found = _biases(layer) + _gates(layer, _GATES[kind]) + _transposed(layer, len(_GATES[kind]))
    if kind == "GRU":
        found += _gru(layer)
    if not type(layer.module).__name__.endswith("Cell"):
        other = not layer.module.batch_first
        text = "JAX takes batch and time in the other order"
        found.append(Variant("cause/batch-first", text, layer.changed(batch_first=other), "swap the first two axes"))
    return found


def _names(layer: Runner, start: str) -> list[str]:
    return [name for name, _ in layer.module.named_parameters() if name.startswith(start)]


def _biases(layer: Runner) -> list[Variant]:
    found = []
    for starts, text in (
        (("bias_hh",), "b_hh is missing: JAX's one bias is b_ih"),
        (("bias_ih",), "b_ih is missing: JAX's one bias is b_hh"),
        (("bias_hh", "bias_ih"), "JAX adds no bias"),
    ):
        names = [name for start in starts for name in _names(layer, start)]
        if names:
            zeros = {name: np.zeros_like(layer.array(name)) for name in names}
            found.append(Variant("cause/rnn-bias", text, layer.changed(**zeros), "carry over b_ih + b_hh"))
    return found


def _gates(layer: Runner, gates: str) -> list[Variant]:
    found = []
    for order in list(permutations(range(len(gates))))[1:]:
        ours = "".join(gates[i] for i in order)
        changes = {}
        for name in _names(layer, "weight") + _names(layer, "bias"):
            if "_hr_" not in name:  # a projection has no gates
                blocks = np.split(layer.array(name), len(gates))
                changes[name] = np.concatenate([blocks[i] for i in order])
        text = f"the gates are in another order: JAX's {gates} get PyTorch's {ours}"
        fix = f"PyTorch stacks {', '.join(gates)} along axis 0"
        found.append(Variant("cause/gate-order", text, layer.changed(**changes), fix))
    return found


def _transposed(layer: Runner, count: int) -> list[Variant]:
    found = []
    for start in ("weight_hh", "weight_ih"):
        names = _names(layer, start)
        blocks = {name: np.split(layer.array(name), count) for name in names}
        if names and all(block.shape[0] == block.shape[1] for parts in blocks.values() for block in parts):
            changes = {name: np.concatenate([block.T for block in parts]) for name, parts in blocks.items()}
            text = f"JAX's {start} is transposed (it is square, so that it fits both ways)"
            found.append(Variant("cause/matrix-transposed", text, layer.changed(**changes)))
    return found


def _gru(layer: Runner) -> list[Variant]:
    flipped = {}
    for name in _names(layer, "weight") + _names(layer, "bias"):
        r, z, n = np.split(layer.array(name), 3)
        flipped[name] = np.concatenate([r, -z, n])
    gate = Variant(
        "cause/gru-update-gate",
        "JAX has h' = (1 − z) ⊙ h + z ⊙ n, PyTorch (1 − z) ⊙ n + z ⊙ h",
        layer.changed(**flipped),
        "swap z and 1 − z, or negate the weights of z",
    )
    if type(layer.module).__name__ != "GRU" or layer.module.num_layers != 1 or layer.module.bidirectional:
        return [gate]
    text = "b_hn stands outside of r ⊙ (…), where JAX's cell has its only bias"
    drop = "b_hn is missing inside of r ⊙ (…): JAX's cell has no such bias"
    return [
        gate,
        Variant("cause/gru-bias", text, lambda x, *h: _gru_outside(layer, x, 1.0)),
        Variant("cause/gru-bias", drop, lambda x, *h: _gru_outside(layer, x, 0.0)),
    ]


def _gru_outside(layer: Runner, x: np.ndarray, share: float) -> np.ndarray:
    """Compute a GRU whose b_hn is added outside the reset gate, `share` times."""
    w, u = layer.array("weight_ih_l0"), layer.array("weight_hh_l0")
    b, c = layer.array("bias_ih_l0"), layer.array("bias_hh_l0")
    steps = np.swapaxes(x, 0, 1) if layer.module.batch_first and x.ndim == 3 else x
    h = np.zeros((*steps.shape[1:-1], u.shape[1]))
    outputs = []
    for step in steps:
        (ir, iz, i_n), (hr, hz, hn) = np.split(step @ w.T + b, 3, -1), np.split(h @ u.T, 3, -1)
        cr, cz, cn = np.split(c, 3)
        r, z = 1 / (1 + np.exp(-(ir + hr + cr))), 1 / (1 + np.exp(-(iz + hz + cz)))
        n = np.tanh(i_n + share * cn + r * hn)
        h = (1 - z) * n + z * h
        outputs.append(h)
    result = np.stack(outputs)
    return np.swapaxes(result, 0, 1) if layer.module.batch_first and x.ndim == 3 else result
