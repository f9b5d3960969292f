"""Layers computed again with one thing changed: the chain of modules from a known tensor to the one that differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from jaxport.parity.layer import Layer

from . import (
    variants_attention,
    variants_conv,
    variants_gap,
    variants_norm,
    variants_pool,
    variants_rnn,
    variants_simple,
)
from .case import Case, Hit
from .fit import error, explains, rounding
from .guesses import guesses
from .run import Runner, Variant, as_inputs, runner

_FAMILIES: dict[str, Callable[[Runner, Case], list[Variant]]] = {
    **dict.fromkeys(variants_norm.NAMES, variants_norm.variants),
    **dict.fromkeys(variants_conv.NAMES, variants_conv.variants),
    **dict.fromkeys(variants_pool.NAMES, variants_pool.variants),
    **dict.fromkeys(variants_rnn.NAMES, variants_rnn.variants),
    **dict.fromkeys(variants_attention.NAMES, variants_attention.variants),
    **dict.fromkeys(variants_simple.NAMES, variants_simple.variants),
    **dict.fromkeys(variants_gap.NAMES, variants_gap.variants),
}

Function = Callable[..., np.ndarray]
Choices = Callable[[], list[Variant]]
Link = tuple[Function, Choices]
"""A function, and what may stand in its place: made only where the chain gives PyTorch's own result."""
Chain = tuple[tuple[np.ndarray, ...], list[Function], list[Choices]]
"""Where it starts, its functions, and what may stand in place of each."""


def chain_hits(case: Case) -> list[Hit]:
    """Return the changes of one layer that turn PyTorch's result into JAX's."""
    if case.kind not in ("output", "input"):
        return []
    present = error(case.ours, case.theirs)
    hits: list[Hit] = []
    for start, functions, variants in _chains(case):
        whole = _apply(functions, start)
        # A chain that does not give PyTorch's own result proves nothing about JAX's.
        if whole is None or error(whole, case.theirs) > rounding(case.theirs, *start):
            continue
        for place, choices in enumerate(variants):
            hits += _hits_at(place, choices(), functions, start, case.ours, present)
        if hits:
            break
    return hits


def _hits_at(
    place: int,
    choices: list[Variant],
    functions: list[Function],
    start: tuple[np.ndarray, ...],
    ours: np.ndarray,
    present: float,
) -> list[Hit]:
    hits = []
    for variant in choices:
        result = _apply([*functions[:place], variant.run, *functions[place + 1 :]], start)
        left = None if result is None else explains(result, ours, present)
        if left is not None:
            hits.append(Hit(variant.rule, variant.message, variant.fix, left, 0))
    return hits


def _apply(functions: list[Function], start: tuple[np.ndarray, ...]) -> np.ndarray | None:
    values = start
    try:
        for function in functions:
            values = (np.asarray(function(*values)),)
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError, AssertionError, NotImplementedError):
        return None  # the hypothesis does not fit the shapes
    return values[0]


def _link(layer: Layer, case: Case, own: bool) -> Link | None:
    made = runner(layer, case, own)
    if made is None:
        return None
    family = _FAMILIES.get(layer.name)
    return made, lambda: family(made, case) if family else []


def _chains(case: Case) -> Iterator[Chain]:
    inputs = as_inputs(case.input)
    own = _link(case.torch, case, True) if case.torch is not None and case.kind == "output" else None
    if inputs and own:
        yield inputs, [own[0]], [own[1]]
    if case.before is None:
        return
    leaves = [layer for layer in case.between if not layer.children]  # a container computes nothing of its own
    between = [_link(layer, case, False) for layer in leaves]
    links = [link for link in between if link is not None]
    tail = [own] if own else []
    if len(links) == len(leaves) and (links or tail):
        yield _chain(case.before, [*links, *tail])
    goal = case.theirs if case.kind == "input" or not tail else case.first_input
    for guess in guesses(case.before, goal, case):
        yield _chain(case.before, [(guess[0], partial(list, guess[1])), *tail])


def _chain(before: np.ndarray, links: list[Link]) -> Chain:
    return (before,), [link[0] for link in links], [link[1] for link in links]
