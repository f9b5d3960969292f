"""What a checkpoint holds: a run taken apart into JSON and arrays, compared with another run, and put back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax

from jaxport.errors import UsageError

from .arrays import check, describe_flat, flatten, unflatten
from .callbacks.base import Callback
from .checkpoint_values import names_of_arrays, put_together, take_apart
from .history import History

if TYPE_CHECKING:
    from .training import Training

LAYOUT = 1


def with_state(callbacks: Sequence[Callback]) -> list[Callback]:
    """Return the callbacks that have something to remember."""
    return [callback for callback in callbacks if type(callback).state_dict is not Callback.state_dict]


# ------------------------------------------------------------------------------------------------------------- saving


def pack(training: Training) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return everything that training depends on: JSON, and arrays by name.

    Raises:
        UsageError: a callback's state has something that cannot be kept.
    """
    arrays = _state_arrays(training)
    described = describe_flat(arrays)
    hook, owed = training.owed or (None, [])
    kept: dict[str, Any] = {}
    states = [
        {
            "name": type(callback).__name__,
            "state": take_apart(callback.state_dict(), f"callback {index} ({type(callback).__name__})", kept),
            "owed": callback in owed,
        }
        for index, callback in enumerate(with_state(training.callbacks))
    ]
    values = {
        "layout": LAYOUT,
        "jaxport": sys.modules["jaxport"].__version__,  # which imports this package: it cannot be imported here
        "run": facts(training),
        "position": {name: getattr(training, name) for name in _POSITION},
        "loader": training.source.position(),
        "history": training.history.to_dict(),
        "epoch_row": take_apart(training.epoch_row, "epoch_row", {}),
        "owed": hook,
        "callbacks": states,
        "arrays": described,
    }
    return values, arrays | kept


_POSITION = ("epoch", "step_in_epoch", "step")


def _state_arrays(training: Training) -> dict[str, Any]:
    """Return the state's arrays and, inside an epoch, those of its sums; `bad` is never set in what is saved."""
    parts = {"state": training.state._replace(bad=None), "totals": training.totals}
    return flatten({name: part for name, part in parts.items() if part is not None})


def facts(training: Training) -> dict[str, Any]:
    """Return what must be the same for a run to go on; None for what is not known."""
    source = training.source
    batches, position = getattr(source, "batches", None), source.position()
    rows = jax.tree.leaves(training.input_spec)[0].shape[0]
    return {
        "seed": training.options.seed,
        "batch_size": rows if batches is None else batches.size,
        "examples": getattr(source if batches is None else batches, "examples", None),
        "steps_per_epoch": source.steps,
        "loader_seed": None if position is None else position["seed"],
    }


# ---------------------------------------------------------------------------------------------------------- restoring


def check_values(owner: str, values: Any, training: Training) -> dict[str, Any]:
    """Compare a checkpoint with the run, and return what arrays it has: name → an array like it, or None.

    Raises:
        UsageError: it is of another layout, model, optimiser, run, or of other callbacks.
    """
    _check_layout(owner, values)
    _check_callbacks(owner, [state["name"] for state in values["callbacks"]], training.callbacks)
    like = flatten({"state": training.state._replace(bad=None)})
    found: dict[str, str] = values["arrays"]
    check(describe_flat(like), {name: text for name, text in found.items() if _is_of("state", name)}, owner)
    _check_facts(owner, values["run"], facts(training))
    if any(_is_of("totals", name) for name in found):
        totals = flatten({"totals": training.empty_totals()})
        wanted, saved = describe_flat(totals), {name: text for name, text in found.items() if _is_of("totals", name)}
        if wanted != saved:
            raise UsageError(f"{owner} lies inside an epoch with other metrics; go on with the same ones")
        like |= totals
    return like | {name: None for state in values["callbacks"] for name in names_of_arrays(state["state"])}


def _is_of(part: str, name: str) -> bool:
    return name.startswith(f"{part}.")


def _check_layout(owner: str, values: Any) -> None:
    layout = values.get("layout") if isinstance(values, dict) else None
    if layout is None:
        raise UsageError(f"{owner} is none of jaxport's; give a folder of its own for the checkpoints")
    if layout != LAYOUT:
        raise UsageError(
            f"{owner} has layout {layout}; this version reads layout {LAYOUT}: go on with the version that wrote it "
            f"(jaxport {values.get('jaxport', '?')}), or start anew in another folder"
        )


def _check_callbacks(owner: str, found: list[str], callbacks: Sequence[Callback]) -> None:
    names = [type(callback).__name__ for callback in with_state(callbacks)]
    if names != found:
        raise UsageError(
            f"{owner} is of a run with the callbacks {', '.join(found) or 'none'}; this run has "
            f"{', '.join(names) or 'none'} (those without a memory do not count); go on with the same ones in the same "
            "order"
        )


def _check_facts(owner: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    known = [name for name in wanted if None not in (wanted[name], found.get(name))]
    differing = [name for name in known if wanted[name] != found[name]]
    if differing:
        theirs, ours = (", ".join(f"{name}={run[name]}" for name in differing) for run in (found, wanted))
        raise UsageError(f"{owner} is of a run with {theirs}; this run has {ours}; start anew in another folder")


def unpack(owner: str, values: dict[str, Any], arrays: dict[str, Any], training: Training) -> None:
    """Put a run back to where a checkpoint was made."""
    parts: dict[str, Any] = {"state": training.state._replace(bad=None)}
    if any(_is_of("totals", name) for name in arrays):
        parts["totals"] = training.empty_totals()
    flat = {name: array for name, array in arrays.items() if any(_is_of(part, name) for part in parts)}
    restored = unflatten(parts, flat, owner)
    states = [put_together(saved["state"], arrays.__getitem__) for saved in values["callbacks"]]
    callbacks = with_state(training.callbacks)
    for callback, state in zip(callbacks, states, strict=True):
        callback.load_state_dict(state)
    training.state = restored["state"]._replace(bad=training.state.bad)
    training.totals = restored.get("totals")
    for name in _POSITION:
        setattr(training, name, int(values["position"][name]))
    training.loader_position = values["loader"]
    training.epoch_row = put_together(values["epoch_row"], arrays.__getitem__)
    _restore_history(training, History.from_dict(values["history"]))
    told = [c for c, saved in zip(callbacks, values["callbacks"], strict=True) if not saved["owed"]]
    # Those without a memory are called again: they may be others now.
    owed = [callback for callback in training.callbacks if callback not in told]
    training.owed = (values["owed"], owed) if values["owed"] else None


def _restore_history(training: Training, history: History) -> None:
    """Fill the run's history, which goes on: it is neither stopped nor interrupted any more."""
    training.history.columns = history.columns
    training.history.compile_seconds = history.compile_seconds
    training.history.train_seconds = sum(history.columns.get("seconds", []))
