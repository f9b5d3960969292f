"""Resumable: a callback that starts anew with each run, unless a checkpoint gave it back what it knew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .base import Callback

if TYPE_CHECKING:
    from jaxport.engine.training import Training


class Resumable(Callback):
    """Base of the callbacks with a memory: `reset` starts it, `load_state_dict` restores it.

    A subclass lists the attributes that a checkpoint keeps in `kept` and sets them in `reset`. One object can serve
    several runs: each begins with `reset`, but for the one that `load_state_dict` announces.
    """

    kept: tuple[str, ...] = ()
    resumed: bool = False

    def reset(self) -> None:
        """Forget what earlier runs left behind."""

    def on_train_begin(self, training: Training) -> None:
        """Start anew, or go on."""
        if not self.resumed:
            self.reset()
        self.resumed = False

    def state_dict(self) -> dict[str, Any]:
        """Return the attributes that `kept` lists."""
        return {name: getattr(self, name) for name in self.kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them back; the next run goes on with them."""
        self.reset()
        for name in self.kept:
            setattr(self, name, state[name])
        self.resumed = True
