"""LambdaCallback: functions as hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .arguments import callable_or_none, whole_or_none
from .base import Callback

if TYPE_CHECKING:
    from jaxport.engine.training import Training


class LambdaCallback(Callback):
    """Call functions at the hooks: ``LambdaCallback(on_epoch_end=lambda training, logs: print(logs))``.

    Args:
        on_train_begin: called with the `Training`.
        on_train_end: called with the `Training`.
        on_epoch_begin: called with the `Training`.
        on_epoch_end: called with the `Training` and the history's new row.
        on_steps_end: called with the `Training`, after each call to the device or every `every_steps` steps.
        every_steps: steps from one on_steps_end to the next.
        every_epoch: see `Callback`; False where the functions read `logs` only.

    Raises:
        UsageError: a hook is no function, every_steps no count.

    Source: https://keras.io/api/callbacks/lambda_callback/
    """

    def __init__(
        self,
        on_train_begin: Callable[[Training], Any] | None = None,
        on_train_end: Callable[[Training], Any] | None = None,
        on_epoch_begin: Callable[[Training], Any] | None = None,
        on_epoch_end: Callable[[Training, dict[str, float]], Any] | None = None,
        on_steps_end: Callable[[Training], Any] | None = None,
        *,
        every_steps: int | None = None,
        every_epoch: bool = True,
    ) -> None:
        hooks = {
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_steps_end": on_steps_end,
        }
        self._hooks = {name: callable_or_none("LambdaCallback", name, hook) for name, hook in hooks.items()}
        self.every_steps = whole_or_none("LambdaCallback", "every_steps", every_steps, least=1)
        self.every_epoch = every_epoch

    def _call(self, name: str, *args: Any) -> None:
        if (hook := self._hooks[name]) is not None:
            hook(*args)

    def on_train_begin(self, training: Training) -> None:
        """Call the function."""
        self._call("on_train_begin", training)

    def on_train_end(self, training: Training) -> None:
        """Call the function."""
        self._call("on_train_end", training)

    def on_epoch_begin(self, training: Training) -> None:
        """Call the function."""
        self._call("on_epoch_begin", training)

    def on_epoch_end(self, training: Training, logs: dict[str, float]) -> None:
        """Call the function."""
        self._call("on_epoch_end", training, logs)

    def on_steps_end(self, training: Training) -> None:
        """Call the function, if it is time."""
        if self.every_steps is None or training.step % self.every_steps == 0:
            self._call("on_steps_end", training)
