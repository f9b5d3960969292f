"""More cases for the cause finder: recurrent layers, attention, embeddings, forms of differences, gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from cause_cases import arrays, case, jax64, layer, output, pt
from torch import nn

from jaxport.parity.causes import Case
from jaxport.parity.layer import Layer


def lstm(w: Any, x: Any, order: str = "ifgo", biases: tuple[str, ...] = ("bias_ih_l0", "bias_hh_l0")) -> Any:
    """Run one layer, batch first, whose four blocks are taken for the gates of `order`."""
    n = w["weight_hh_l0"].shape[1]
    h = c = jnp.zeros((x.shape[0], n))
    outputs = []
    for t in range(x.shape[1]):
        z = x[:, t] @ w["weight_ih_l0"].T + h @ w["weight_hh_l0"].T + sum(w[b].reshape(1, -1) for b in biases)
        gate = dict(zip(order, jnp.split(z, 4, -1), strict=True))
        c = jax.nn.sigmoid(gate["f"]) * c + jax.nn.sigmoid(gate["i"]) * jnp.tanh(gate["g"])
        h = jax.nn.sigmoid(gate["o"]) * jnp.tanh(c)
        outputs.append(h)
    return jnp.stack(outputs, 1)


@case("cause/gate-order")
def lstm_gates(rng: Any) -> Case:
    return output(nn.LSTM(3, 4, batch_first=True), rng.normal(size=(2, 5, 3)), lambda w, x: lstm(w, x, "igfo"), rng)


@case("cause/rnn-bias")
def lstm_with_one_bias(rng: Any) -> Case:
    ours = lambda w, x: lstm(w, x, biases=("bias_ih_l0",))  # noqa: E731
    return output(nn.LSTM(3, 4, batch_first=True), rng.normal(size=(2, 5, 3)), ours, rng)


@case("cause/matrix-transposed")
def lstm_state_transposed(rng: Any) -> Case:
    def ours(w: Any, x: Any) -> Any:
        blocks = [block.T for block in jnp.split(w["weight_hh_l0"], 4)]
        return lstm(w | {"weight_hh_l0": jnp.concatenate(blocks)}, x)

    return output(nn.LSTM(3, 4, batch_first=True), rng.normal(size=(2, 5, 3)), ours, rng)


def gru(w: Any, x: Any, swap: bool = False, inside: bool = True) -> Any:
    h = jnp.zeros((x.shape[0], w["weight_hh_l0"].shape[1]))
    b, c = (jnp.split(w[k].reshape(1, -1), 3, -1) for k in ("bias_ih_l0", "bias_hh_l0"))
    outputs = []
    for t in range(x.shape[1]):
        i, u = jnp.split(x[:, t] @ w["weight_ih_l0"].T, 3, -1), jnp.split(h @ w["weight_hh_l0"].T, 3, -1)
        r, z = (jax.nn.sigmoid(i[k] + b[k] + u[k] + c[k]) for k in (0, 1))
        n = jnp.tanh(i[2] + b[2] + (r * (u[2] + c[2]) if inside else c[2] + r * u[2]))
        h = (1 - z) * h + z * n if swap else (1 - z) * n + z * h
        outputs.append(h)
    return jnp.stack(outputs, 1)


@case("cause/gru-bias")
def gru_bias_outside(rng: Any) -> Case:
    ours = lambda w, x: gru(w, x, inside=False)  # noqa: E731
    return output(nn.GRU(3, 4, batch_first=True), rng.normal(size=(2, 5, 3)), ours, rng)


@case("cause/gru-update-gate")
def gru_gate_swapped(rng: Any) -> Case:
    return output(nn.GRU(3, 4, batch_first=True), rng.normal(size=(2, 5, 3)), lambda w, x: gru(w, x, True), rng)


def attention(w: Any, x: Any, heads: int = 2, order: Any = (0, 1, 2), scaled: bool = True, mask: Any = None) -> Any:
    """Self-attention, batch first."""
    blocks = jnp.split(w["in_proj_weight"], 3)
    biases = jnp.split(w["in_proj_bias"], 3)
    n, length, features = x.shape
    q, k, v = (
        (x @ blocks[i].T + biases[i].reshape(1, 1, -1)).reshape(n, length, heads, -1).swapaxes(1, 2) for i in order
    )
    scores = q @ k.swapaxes(2, 3) / (jnp.sqrt(q.shape[-1]) if scaled else 1.0)
    if mask is not None:
        scores = jnp.where(mask[:, None, None, :], scores, -jnp.inf)
    y = (jax.nn.softmax(scores, -1) @ v).swapaxes(1, 2).reshape(n, length, features)
    return y @ w["out_proj.weight"].T + w["out_proj.bias"].reshape(1, 1, -1)


def _attend(rng: Any, ours: Any, batch_first: bool = True, **more: Any) -> Case:
    x = rng.normal(size=(3, 5, 6))
    module = nn.MultiheadAttention(6, 2, batch_first=batch_first)
    return output(module, (x, x, x), lambda w, q, k, v: ours(w, q), rng, **more)


@case("cause/batch-first")
def attention_over_the_batch(rng: Any) -> Case:
    return _attend(rng, attention, batch_first=False)


@case("cause/qkv-order")
def in_proj_split_in_another_order(rng: Any) -> Case:
    return _attend(rng, lambda w, x: attention(w, x, order=(1, 0, 2)))


@case("cause/attention-scale")
def scores_are_not_scaled(rng: Any) -> Case:
    return _attend(rng, lambda w, x: attention(w, x, scaled=False))


@case("cause/num-heads")
def other_heads(rng: Any) -> Case:
    return _attend(rng, lambda w, x: attention(w, x, heads=3))


@case("cause/mask-inverted")
def mask_is_inverted(rng: Any) -> Case:
    hidden = np.array([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 1, 1, 1]], bool)
    ours = lambda w, x: attention(w, x, mask=jnp.asarray(hidden))  # noqa: E731
    return _attend(rng, ours, keywords={"key_padding_mask": hidden})


@case("cause/mask-missing")
def mask_is_not_used(rng: Any) -> Case:
    hidden = np.array([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 1, 1, 1]], bool)
    return _attend(rng, attention, keywords={"key_padding_mask": hidden})


@case("cause/index-out-of-range")
def table_is_too_short(rng: Any) -> Case:
    ids = np.array([[0, 3, 6], [5, 6, 1]])
    return output(nn.Embedding(7, 4), ids, lambda w, i: jnp.take(w["weight"][:6], i, axis=0, mode="clip"), rng)


@case("cause/index-out-of-range")
def rows_of_nan(rng: Any) -> Case:
    ids = np.array([[0, 3, 6], [5, 6, 1]])
    return output(nn.Embedding(7, 4), ids, lambda w, i: jnp.take(w["weight"][:6], i, axis=0), rng)


@case("cause/max-norm")
def max_norm(rng: Any) -> Case:
    ids = np.array([[0, 3, 6], [5, 6, 1]])
    return output(nn.Embedding(7, 4, max_norm=1.0), ids, lambda w, i: w["weight"][i], rng)


# Forms ---------------------------------------------------------------------------------------------------------------


def _form(rng: Any, ours: Any, shape: tuple[int, ...] = (3, 4, 6), kind: str = "output") -> Case:
    theirs = rng.normal(0.3, 1.0, shape)
    return Case(kind, jax64(ours, theirs), theirs)


@case("cause/axes")
def transposed_output(rng: Any) -> Case:
    return _form(rng, lambda x: jnp.transpose(x, (0, 2, 1)))


@case("cause/reversed")
def reversed_in_time(rng: Any) -> Case:
    return _form(rng, lambda x: x[:, ::-1])


@case("cause/shift")
def one_step_later(rng: Any) -> Case:
    return _form(rng, lambda x: jnp.concatenate([0 * x[:, :1], x[:, :-1]], 1))


@case("cause/factor")
def root_of_the_features(rng: Any) -> Case:
    return _form(rng, lambda x: x * jnp.sqrt(6.0))


@case("cause/sign")
def opposite_sign(rng: Any) -> Case:
    return _form(rng, lambda x: -x, kind="gradient")


@case("cause/offset")
def offset_of_a_channel(rng: Any) -> Case:
    return _form(rng, lambda x: x + jnp.arange(1.0, 5.0).reshape(1, 4, 1))


@case("cause/dropout")
def dropout_is_on(rng: Any) -> Case:
    keep = rng.random((5, 40)) >= 0.3
    return _form(rng, lambda x: jnp.where(jnp.asarray(keep), x / 0.7, 0.0), (5, 40))


@case("cause/integer-width")
def wrapped_around(rng: Any) -> Case:
    theirs = np.array([[5, 2**31 + 7], [2**33 + 1, -3]])
    return Case("output", theirs.astype(np.int32), theirs)


@case("cause/integer-width")
def narrow_integers(rng: Any) -> Case:
    theirs = np.array([[5, 7], [2, -3]])
    return Case("output", theirs.astype(np.int32), theirs)


@case("cause/summation")
def running_total(rng: Any) -> Case:
    x = rng.normal(0.5, 1.0, (3, 4096)).astype(np.float32)
    ours = np.asarray(jax.lax.scan(lambda s, v: (s + v, None), jnp.zeros(3), x.T)[0])
    return Case("output", ours, x.astype(np.float64).sum(1), input=x)


@case("cause/initialisation")
def weights_were_not_carried_over(rng: Any) -> Case:
    made = output(nn.Linear(7, 5), rng.normal(size=(3, 7)), lambda w, x: x @ w["weight"].T, rng)
    from dataclasses import replace

    from flax import nnx

    own = nnx.Linear(7, 5, rngs=nnx.Rngs(0))
    assert own.bias is not None
    jax_layer = Layer("net", "flax.nnx.Linear", {}, {"kernel": own.kernel[...], "bias": own.bias[...]})
    return replace(made, jax=jax_layer, ours=jax64(lambda x: x @ np.asarray(own.kernel[...], np.float64), made.input))


# Gradients -----------------------------------------------------------------------------------------------------------


def _gradient(x: np.ndarray, theirs: Any, ours: Any, rng: Any) -> Case:
    leaf = pt(x).requires_grad_()
    out = theirs(leaf)
    seed = rng.normal(size=out.shape)
    out.backward(pt(seed))
    mine = jax64(lambda x: jax.vjp(ours, x)[1](jnp.asarray(seed))[0], x)
    assert leaf.grad is not None
    return Case("input_gradient", mine, leaf.grad.numpy(), input=x)


@case("cause/tied-maximum")
def ties_of_a_maximum(rng: Any) -> Case:
    x = rng.integers(0, 3, (4, 7)).astype(np.float64)
    return _gradient(x, lambda x: x.max(1).values, lambda x: x.max(1), rng)


@case("cause/kink")
def relu_at_zero(rng: Any) -> Case:
    x = rng.integers(-2, 3, (4, 7)).astype(np.float64)
    return _gradient(x, torch.relu, lambda x: jnp.maximum(x, 0.0), rng)


@case("cause/kink")
def clip_on_its_bounds(rng: Any) -> Case:
    x = rng.integers(-3, 4, (4, 9)).astype(np.float64)
    return _gradient(x, lambda x: x.clamp(-1, 2), lambda x: jnp.clip(x, -1, 2), rng)


@case("cause/kink")
def abs_at_zero(rng: Any) -> Case:
    x = rng.integers(-2, 3, (4, 7)).astype(np.float64)
    return _gradient(x, torch.abs, jnp.abs, rng)


@case("cause/norm-at-zero")
def norm_of_a_zero_vector(rng: Any) -> Case:
    x = rng.normal(size=(4, 7))
    x[1] = 0.0
    return _gradient(x, lambda x: x.norm(dim=1), lambda x: jnp.sqrt((x * x).sum(1)), rng)


@case("cause/padding-idx")
def gradient_of_the_padding(rng: Any) -> Case:
    module = nn.Embedding(7, 4, padding_idx=2)
    made = layer(module, rng)
    ids, seed = np.array([[0, 2, 6], [2, 2, 1]]), rng.normal(size=(2, 3, 4))
    module(pt(ids)).backward(pt(seed))
    mine = jax64(lambda w: jax.vjp(lambda w: w[jnp.asarray(ids)], w)[1](jnp.asarray(seed))[0], arrays(module)["weight"])
    assert module.weight.grad is not None
    return Case("gradient", mine, module.weight.grad.numpy(), None, made, "weight", arrays=arrays(module))
