"""What a report says in sentences, the same in the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from jaxport.parity.result import Error, Finding, Report, Step, Tensor, Verdict
from jaxport.parity.tolerances import FLOAT64_RTOL, OWN_SHARE

MARKS = {Verdict.EQUAL: "●", Verdict.ROUNDING: "◐", Verdict.SUSPICIOUS: "▲", Verdict.DIFFERENT: "✕"}
"""A shape for each verdict: colours alone are not enough."""

LEVELS = ("error", "warning", "info")


def number(value: float | None, digits: int = 1) -> str:
    """Return it in a width of its own: ``3.1e-02``, ``0``, ``NaN``, ``∞``, ``–`` for None."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return "0" if value == 0 else f"{value:.{digits}e}"


def ratio(tensor: Tensor) -> float | None:
    """Return its float32 error over PyTorch's own; None if either is missing, infinite if only the latter is 0."""
    if tensor.float32 is None or tensor.floor is None:
        return None
    if tensor.floor == 0:
        return 0.0 if tensor.float32.max_abs == 0 else math.inf
    return tensor.float32.max_abs / tensor.floor


def plural(count: int, one: str, many: str = "") -> str:
    """Return ``1 layer``, ``1,204 layers``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def counts(tensors: Iterable[Tensor]) -> dict[str, int]:
    """Return how many tensors have each verdict, worst first."""
    listed = [tensor.verdict for tensor in tensors]
    return {str(verdict): listed.count(verdict) for verdict in reversed(Verdict)}


def headline(report: Report) -> str:
    """Return in a sentence what came out, and why it is not "the same"."""
    tensors, steps = plural(len(report.tensors), "tensor"), plural(len(numbers(report.steps)), "training step")
    compared = " and ".join(text for text, any_ in ((tensors, report.tensors), (steps, report.steps)) if any_)
    if report.ok:
        return f"{compared} compared, all agree"
    if not any(tensor.decides for tensor in report.tensors) and not report.steps:
        return "nothing was compared"
    reasons = []
    if failed := sum(not tensor.ok for tensor in report.tensors):
        reasons.append(f"{failed:,} of {tensors} {'does' if failed == 1 else 'do'} not agree")
    if parting := first_parting(report.steps):
        reasons.append(f"training parts at step {parting.number}")
    if errors := sum(finding.level == "error" for finding in report.findings):
        reasons.append(f"{plural(errors, 'finding')} {'is an error' if errors == 1 else 'are errors'}")
    return "; ".join(reasons)


def kind(tensor: Tensor) -> str:
    """Return the kind of a tensor in words: ``activation gradient``."""
    return tensor.kind.replace("_", " ")


def mode(tensor: Tensor) -> str:
    """Return the mode of its pass, as it stands behind a name: " (train)", "" without one."""
    return f" ({tensor.mode})" if tensor.mode else ""


def place(jax_path: str | None, torch_path: str) -> str:
    """Return both paths, PyTorch's first; one where they are alike or the other is unknown."""
    ours, theirs = jax_path or "", torch_path or ""
    if not ours and not theirs:
        return "the model"
    return f"{theirs or 'the model'} ↔ {ours or 'the model'}" if ours != theirs else theirs


def finding_place(finding: Finding) -> str:
    """Return where a finding is: both paths, or the one that it names."""
    if finding.jax_path and finding.torch_path:
        return place(finding.jax_path, finding.torch_path)
    return finding.torch_path or finding.jax_path or "the model"


def where_it_arises(tensor: Tensor) -> str:
    """Return what the layer alone says: local error against the accumulated one; "" for what no layer makes."""
    if tensor.kind not in ("output", "input"):
        return ""
    local, total = tensor.local64 or tensor.local32, tensor.float64 or tensor.float32
    layer = tensor.kind == "output"
    if local is None:
        alone = "The layer was not run alone" if layer else "What stands before this layer was not run alone"
        return "The values were not compared." if total is None else f"{alone}, so the error may come from further up."
    given, off = "Given PyTorch's own values", number(local.max_rel)
    alone = "this layer alone" if layer else "what stands between the layers, before this one,"
    allowed = FLOAT64_RTOL if tensor.local64 is not None else (tensor.float32 or local).max_rel * OWN_SHARE
    if not local.max_rel <= allowed:
        return f"{given}, {alone} is off by {off}: the error arises {'here' if layer else 'there'}."
    return f"{given}, {alone} agrees ({off}): the error comes from further up."


def facts(tensor: Tensor) -> list[tuple[str, str]]:
    """Return what is known of a tensor that differs, as pairs of name and text."""
    ours, theirs = f"{shape(tensor.jax_shape)} {tensor.jax_dtype}", f"{shape(tensor.torch_shape)} {tensor.torch_dtype}"
    axes = f", axes {shape(tensor.axes)} of PyTorch's" if tensor.axes else ""
    rows = [("PyTorch", f"{tensor.torch_path or 'the model'}  {theirs}")]
    rows.append(("JAX", f"{tensor.jax_path or 'the model'}  {ours}{axes}"))
    if worst := tensor.float64 or tensor.float32:
        values = f"PyTorch {worst.theirs:.9g}, JAX {worst.ours:.9g}, apart by {number(worst.max_abs)}"
        rows.append(("worst at", f"{list(worst.index)}: {values}"))
    rows.append(("error", _errors(tensor)))
    if where := where_it_arises(tensor):
        rows.append(("local", where))
    if tensor.required > 0:
        rows.append(("tolerance", f"would pass at a relative {number(tensor.required)}"))
    if tensor.note:
        rows.append(("note", tensor.note))
    return rows


def _errors(tensor: Tensor) -> str:
    def text(name: str, total: Error | None, local: Error | None) -> str:
        alone = f" accumulated, {number(local.max_rel)} local" if local else ""
        return f"{name} {number(total.max_rel)}{alone}" if total else ""

    found = [text("float64", tensor.float64, tensor.local64), text("float32", tensor.float32, tensor.local32)]
    if (times := ratio(tensor)) is not None:
        found[1] += f" ({times:.3g} × PyTorch's own rounding)"
    return "; ".join(part for part in found if part) or "not measured"


def shape(values: Sequence[int]) -> str:
    """Return a shape as PyTorch users read it."""
    return "(" + ", ".join(map(str, values)) + (",)" if len(values) == 1 else ")")


def causes(report: Report, tensor: Tensor, most: int = 4) -> list[Finding]:
    """Return the findings that may explain why a tensor differs.

    Those of its layer, causes before the linter's. Causes of other differences stand among the findings.
    """

    def here(finding: Finding) -> bool:
        pairs = ((finding.torch_path, tensor.torch_path), (finding.jax_path, tensor.jax_path))
        return any(a and (a == b or b.startswith(f"{a}.")) for a, b in pairs)

    told = [finding for finding in report.findings if finding.rule.startswith(("cause/", "lint/"))]
    # Both sides have the same weights by then: how each draws its own explains nothing.
    fitting = [finding for finding in told if here(finding) and finding.rule != "lint/initialisation"]
    return sorted(fitting, key=lambda f: (not f.rule.startswith("cause/"), not here(f), _level(f)))[:most]


def _level(finding: Finding) -> int:
    return LEVELS.index(finding.level) if finding.level in LEVELS else len(LEVELS)


def by_level(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, errors first."""
    return sorted(findings, key=_level)


def numbers(steps: Iterable[Step]) -> list[int]:
    """Return the numbers of the steps, each once."""
    return sorted({step.number for step in steps})


def modes(steps: Iterable[Step]) -> list[str]:
    """Return the modes in which it was trained, in their order."""
    return list(dict.fromkeys(step.mode for step in steps))


def first_parting(steps: Iterable[Step], mode: str = "") -> Step | None:
    """Return the first step that does not pass, the largest excess of it; of one mode, or of any."""
    failed = [step for step in steps if not step.ok and mode in ("", step.mode)]
    return min(failed, key=lambda step: (step.number, -_excess(step)), default=None)


def _excess(step: Step) -> float:
    return math.inf if math.isnan(step.max_rel) else step.max_rel / max(step.limit, 1e-300)


def parts(step: Step) -> str:
    """Return which tensor parts at a step, and how far."""
    where = f" ({step.worst})" if step.worst else ""
    return f"{step.kind}{where} at step {step.number}: {number(step.max_rel)}, allowed {number(step.limit)}"


MODE_NAMES = {"free": "free-running", "resync": "resynchronised before every step"}


def training_lines(report: Report) -> list[str]:
    """Return a sentence for each mode of training: how far, and where it first parts."""
    lines = []
    for mode in modes(report.steps):
        steps = [step for step in report.steps if step.mode == mode]
        text = f"{MODE_NAMES.get(mode, mode)}: {plural(len(numbers(steps)), 'step')}"
        if losses := [step for step in steps if step.kind == "loss" and not math.isnan(step.torch_loss)]:
            text += f", loss {losses[0].torch_loss:.4g} → {losses[-1].torch_loss:.4g} (JAX {losses[-1].jax_loss:.4g})"
        if parting := first_parting(steps):
            lines.append(f"{text}; the first to part is {parts(parting)}")
        else:
            worst = max((step.max_rel for step in steps), default=0.0)
            lines.append(f"{text}; none parts, worst {number(worst)}")
    return lines


def environment(values: dict[str, object]) -> str:
    """Return the environment in a line."""
    return " · ".join(f"{key} {value}" for key, value in values.items() if isinstance(value, str | int | float))
