"""Why two tensors differ: hypotheses about what a port does otherwise, kept only if they give the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jaxport.parity.result import Finding
from jaxport.parity.traps import fix_of, trap_of

from .buffers import buffer_hits, fast_variance_hits
from .case import Case as Case
from .case import Hit, Test
from .case import Input as Input
from .chains import chain_hits
from .fit import differs
from .forms import dropout_hits, dtype_hits, factor_hits, order_hits, precision_hits, sum_hits
from .gradients import embedding_hits, index_hits, kink_hits, tie_hits
from .losses import loss_hits
from .optimizers import step_hits
from .weights import weight_hits

_MOST = 3
_LARGE = 1_000_000
"""Elements of a tensor that are looked at, where a layer computes each example by itself."""


def find_causes(case: Case) -> list[Finding]:
    """Return the likely causes of a difference, best first, at most three.

    A cause is named only if the numbers of one side follow from the other's under that hypothesis, to about 1e-6 and
    to a small share of the difference: a layer is computed again with one thing changed, or the difference has a form
    that nothing else has. No cause, no finding.
    """
    case = _fewer_examples(_in_torch_axes(case))
    if (
        case.ours.dtype == case.theirs.dtype
        and case.ours.shape == case.theirs.shape
        and not differs(case.ours, case.theirs)
    ):
        return []
    if "c" in (case.ours.dtype.kind, case.theirs.dtype.kind):
        return []  # no layer has complex numbers
    hits = sorted((hit for test in TESTS for hit in test(case)), key=lambda hit: (hit.rank, hit.error))
    best: dict[str, Hit] = {}
    for hit in hits:
        best.setdefault(hit.rule, hit)
    # A form of the difference is no news where a layer computed again has explained it.
    kept = [hit for hit in best.values() if hit.rank == min(h.rank for h in best.values())]
    return [_finding(hit, case) for hit in kept[:_MOST]]


def _in_torch_axes(case: Case) -> Case:
    """Bring channels from the last to the second axis where shapes differ and no order of axes fits."""
    ours, theirs = case.ours.shape, case.theirs.shape
    same = ours == theirs or sorted(ours) == sorted(theirs)
    if same or len(ours) != len(theirs) or len(ours) < 3 or ours[1] == theirs[1] or ours[-1] != theirs[1]:
        return case
    return replace(case, ours=np.moveaxis(case.ours, -1, 1))


def _fewer_examples(case: Case) -> Case:
    """Keep the first examples of a large batch, where a layer computes each by itself."""
    name = case.torch.name if case.torch else ""
    mixes = name in ("LSTM", "GRU", "RNN", "MultiheadAttention") or name.endswith("Loss") or "BatchNorm" in name
    n = case.theirs.shape[0] if case.theirs.ndim > 1 else 0
    count = max(1, n * _LARGE // max(case.theirs.size, 1))
    if case.kind not in ("output", "input") or mixes or case.ours.shape[:1] != (n,) or count >= n:
        return case

    def first(array: np.ndarray) -> np.ndarray:
        return array[:count] if array.shape[:1] == (n,) else array

    value = tuple(map(first, case.input)) if isinstance(case.input, tuple) else case.input
    value = first(value) if isinstance(value, np.ndarray) else value
    before = None if case.before is None else first(case.before)
    return replace(case, ours=case.ours[:count], theirs=case.theirs[:count], input=value, before=before)


def _finding(hit: Hit, case: Case) -> Finding:
    paths = (case.jax.path if case.jax else "", case.torch.path if case.torch else "")
    return Finding(hit.rule, "info", hit.message, *paths, trap_of(hit.rule), hit.fix or fix_of(hit.rule))


TESTS: tuple[Test, ...] = (
    chain_hits,
    weight_hits,
    index_hits,
    fast_variance_hits,
    buffer_hits,
    loss_hits,
    step_hits,
    tie_hits,
    kink_hits,
    embedding_hits,
    order_hits,
    factor_hits,
    dtype_hits,
    dropout_hits,
    precision_hits,
    sum_hits,
)
"""The tests, each of a family of causes."""
