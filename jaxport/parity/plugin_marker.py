"""plugin_marker: ``@pytest.mark.parity(jax=…, torch=…, inputs=…)``, a test that is a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxport.errors import UsageError

from .result import Report

_NEEDED = ("jax", "torch", "inputs")


def tried(marker: Any) -> tuple[Report | None, str]:
    """Return the comparison that a marker asks for, or None and what is wrong with the marker."""
    try:
        return compared(marker.args, marker.kwargs), ""
    except UsageError as error:
        return None, str(error)


def compared(arguments: Sequence[Any], options: Mapping[str, Any]) -> Report:
    """Make the two models that a marker names, and compare them.

    Args:
        arguments: the marker's positional ones: there must be none.
        options: ``jax`` and ``torch``: a model, its class, a function that makes it, or ``package.module:Name`` of one
            (a JAX class or function gets ``rngs`` or ``key`` if it takes one); ``inputs``: an array, a text such as
            ``"8,3,32,32"`` or ``"8,16@int1000"``, or a tuple of them; the others are `jaxport.parity.compare`'s.

    Raises:
        UsageError: an option is missing or unknown, or a model cannot be made.
    """
    from .comparison import compare

    missing = [name for name in _NEEDED if name not in options]
    if arguments or missing:
        what = f"{', '.join(missing)} missing" if missing else f"{len(arguments)} arguments without a name"
        raise UsageError(f"pytest.mark.parity: jax=…, torch=… and inputs=… are needed; {what}")
    seed, rest = options.get("seed", 0), {key: value for key, value in options.items() if key not in _NEEDED}
    inputs = _inputs(options["inputs"], seed)
    models = _models(options["jax"], options["torch"], seed, inputs)
    try:
        return compare(*models, inputs, **rest)
    except TypeError as error:
        if "compare() got" not in str(error):
            raise
        raise UsageError(f"pytest.mark.parity: {str(error).replace('compare() got', 'it got')}") from None


def _inputs(given: Any, seed: int) -> tuple[Any, ...]:
    import numpy as np

    from .named import make_input

    rng = np.random.default_rng(seed)
    several = given if isinstance(given, tuple | list) else (given,)
    return tuple(make_input(one, rng) if isinstance(one, str) else one for one in several)


def _models(jax_model: Any, torch_model: Any, seed: int, inputs: Sequence[Any]) -> tuple[Any, Any]:
    """Return both models; PyTorch's random state is left as it was."""
    import torch

    from .named import make_jax, make_torch

    with torch.random.fork_rng(devices=[]):
        theirs = make_torch(torch_model, {}, seed)
    return make_jax(jax_model, {}, seed, inputs), theirs


def asked(marker: Any) -> bool:
    """Whether a marker names what is compared; without arguments it only selects tests."""
    return marker is not None and bool(marker.args or marker.kwargs)
