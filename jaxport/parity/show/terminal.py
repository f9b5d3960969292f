"""A report in the terminal: the verdict, where the models part, and the tree of modules with its errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from jaxport.parity.result import Finding, Report, Tensor, Verdict

from . import words
from .nodes import GRADIENTS, RANK, Node, nodes, size, worst_first

STYLES = {
    Verdict.EQUAL: "cyan",
    Verdict.ROUNDING: "blue",
    Verdict.SUSPICIOUS: "yellow",
    Verdict.DIFFERENT: "bold magenta",
}
LEVEL_MARKS = {"error": ("✕", "bold magenta"), "warning": ("▲", "yellow"), "info": ("●", "cyan")}
SMALL = 20
"""A tree of so many lines is not folded."""
MOST = 8
"""So many gradients and findings are listed."""
_IN_TREE = ("output", "input")


def tree(report: Report, *, full: bool = False) -> RenderableType:
    """Return what `rich` prints of a report: the verdict first, then where and why, then everything else.

    Args:
        report: what a comparison found.
        full: list every layer, gradient and finding; without it those that agree are counted.
    """
    parts: list[RenderableType] = [_verdict(report)]
    if errors := [finding for finding in report.findings if finding.level == "error"]:
        # What could not be carried over or compared comes first: numbers mean little before it is mended.
        parts += [_heading("To be mended first"), *(_finding(finding) for finding in errors[: None if full else MOST])]
        if len(errors) > MOST and not full:
            parts.append(Text(f"{len(errors) - MOST} more (--full)", "dim"))
    if first := report.first_divergence:
        parts += [_heading("First divergence"), _first(report, first)]
    if any(tensor.kind in _IN_TREE for tensor in report.tensors):
        parts += [_heading("Layers"), _layers(report, full)]
    gradients = [tensor for tensor in report.tensors if tensor.kind in GRADIENTS]
    parts += _listed("Gradients, worst first", gradients, full)
    parts += _listed("Other tensors", [t for t in report.tensors if t.kind not in (*GRADIENTS, *_IN_TREE)], full)
    parts += _findings([finding for finding in report.findings if finding.level != "error"], full)
    if report.steps:
        parts += [_heading("Training"), *(Text(line) for line in words.training_lines(report))]
    if report.environment:
        parts += [_heading("Environment"), Text(words.environment(report.environment), "dim")]
    return _Safe(Group(*parts))


class _Safe:
    """Shows what it is given without the control characters that a name or message may hold."""

    def __init__(self, shown: RenderableType) -> None:
        self.shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.shown, options):
            yield Segment(_CONTROL.sub("\ufffd", segment.text), segment.style)


_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def _verdict(report: Report) -> RenderableType:
    mark, name, style = (
        ("●", "SAME", STYLES[Verdict.EQUAL]) if report.ok else ("✕", "DIFFERENT", STYLES[Verdict.DIFFERENT])
    )
    line = Text.assemble((f"{mark} {name}", f"bold {style}"), f"  {report.title}: {words.headline(report)}")
    if not report.tensors:
        return line
    totals = Text("  ")
    for verdict, count in words.counts(report.tensors).items():
        style = STYLES[Verdict(verdict)] if count else "dim"
        totals.append(f"{words.MARKS[Verdict(verdict)]} {count:,} {verdict}   ", style)
    return Group(line, totals)


def _heading(title: str) -> RenderableType:
    return Padding(Rule(Text(title, "bold"), align="left", style="dim"), (1, 0, 0, 0))


def _first(report: Report, tensor: Tensor) -> RenderableType:
    kinds = next(
        (f" ({m.torch_kind})" for m in report.modules if m.torch_path == tensor.torch_path and m.torch_kind), ""
    )
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    where = words.place(tensor.jax_path, tensor.torch_path)
    title = Text.assemble(f"{words.kind(tensor)} of ", (where, "bold"), kinds, words.mode(tensor), "  ")
    table.add_row(Text("what"), title + _word(tensor.verdict))
    for name, text in words.facts(tensor):
        table.add_row(Text(name), Text(text))
    for cause in words.causes(report, tensor):
        table.add_row(Text("likely"), _finding(cause))
    return table


def _word(verdict: Verdict | None) -> Text:
    return Text(f"{words.MARKS[verdict]} {verdict}", STYLES[verdict]) if verdict else Text("– not compared", "dim")


def _errors_table(first: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    table.add_column(first, no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("float64", justify="right", no_wrap=True)
    table.add_column("float32/own", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True, min_width=12)
    return table


def _numbers(tensor: Tensor | None) -> tuple[Text, Text]:
    if tensor is None:
        return Text("–", "dim"), Text("–", "dim")
    times = words.ratio(tensor)
    wide = words.number(tensor.float64.max_rel if tensor.float64 else None)
    return Text(wide), Text("–" if times is None else f"{times:,.2f}" if times < 1e4 else words.number(times))


def _layers(report: Report, full: bool) -> Table:
    table, listed = _errors_table("layer"), nodes(report)
    lines = list(_lines(listed, full or len(listed) <= SMALL))
    cut = lines if full else lines[: 2 * SMALL]
    for line in cut:
        if isinstance(line, list):
            _add_fold(table, report, listed, line)
            continue
        node = listed[line]
        shown = report.tensors[node.shown] if node.shown >= 0 else None
        table.add_row(_name(node), *_numbers(shown), _word(node.verdict))
    if rest := [line for line in lines[len(cut) :] if isinstance(line, int)]:
        table.add_row(Text(f"{words.plural(len(rest), 'layer')} more that do not agree", "dim"))
    return table


def _lines(listed: Sequence[Node], full: bool, at: int = 0) -> Iterator[int | list[int]]:
    """Return the positions of nodes to show; those next to each other that agree, as a list."""
    yield at
    run: list[int] = []
    for child in listed[at].children:
        if listed[child].ok and not full:
            if run and bool(listed[run[-1]].below) != bool(listed[child].below):
                yield from _closed(run)  # those that agree apart from those that were not compared
                run = []
            run.append(child)
            continue
        yield from _closed(run)
        run = []
        yield from _lines(listed, full, child)
    yield from _closed(run)


def _closed(run: list[int]) -> Iterator[int | list[int]]:
    if run:
        yield run


def _add_fold(table: Table, report: Report, listed: Sequence[Node], run: list[int]) -> None:
    tensors = [report.tensors[i] for n in run for i in listed[n].below]
    names = [listed[n].name for n in run]
    named = ", ".join(names) if len(names) < 4 else f"{names[0]} … {names[-1]}"
    layers = words.plural(sum(_size(listed, n) for n in run), "layer")
    said = "agree" if tensors else "not compared"
    text = Text(f"{'  ' * listed[run[0]].depth}{layers} {said}: {named}", "dim")
    worst = max((t for t in tensors if t.kind not in GRADIENTS), key=size, default=None)
    verdict = max((v for n in run if (v := listed[n].verdict)), default=None, key=RANK.__getitem__)
    table.add_row(text, *_numbers(worst), _word(verdict))


def _size(listed: Sequence[Node], at: int) -> int:
    return 1 + sum(_size(listed, child) for child in listed[at].children)


def _name(node: Node) -> Text:
    text = Text(f"{'  ' * node.depth}{node.name}", "" if node.ok else "bold")
    text.append(f"  {node.module.torch_kind.rsplit('.', 1)[-1]}", "dim")
    return text


def _listed(title: str, tensors: Sequence[Tensor], full: bool) -> list[RenderableType]:
    """Return a section of tensors that are not in the tree: a line if all agree, a table of the worst otherwise."""
    if not tensors:
        return []
    ordered = worst_first(tensors)
    failed = [tensor for tensor in ordered if not tensor.ok]
    shown = ordered if full else failed[:MOST]
    rest = len(failed) - len(shown) if not full else 0
    parts: list[RenderableType] = [_heading(title)]
    if shown:
        table = _errors_table("tensor")
        for tensor in shown:
            kind = words.kind(tensor).replace(" gradient", "").replace("gradient", "parameter")
            name = Text.assemble((f"{kind} ", "dim"), tensor.torch_path or "model", (words.mode(tensor), "dim"))
            table.add_row(name, *_numbers(tensor), _word(tensor.verdict))
        parts.append(table)
    if rest > 0:
        parts.append(Text(f"{rest} more that do not agree", "dim"))
    if agreeing := [tensor for tensor in ordered if tensor.ok]:
        worst = words.number(size(agreeing[0]))
        verb = "agrees" if len(agreeing) == 1 else "agree"
        parts.append(Text(f"{words.plural(len(agreeing), 'tensor')} {verb}, worst {worst}", "dim"))
    return parts


def _findings(findings: Sequence[Finding], full: bool) -> list[RenderableType]:
    if not findings:
        return []
    # A cause that was tested on the numbers comes before what only the settings say.
    ordered = sorted(words.by_level(findings), key=lambda finding: not finding.rule.startswith("cause/"))
    shown = ordered if full else ordered[:MOST]
    parts: list[RenderableType] = [_heading("Findings"), *(_finding(finding) for finding in shown)]
    if len(shown) < len(ordered):
        parts.append(Text(f"{len(ordered) - len(shown)} more (--full)", "dim"))
    return parts


def _finding(finding: Finding) -> Text:
    mark, style = LEVEL_MARKS.get(finding.level, ("●", ""))
    if finding.rule.startswith("cause/"):
        mark, style = "►", "bold"
    text = Text.assemble((f"{mark} {finding.rule}", style))
    if finding.trap is not None:
        text.append(f" (trap {finding.trap})", "dim")
    if finding.jax_path or finding.torch_path:
        text.append(f" {words.finding_place(finding)}", "bold")
    text.append(f": {finding.message}")
    if finding.fix:
        text.append(f"\n  fix: {finding.fix}", "green")
    return text
