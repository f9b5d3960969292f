"""docs/benchmarks.md, written from a stored result: losses and wins apart, refusals, every number, how to repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .limits import Limits
from .machine import BUSY
from .report import beginning, fixed, significant, to_markdown
from .rows import Row
from .store import Result
from .tasks import DTYPES, TASKS

_TASKS = {
    "step": "Training step",
    "epoch": "Whole epoch",
    "infer-1": "Inference, one example",
    "infer-256": "Inference, 256 examples",
}
METHOD = """\
Every framework has a process of its own for every port; all stay warm, one at a time works, and they take turns over
the rounds. A time is the median of the rounds. All get the same weights and examples. PyTorch is shown at its best:
threads, layout, optimiser (plain, foreach, fused, compiled) and torch.compile are tried before anything is timed, and
what was taken stands in the table. Keras 3 runs on JAX by its own `fit` and `predict_on_batch`, with PyTorch's ε and
PyTorch's first state of the optimiser; its Adam computes 1 − βᵗ to all digits, as PyTorch does.

**A ratio is PyTorch's best time ÷ this one: above 1 is faster than PyTorch.** It is given only where both computed the
same at the same precision, judged by PyTorch's own rounding. Compilation is no part of a time; it stands beside it.

- *Training step*: forward, loss, backward, optimiser; batches in memory, the same dropout masks. Compared: the losses
  of the timed steps; where PyTorch's own rounding grows into chaos, those of the steps before that, at least three, and
  the table says how many. A pass is one call in JAX, as `fit` has several epochs in one program, and a loop in PyTorch;
  tiny ports take so many steps that JAX's call lasts 5 to 10 ms, up to the recipe's whole training. Where that is 32,
  60 or 500 steps of a microsecond (linreg_points, linreg_note, quadratic), JAX's time is the cost of one call.
- *Whole epoch*: from the data set's examples in memory to new weights, loss and metrics, through each framework's own
  way to batches; milliseconds are those of an epoch. Compared: the losses of a short run of the same call, in the same
  order and without dropout.
- *Inference*: forward of one batch, each call awaited. Compared: the outputs. jaxport's is `compile_prediction`; its
  programs and Keras's run in the thread that calls them (`jax_cpu_enable_async_dispatch=False`), as PyTorch's do.
- *first epoch*: the first call of training, with all compilation; *second start*: from a new process to the end of its
  first step, imports included, where an earlier process has left what it compiled; *peak*: largest memory of a process.
  The three are measured with whole epochs.
- *floor*: max(operations ÷ the fastest product measured here, bytes that every program reads and writes ÷ the bandwidth
  measured here). Small steps are far above it, since starting an operation costs more than the operation.
- bfloat16: parameters and optimiser in float32, the model computed in bfloat16, the loss in float32.
"""


class Pair(NamedTuple):
    """jaxport's row and the best PyTorch's, of one port, task and precision."""

    ours: Row
    torch: Row


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """Return what can be compared: where jaxport has a ratio."""
    best: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        if row.framework.startswith("torch") and row.ratio_to_best_torch is not None and row.ms_per_step is not None:
            known = best.get(_about(row))
            if known is None or row.ms_per_step < (known.ms_per_step or 0.0):
                best[_about(row)] = row
    ours = (row for row in rows if row.framework == "jax" and row.ratio_to_best_torch is not None)
    return [Pair(row, best[_about(row)]) for row in ours if _about(row) in best]


def page(result: Result, picture: str | None = None, again: str = "") -> str:
    """Return the page.

    Args:
        result: what was measured.
        picture: its path as seen from the page; None without one.
        again: the command that writes the page anew.
    """
    compared = pairs(result.rows)
    parts = [
        _head(result, compared, picture, again),
        "## Machine\n\n" + _machine(result),
        "## Method\n\n" + METHOD,
        _losses(compared),
        _wins(compared),
        _keras(result.rows),
        _refused(result.rows),
        *_tables(result.rows),
        _repeat(result, again),
    ]
    return "\n".join(part for part in parts if part)


def _about(row: Row) -> tuple[str, str, str]:
    return row.port, row.task, row.dtype


def _head(result: Result, compared: Sequence[Pair], picture: str | None, again: str) -> str:
    behind = [pair for pair in compared if _ratio(pair) < 1]
    ports = len({row.port for row in result.rows})
    refused = len({_about(row) for row in result.rows}) - len(compared)
    count, ahead = len(compared), len(compared) - len(behind)
    verdict = f"Of {count} comparison{'s'[: count != 1]}, jaxport is ahead in {ahead} and behind in {len(behind)}"
    more = f"; {refused} more have no ratio, with the reason below" if refused else ""
    lines = [
        "# Benchmarks\n",
        f"JAX beside PyTorch at its best, on {ports} port{'s'[: ports != 1]}. Written by `{again}`; do not edit.\n",
        f"{verdict}{more}.\n",
    ]
    if picture:
        lines.append(f"![How many times as fast as the best PyTorch, by port and task]({picture})\n")
    return "\n".join(lines)


def _machine(result: Result) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    load = result.machine.load or 0.0
    busy = (
        "\n**The machine had other work to do: measure again before you believe a figure.**\n" if load >= BUSY else ""
    )
    return f"{result.machine.text()}.\n{_limits(result)}\n{result.date}. {packages}.\n{busy}"


def _limits(result: Result) -> str:
    if result.limits is None:
        return ""
    limits = Limits.from_json(result.limits)
    products = ", ".join(f"{rate.value / 1e9:.3g} GFLOP/s in {name}" for name, rate in limits.flops.items())
    fastest, large = max(rate.value for rate in limits.bandwidth), limits.bandwidth[-1].value
    return f"Measured limits: {products}; memory {fastest / 1e9:.3g} GB/s in caches, {large / 1e9:.3g} GB/s beyond.\n"


def _losses(compared: Sequence[Pair]) -> str:
    losses = sorted((pair for pair in compared if _ratio(pair) < 1), key=_ratio)
    text = _table(_row(pair, f"{1 / _ratio(pair):.2f} × slower") for pair in losses)
    return "## Losses\n\n" + (f"Largest first.\n\n{text}" if losses else "None in this run.\n")


def _wins(compared: Sequence[Pair]) -> str:
    wins = sorted((pair for pair in compared if _ratio(pair) >= 1), key=_ratio)
    text = _table(_row(pair, f"{_ratio(pair):.2f} × faster") for pair in wins)
    return "## Wins\n\n" + (f"Smallest first.\n\n{text}" if wins else "None in this run.\n")


_HEADINGS = ("port", "task", "dtype", "jaxport, ms", "PyTorch, ms", "PyTorch's best way", "")


def _row(pair: Pair, verdict: str) -> tuple[str, ...]:
    ours, torch = pair
    best = f"{torch.framework}: {torch.variant}" if torch.variant else torch.framework
    times = significant(ours.ms_per_step), significant(torch.ms_per_step)
    return ours.port, ours.task, ours.dtype, *times, best, "; ".join(filter(None, (verdict, beginning(ours))))


def _table(rows: Iterable[Sequence[str]], headings: Sequence[str] = _HEADINGS) -> str:
    rule = ["---:" if "ms" in heading or not heading else "---" for heading in headings]
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in (headings, rule, *cells))


def _keras(rows: Sequence[Row]) -> str:
    """Beside Keras only where both have a ratio to PyTorch, and so computed the same."""
    theirs = {_about(row): row for row in rows if row.framework == "keras" and row.ratio_to_best_torch is not None}
    found = [(row, theirs[_about(row)]) for row in rows if row.framework == "jax" and _about(row) in theirs]
    lines = [
        (*_about(ours), significant(ours.ms_per_step), significant(keras.ms_per_step), fixed(ratio))
        for ours, keras in found
        if ours.ratio_to_best_torch is not None and (ratio := _times(keras, ours)) is not None
    ]
    if not lines:
        return ""
    headings = ("port", "task", "dtype", "jaxport, ms", "Keras, ms", "Keras ms ÷ jaxport ms")
    return "## Beside Keras 3 on JAX\n\n" + _table(sorted(lines, key=lambda line: float(line[-1])), headings)


def _times(slow: Row, fast: Row) -> float | None:
    return slow.ms_per_step / fast.ms_per_step if slow.ms_per_step is not None and fast.ms_per_step else None


def _refused(rows: Sequence[Row]) -> str:
    """Say what has no ratio; that channels_last means nothing to a model without convolutions is no refusal."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        if row.reason is not None and row.framework in ("jax", "keras"):
            lines.setdefault(f"{row.framework}: {row.reason}", []).append(" ".join(_about(row)))
    if not lines:
        return ""
    return "## Without a ratio\n\n" + "".join(f"- {text} ({', '.join(where)})\n" for text, where in lines.items())


def _tables(rows: Sequence[Row]) -> Iterable[str]:
    for dtype in DTYPES:
        for task in TASKS:
            part = [row for row in rows if (row.task, row.dtype) == (task, dtype)]
            if part:
                yield f"## {_TASKS[task]}, {dtype}\n\n" + to_markdown(part, ("task", "dtype"))


def _repeat(result: Result, again: str) -> str:
    return f"""\
## How to repeat it

    pip install "jaxport[bench,viz]"
    {result.command}
    {again}

Nothing else should run meanwhile: above a load average of about 1 the other work is measured too.

- `jaxport bench NAME --task step,epoch --dtype all --rounds 11` measures less, or more.
- `--out FILE.json` keeps the result after every port and task; `--resume` goes on with it after an interruption or with
  further tasks, on the same machine with the same versions and settings. Its form is
  [benchmarks.schema.json](benchmarks.schema.json).
- `--compare FILE.json` says what changed since: "faster" or "slower" where two medians differ by more than both spreads
  (median − fastest round) together, and what else is not as it was: machine, versions, settings, load.
- `--from FILE.json` shows a kept result; `--markdown`, `--json` and `--picture FILE.png` show it in other forms.
"""


def _ratio(pair: Pair) -> float:
    return pair.ours.ratio_to_best_torch or 0.0
