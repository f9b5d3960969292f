"""The linter: what the settings of two models say before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

from jaxport.parity.layer import Layers, Pair
from jaxport.parity.result import Finding

from .calls import Call as Call
from .calls import Calls as Calls
from .calls import calls_in as calls_in
from .calls import trace_calls as trace_calls
from .functional import call_findings
from .layers import pair_findings
from .whole import whole_findings


def lint(jax: Layers, torch: Layers, pairs: Sequence[Pair], calls: Calls | None = None) -> list[Finding]:
    """Return every trap that applies to two models, by their settings and by what they call.

    Args:
        jax: the modules of the JAX model (`describe_jax`).
        torch: those of PyTorch's (`describe_torch`).
        pairs: which stand for each other (`align`).
        calls: the functions that both call (`trace_calls`), for what has no module.

    Returns:
        Findings with ids "lint/…". "warning": the two differ by what is set; "info": they may, in other data or in
        training. The numbers decide, so that none of them is an error.
    """
    found = [
        finding
        for pair in pairs
        if pair.jax_path in jax and pair.torch_path in torch
        for finding in pair_findings(jax[pair.jax_path], torch[pair.torch_path])
    ]
    known = [pair for pair in pairs if pair.jax_path in jax and pair.torch_path in torch]
    found += whole_findings(jax, torch, known)
    if calls is not None:
        found += call_findings(calls)
    return list(dict.fromkeys(found))
