"""Maps: what a user says of which layer stands for which, in a mapping or a YAML file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxport.errors import UsageError

from .layer import Layers
from .result import Finding
from .weights.unit import JaxUnit, TorchUnit


def load_map(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a map of a YAML file: lines ``jax.path: torch.path``.

    Raises:
        UsageError: the file is missing, is no YAML or no mapping of paths.
    """
    import yaml

    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"map {str(path)!r} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"map {str(path)!r} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UsageError(f"map {str(path)!r} must hold lines `jax.path: torch.path`, got {type(data).__name__}")
    bad = [
        f"{k!r}: {v!r}" for k, v in data.items() if not isinstance(k, str | int) or not isinstance(v, str | int | None)
    ]
    if bad:
        raise UsageError(f"map {str(path)!r}: paths on both sides (or null on the right), got {'; '.join(bad)}")
    return {str(key): None if value is None else str(value) for key, value in data.items()}


@dataclass(frozen=True)
class Mapped:
    """What a map has paired, and what is left to the other rules."""

    pairs: Sequence[tuple[JaxUnit, TorchUnit]]
    jax_left: Sequence[JaxUnit]
    torch_left: Sequence[TorchUnit]
    findings: Sequence[Finding]
    renamed: Callable[[str], str]


def apply_map(
    ours: list[JaxUnit], theirs: list[TorchUnit], jax: Layers, torch: Layers, mapping: Mapping[str, Any]
) -> Mapped:
    """Pair what the map names, and rename the paths below the containers that it names."""
    rules = [_Rule(str(key), None if value is None else str(value)) for key, value in mapping.items()]

    def renamed(path: str) -> str:
        return next((new for rule in rules if (new := rule.rename(path)) is not None), path)

    return Mapped([], ours, theirs, [], renamed)


class _Rule:
    """One line of a map."""

    def __init__(self, jax: str, torch: str | None) -> None:
        self.torch = torch
        self.pattern = re.compile(re.escape(jax).replace(r"\*", r"([^.]+)") + r"(\..+)?")

    def rename(self, path: str) -> str | None:
        """Return PyTorch's path for a JAX path at or below the rule's; None if it is elsewhere."""
        found = self.pattern.fullmatch(path)
        if found is None or self.torch is None:
            return None
        *stars, rest = found.groups(default="")
        values = iter(stars)
        return re.sub(r"\*", lambda _: next(values, "*"), self.torch) + rest
