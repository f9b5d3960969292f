"""What a mistake is made of: PyTorch's functions and methods replaced for a while, and a count of what that changed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

Wrong = Callable[..., Any]
"""``wrong(right, *args, **kwargs)``: what the function returns instead, `UNCHANGED` where the mistake has no place."""

UNCHANGED: Any = object()


@dataclass(frozen=True)
class Mistake:
    """A mistake that porters make, planted in PyTorch's side, so that any JAX model will do.

    Attributes:
        name: its id.
        trap: number of the trap in docs/traps.md, None if it has none.
        what: what is done wrong.
        plant: replaces what is to be replaced.
    """

    name: str
    trap: int | None
    what: str
    plant: Callable[[Patches], None]


class Patches:
    """The replacements of one mistake.

    Args:
        stack: undoes them when it is closed.
        first: called when the mistake first makes a difference.

    Attributes:
        applied: how often the mistake made a difference.
    """

    def __init__(self, stack: ExitStack, first: Callable[[], None] | None = None) -> None:
        self.stack, self.first, self.applied = stack, first, 0

    def count(self) -> None:
        """Note that the mistake made a difference."""
        self.applied += 1
        if self.applied == 1 and self.first is not None:
            self.first()

    def function(self, owner: Any, name: str, wrong: Wrong, *, pure: bool = True) -> None:
        """Replace a function or method by its name.

        Args:
            owner: module or class that it is looked up in.
            name: its name there.
            wrong: what it does instead.
            pure: whether it only returns a value: then the mistake counts where the value is not the right one.
        """
        right, inside = getattr(owner, name), [False]

        @functools.wraps(right)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            if inside[0]:  # PyTorch hands a call to its own name again where a function mode is active
                return right(*args, **kwargs)
            inside[0] = True
            try:
                found = wrong(right, *args, **kwargs)
                if found is UNCHANGED:
                    return right(*args, **kwargs)
                if pure and self._differs(found, right, args, kwargs):
                    self.count()
                return found
            finally:
                inside[0] = False

        self.attribute(owner, name, replacement)

    def everywhere(self, name: str, wrong: Wrong, *, pure: bool = True) -> None:
        """Replace a function that stands in torch.nn.functional, in torch and at the tensor, wherever it does."""
        for owner in (torch.nn.functional, torch, torch.Tensor):
            if hasattr(owner, name):
                self.function(owner, name, wrong, pure=pure)

    def attribute(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute, and put back what was there."""
        own = name in vars(owner)
        before = vars(owner).get(name)
        setattr(owner, name, value)
        self.stack.callback(lambda: setattr(owner, name, before) if own else delattr(owner, name))

    def optimizer(self, before: Callable[[Any], Any] | None, after: Callable[[Any, Any], None] | None = None) -> None:
        """Act in front of and behind every step of every optimiser.

        Args:
            before: gets the optimiser; what it returns is handed on.
            after: gets the optimiser and that.
        """
        kept: list[Any] = []

        def pre(optimizer: Any, args: Any, kwargs: Any) -> None:
            kept[:] = [before(optimizer) if before else None]

        def post(optimizer: Any, args: Any, kwargs: Any) -> None:
            if after and kept:
                with torch.no_grad():
                    after(optimizer, kept[0])

        self.stack.callback(register_optimizer_step_pre_hook(pre).remove)
        self.stack.callback(register_optimizer_step_post_hook(post).remove)

    @staticmethod
    def _differs(found: Any, right: Callable[..., Any], args: Any, kwargs: Any) -> bool:
        with torch.no_grad():
            value = right(*args, **kwargs)
        ours, theirs = (a[0] if isinstance(a, tuple) else a for a in (found, value))
        if not (isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor)):
            return True
        return ours.shape != theirs.shape or not torch.equal(ours.detach(), theirs)


def with_settings(module: Any, call: Callable[[], Any], **settings: Any) -> Any:
    """Return what a call gives while attributes of a module have other values."""
    before = {name: getattr(module, name) for name in settings}
    try:
        for name, value in settings.items():
            setattr(module, name, value)
        return call()
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def pair(value: Any) -> tuple[int, int]:
    """Return a setting of two axes that may be given as one number."""
    if isinstance(value, int):
        return value, value
    first, *rest = value
    return int(first), int(rest[0] if rest else first)
