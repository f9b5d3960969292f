"""The pytest plugin with which a suite runs under a mistake: `prove_command` names it in PYTEST_PLUGINS."""

from __future__ import annotations

from .mistakes import apply_from_environment

# pytest imports its plugins before any test file, so that names which those import from PyTorch are wrong too.
apply_from_environment()
