"""Known differences between JAX and PyTorch in classes, sequences and tables, planted and found."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_nn_classification as classes
import test_nn_embedding as tables
import test_nn_losses as losses
from cases import Case, case_findings

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.nn import embedding, embedding_bag, init, linear_cross_entropy, loss, loss_ctc

torch = pytest.importorskip("torch")
Wrong = Callable[..., Any]


def case(rows: list[Case], *words: str) -> Case:
    """Return the first row whose id has all these words."""
    return next(row for row in rows if all(word in row.id for word in words))


# --------------------------------------------------------------------------------------------------- the mistakes


def plain_gradient(right: Wrong) -> Wrong:
    """The derivative of the CTC loss by log_probs alone, as jax.grad gives it: PyTorch's has exp(log_probs) more."""

    def ctc(log_probs: jax.Array, labels: Any, lengths: Any, targets: Any, blank: int, zero: bool) -> jax.Array:
        return loss_ctc._without_infinity(loss_ctc._losses(log_probs, labels, lengths, targets, blank)[0], zero)

    return ctc


def mean_of_losses(right: Wrong) -> Wrong:
    """The mean over the batch, not divided by the number of labels (optax's convention)."""

    def ctc(*args: Any, reduction: str, **kwargs: Any) -> jax.Array:
        values = right(*args, reduction="none", **kwargs)
        return {"none": lambda v: v, "sum": jnp.sum, "mean": jnp.mean}[reduction](values)

    return ctc


def merged_repeats(right: Wrong) -> Wrong:
    """A label may follow itself without a blank between."""

    def lattice(labels: jax.Array, blank: int) -> tuple[jax.Array, jax.Array]:
        path, _ = right(labels, blank)
        return path, path != blank

    return lattice


def without(name: str) -> Callable[[Wrong], Wrong]:
    return lambda right: lambda *args, **kwargs: right(*args, **{k: v for k, v in kwargs.items() if k != name})


def scaled_gradient(right: Wrong) -> Wrong:
    """Differentiate through the scaling to max_norm, where PyTorch writes over the weight unseen by autograd."""

    def rows(x: jax.Array, max_norm: float, norm_type: float) -> jax.Array:
        norm = jnp.linalg.norm(x, ord=norm_type, axis=-1, keepdims=True)
        return x * jnp.broadcast_to(jnp.where(norm > max_norm, max_norm / (norm + 1e-7), 1.0), x.shape)

    return rows


def no_guard_in_the_norm(right: Wrong) -> Wrong:
    """Scale to max_norm exactly, without PyTorch's 1e-7."""

    def rows(x: jax.Array, max_norm: float, norm_type: float) -> jax.Array:
        norm = jnp.linalg.norm(jax.lax.stop_gradient(x), ord=norm_type, axis=-1, keepdims=True)
        scale = jnp.broadcast_to(jnp.where(norm > max_norm, max_norm / norm, 1.0), x.shape)
        return x + jax.lax.stop_gradient(x * scale - x)

    return rows


def padding_counts(right: Wrong) -> Wrong:
    """A mean over all indices, the padding among them."""
    return lambda rows, counted, bags, mean: right(rows, jnp.ones_like(counted), bags, mean)


def split_maximum(right: Wrong) -> Wrong:
    """jnp.max splits the gradient among equals."""

    def best(rows: jax.Array, counted: jax.Array, bags: Any) -> jax.Array:
        return bags.max(jnp.where(counted[:, None], rows, -jnp.inf))

    return best


def mean_of_pieces(right: Wrong) -> Wrong:
    """The mean of the pieces' means: only right where all pieces weigh the same."""

    def mapped(function: Any, rows: jax.Array, labels: jax.Array, size: int) -> jax.Array:
        values = right(function, rows, labels, size)
        ends = [*range(0, len(values), size), len(values)]
        means = [values[a:b].mean() for a, b in itertools.pairwise(ends)]
        return jnp.full_like(values, jnp.stack(means).mean())

    return mapped


def unweighted(right: Wrong) -> Wrong:
    """A weighted mean divides by the number of examples."""
    return lambda values, reduction, where, owner, weights=None: right(values, reduction, where, owner)


PADDED = case(tables.EMBEDDING, "(2,3,4)", "padding_idx=2")
NORMED = case(tables.EMBEDDING, "(5,)", "norm=(0.5,1")
FREQUENT = case(tables.EMBEDDING, "(2,3,4)", "freq=True")
BAG_MEAN = case(tables.BAGS, "frequency-mean-2")
BAG_TIES = case(tables.BAGS, "ties", "(4,5)")
PIECES = case(classes.LINEAR, "batch=(9,)", "weight=True", "bias=True", "'batch_chunk_size':2")
SOFT = case(losses.CROSS_ENTROPY, "soft-(7, 5)-0.3-weight")
SMOOTH = case(losses.CROSS_ENTROPY, "cross_entropy-shape=(7,5)-weight=True-ignore_index=2-label_smoothing=0.3")
CTC = case(classes.CTC, "zero_infinity=False", "targets=(3,1,4,2)")
REPEATS = case(classes.CTC, "repeats", "zero_infinity=False")
IMPOSSIBLE = case(classes.CTC, "impossible", "zero_infinity=True")
BLANK = case(classes.CTC, "blank=3")

# (name of the trap, module or F, name in it, mistake, case)
TRAPS: list[tuple[str, Any, str, Callable[[Wrong], Wrong], Case]] = [
    ("trap 15: maximum of a bag splits", embedding_bag, "first_max", split_maximum, BAG_TIES),
    ("trap 23: padding gets a gradient", F, "embedding", without("padding_idx"), PADDED),
    ("trap 23: max_norm is ignored", F, "embedding", without("max_norm"), NORMED),
    ("trap 23: gradient through max_norm", embedding, "renormalised_rows", scaled_gradient, NORMED),
    ("trap 23: max_norm without 1e-7", embedding, "renormalised_rows", no_guard_in_the_norm, NORMED),
    ("trap 23: frequency is ignored", F, "embedding", without("scale_grad_by_freq"), FREQUENT),
    ("trap 23: padding counts in a mean", embedding_bag, "sum_or_mean", padding_counts, BAG_MEAN),
    ("trap 24: linear, mean over examples", linear_cross_entropy, "_reduce", unweighted, PIECES),
    ("trap 24: mean of the pieces' means", linear_cross_entropy, "_mapped", mean_of_pieces, PIECES),
    ("trap 24: probabilities, no weights", F, "cross_entropy", without("weight"), SOFT),
    ("trap 24: probabilities, no smoothing", F, "cross_entropy", without("label_smoothing"), SOFT),
    ("trap 24: smoothed, mean over examples", loss, "_reduce", unweighted, SMOOTH),
    ("trap 27: CTC, derivative by log_probs", loss_ctc, "_ctc", plain_gradient, CTC),
    ("trap 27: CTC, mean not by labels", F, "ctc_loss", mean_of_losses, CTC),
    ("trap 27: CTC, repeats merge", loss_ctc, "lattice", merged_repeats, REPEATS),
    ("trap 27: CTC, infinity stays", F, "ctc_loss", without("zero_infinity"), IMPOSSIBLE),
    ("trap 27: CTC, another blank", F, "ctc_loss", without("blank"), BLANK),
]


@pytest.mark.parametrize(("place", "name", "mistake", "row"), [t[1:] for t in TRAPS], ids=[t[0] for t in TRAPS])
def test_a_planted_mistake_is_found(monkeypatch, place, name, mistake, row):
    assert case_findings(row, "float64") == []
    monkeypatch.setattr(place, name, mistake(getattr(place, name)))
    assert case_findings(row, "float64")


def out_of_range_is_silent(call: Callable[[], Any]) -> bool:
    """Whether an index that is none goes through."""
    try:
        call()
    except IndexError:
        return False
    return True


INDEX_CALLS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "Embedding": (embedding, lambda: nn.Embedding(4, 2, rngs=0)(jnp.asarray([0, 4]))),
    "EmbeddingBag": (embedding_bag, lambda: nn.EmbeddingBag(4, 2, rngs=0)(jnp.asarray([[0, 4]]))),
    "nll_loss": (loss, lambda: F.nll_loss(jnp.zeros((2, 3)), jnp.asarray([0, 3]))),
    "cross_entropy": (loss, lambda: F.cross_entropy(jnp.zeros((2, 3)), jnp.asarray([0, 3]))),
    "linear_cross_entropy": (
        loss,
        lambda: F.linear_cross_entropy(jnp.zeros((2, 3)), jnp.zeros((3, 3)), jnp.asarray([0, 3])),
    ),
    "ctc_loss": (loss_ctc, lambda: F.ctc_loss(jnp.zeros((4, 1, 3)), jnp.asarray([[1, 3]]), (4,), (2,))),
}


@pytest.mark.parametrize("name", INDEX_CALLS, ids=[f"trap 21: {name}" for name in INDEX_CALLS])
def test_an_index_out_of_range_is_not_silent(monkeypatch, name):
    place, call = INDEX_CALLS[name]
    assert not out_of_range_is_silent(call)
    monkeypatch.setattr(place, "index_in_range", lambda *args: None)
    assert out_of_range_is_silent(call)


def test_trap_22_integers_of_32_bits_count_as_pytorch_s_of_64():
    """Without x64 JAX's integers have 32 bits: they are indices all the same, and give what PyTorch's give."""
    weight, index = np.eye(4, 3, dtype=np.float32), np.array([3, 0, 2])
    wanted = torch.nn.functional.embedding(torch.from_numpy(index), torch.from_numpy(weight)).numpy()
    for dtype in (np.int32, np.int64):
        with jax.enable_x64(dtype is np.int64):
            np.testing.assert_array_equal(F.embedding(jnp.asarray(index, dtype), jnp.asarray(weight)), wanted)


def test_trap_29_another_initial_distribution_is_found(monkeypatch):
    tables.test_trap_29_initial_values_are_standard_normal()
    uniform = lambda tensor, *, generator: init.uniform_(tensor, -(3.0**0.5), 3.0**0.5, generator=generator)  # noqa: E731
    monkeypatch.setattr(init, "normal_", uniform)
    with pytest.raises(AssertionError):
        tables.test_trap_29_initial_values_are_standard_normal()
