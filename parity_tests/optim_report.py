"""Runs every optimiser's configurations and the nearest optax call, and writes docs/optim.md from what was measured."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import optax
import optimizer_lbfgs
import torch
from optimizer_runs import distance, first_params, run_findings, torch_options, torch_run, updates_of

from jaxport import optim

IGNORED = ("foreach", "fused", "capturable", "differentiable")

# jaxport's (and PyTorch's) options, the nearest optax call as one writes it, and that call.
Nearest = tuple[str, dict[str, Any], str, Callable[[], optax.GradientTransformation]]
decayed = optax.add_decayed_weights
NEAREST: list[Nearest] = [
    ("SGD", {"lr": 0.1}, "sgd(0.1)", lambda: optax.sgd(0.1)),
    ("SGD", {"lr": 0.1, "momentum": 0.9}, "sgd(0.1, 0.9)", lambda: optax.sgd(0.1, 0.9)),
    (
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        "sgd(0.1, 0.9, nesterov=True)",
        lambda: optax.sgd(0.1, 0.9, nesterov=True),
    ),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}, "sgd(0.1, 0.9)", lambda: optax.sgd(0.1, 0.9)),
    (
        "SGD",
        {"lr": 0.1, "weight_decay": 0.1},
        "chain(add_decayed_weights(0.1), sgd(0.1))",
        lambda: optax.chain(decayed(0.1), optax.sgd(0.1)),
    ),
    ("Adam", {"lr": 0.01}, "adam(0.01)", lambda: optax.adam(0.01)),
    (
        "Adam",
        {"lr": 0.01, "weight_decay": 0.1},
        "chain(add_decayed_weights(0.1), adam(0.01))",
        lambda: optax.chain(decayed(0.1), optax.adam(0.01)),
    ),
    (
        "Adam",
        {"lr": 0.01, "weight_decay": 0.1},
        "adamw(0.01, weight_decay=0.1)",
        lambda: optax.adamw(0.01, weight_decay=0.1),
    ),
    ("Adam", {"lr": 0.01, "amsgrad": True}, "amsgrad(0.01)", lambda: optax.amsgrad(0.01)),
    ("AdamW", {"lr": 0.01}, "adamw(0.01, weight_decay=0.01)", lambda: optax.adamw(0.01, weight_decay=0.01)),
    ("AdamW", {"lr": 0.01}, "adamw(0.01)", lambda: optax.adamw(0.01)),
    ("Adamax", {"lr": 0.01}, "adamax(0.01)", lambda: optax.adamax(0.01)),
    ("NAdam", {"lr": 0.01}, "nadam(0.01)", lambda: optax.nadam(0.01)),
    ("RAdam", {"lr": 0.01}, "radam(0.01)", lambda: optax.radam(0.01)),
    ("Adagrad", {"lr": 0.1}, "adagrad(0.1)", lambda: optax.adagrad(0.1)),
    ("Adagrad", {"lr": 0.1}, "adagrad(0.1, 0.0, 1e-10)", lambda: optax.adagrad(0.1, 0.0, 1e-10)),
    ("Adadelta", {}, "adadelta(1.0)", lambda: optax.adadelta(1.0)),
    ("RMSprop", {"lr": 0.01}, "rmsprop(0.01)", lambda: optax.rmsprop(0.01)),
    (
        "RMSprop",
        {"lr": 0.01},
        "rmsprop(0.01, decay=0.99, eps_in_sqrt=False)",
        lambda: optax.rmsprop(0.01, decay=0.99, eps_in_sqrt=False),
    ),
    (
        "RMSprop",
        {"lr": 0.01, "centered": True},
        "rmsprop(0.01, decay=0.99, centered=True, eps_in_sqrt=False)",
        lambda: optax.rmsprop(0.01, decay=0.99, centered=True, eps_in_sqrt=False),
    ),
    ("Rprop", {"lr": 0.01}, "rprop(0.01)", lambda: optax.rprop(0.01)),
    ("Adafactor", {"lr": 0.01}, "adafactor(0.01)", lambda: optax.adafactor(0.01)),
    ("Muon", {"lr": 0.01}, "contrib.muon(0.01, weight_decay=0.1)", lambda: optax.contrib.muon(0.01, weight_decay=0.1)),
    ("SparseAdam", {"lr": 0.01}, "adam(0.01)", lambda: optax.adam(0.01)),
    ("ASGD", {"lr": 0.1}, "sgd(0.1)", lambda: optax.sgd(0.1)),
]


def measured(kind: str, rows: list[tuple[str, str, dict[str, Any]]]) -> tuple[int, int, float]:
    """Return how many configurations there are, how many pass, and the worst float64 error."""
    own = [options for name, _, options in rows if name == kind]
    results = [optimizer_lbfgs.run_findings(o) if kind == "LBFGS" else run_findings(kind, o) for o in own]
    return len(own), sum(not lines for lines, _ in results), max((worst for _, worst in results), default=0.0)


def must_raise(kind: str, rows: list[tuple[str, Any]], run: Callable[[str, Any], None]) -> tuple[int, int]:
    """Return how many inputs must raise, and how many do."""
    own, raised = [row for name, row in rows if name == kind], 0
    for row in own:
        try:
            run(kind, row)
        except (ValueError, TypeError):
            raised += 1
    return len(own), raised


def to_optax(row: Nearest) -> float:
    """Return how far optax's parameters are from PyTorch's after 20 steps on the same gradients."""
    kind, options, _, make = row
    theirs, grads = torch_run(kind, torch_options(options), torch.float64)
    with jax.numpy_dtype_promotion("standard"), jax.enable_x64(True):
        found = updates_of(make(), first_params(kind), grads)[-1]
    return max(distance(leaf, theirs[-1][f"params/{key}"]) for key, leaf in found.items())


def _of(passed: int, count: int) -> str:
    return "" if not count else f"{passed}" if passed == count else f"{passed} of {count}"


def _ignored(kind: str) -> str:
    names = inspect.signature(getattr(optim, kind)).parameters
    return ", ".join(f"`{name}`" for name in IGNORED if name in names)


def _call(kind: str, options: dict[str, Any]) -> str:
    return f"{kind}({', '.join(f'{name}={value!r}' for name, value in options.items())})"


def page() -> str:
    """Run everything and return the page."""
    from test_optim_database import CPU, GPU, MEANINGFUL, OPTIMIZERS, run_error

    lines, passed, count = [], 0, 0
    for kind in sorted(OPTIMIZERS, key=str.lower):
        cpu, gpu, errors = measured(kind, CPU), measured(kind, GPU), must_raise(kind, MEANINGFUL, run_error)
        passed, count = passed + cpu[1], count + cpu[0]
        cells = [_of(cpu[1], cpu[0]), _of(gpu[1], gpu[0]), _of(errors[1], errors[0]), f"{max(cpu[2], gpu[2]):.1e}"]
        lines.append(f"| `{kind}` | {' | '.join(cells)} | {_ignored(kind)} |")
        print(lines[-1], flush=True)
    nearest = [f"| `{_call(row[0], row[1])}` | `optax.{row[2]}` | {to_optax(row):.1e} |" for row in NEAREST]
    return "\n".join([*_head(passed, count), *lines, *_middle(), *nearest, *_tail()])


def _head(passed: int, count: int) -> list[str]:
    version = f"PyTorch {torch.__version__.split('+')[0]}, optax {optax.__version__} and JAX {jax.__version__}"
    return [
        "# jaxport.optim against torch.optim",
        "",
        f"Generated by `python parity_tests/optim_report.py` with {version}; do not edit.",
        "",
        f"{passed} of {count} configurations of PyTorch's own test database (`optim_db`, all 15 optimisers) take the "
        "same 20 steps on the same gradients in float64: parameters and every tensor of the state after every step, to "
        "1e-12 of the largest magnitude (LBFGS 1e-9). *GPU* are the database's further configurations with "
        "`capturable=True`, run on the CPU without it. *Must raise* are the database's wrong inputs.",
        "",
        "| optimiser | configurations | GPU | must raise | worst float64 error | accepted and ignored |",
        "|---|---:|---:|---:|---:|---|",
    ]


def _middle() -> list[str]:
    return [
        "",
        "The ignored arguments choose how PyTorch carries a step out, not what it computes. `fused` together with "
        "`foreach` or `differentiable` is refused, as in PyTorch.",
        "",
        "- LBFGS is compared update by update (up to 20 iterations each) from PyTorch's state before it; an update in "
        "which PyTorch itself, with the last bit of its parameters changed, moves by more than 1e-9 is judged by four "
        "times that and does not count in the table.",
        "- `SparseAdam`: a row whose gradient is zero throughout counts as absent.",
        "- `NAdam` and `ASGD` keep `mu_product`, `eta` and `mu` in float32, as PyTorch does under its default dtype.",
        "- `Muon` computes its Newton-Schulz steps in bfloat16, as PyTorch does, to the same bits here.",
        "- Complex parameters are refused by all.",
        "",
        "## The nearest optax call",
        "",
        "Largest difference of a parameter from PyTorch's after 20 steps on the same gradients, over the largest "
        "magnitude of its tensor, float64. Up to 1e-14 is rounding: there optax's call means the same.",
        "",
        "| PyTorch, jaxport | optax | difference |",
        "|---|---|---:|",
    ]


def _tail() -> list[str]:
    return [
        "",
        "`optax.lbfgs` is another method for the same problem (one iteration an update, another line search). optax "
        "has no averaged SGD and no sparse Adam: `sgd` and `adam` stand there for what one would take instead.",
        "",
    ]


def main() -> None:
    """Write the page."""
    jax.config.update("jax_numpy_rank_promotion", "raise")
    root = Path(__file__).parents[1]
    cache = root / ".pytest_cache" / "d" / "xla"
    cache.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    (root / "docs" / "optim.md").write_text(page())


if __name__ == "__main__":
    main()
