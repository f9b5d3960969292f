"""deviations: differences that somebody has accepted, each with a reason, a limit and a date on which it ends."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from jaxport.errors import DataError

from . import tolerances
from .result import Error, Finding, Report, Step, Tensor

_TEXTS = ("id", "test", "reason")
_FIELDS = (*_TEXTS, "tensor", "finding", "max_rel", "expires")


@dataclass(frozen=True)
class Deviation:
    """A difference that is accepted in some tests.

    Attributes:
        id: its name, in reports.
        test: which tests: their ids, with * and ?.
        reason: why it is accepted.
        expires: the last day on which it is.
        tensor: which tensors, by `Tensor.name` ("output encoder.0"), or steps ("step free loss"); with * and ?.
        max_rel: the largest relative error that is accepted there.
        finding: in place of a tensor, which findings of level "error", by rule.
    """

    id: str
    test: str
    reason: str
    expires: date
    tensor: str = ""
    max_rel: float = 0.0
    finding: str = ""


@dataclass(frozen=True)
class Problem:
    """What makes a report fail: a tensor, a step, or a finding.

    Attributes:
        name: of the tensor or step; the rule of a finding.
        text: what is wrong, in a line.
        amount: the relative error; None for a finding.
    """

    name: str
    text: str
    amount: float | None = None


@dataclass(frozen=True)
class Accepted:
    """A problem that a deviation covers."""

    deviation: Deviation
    problem: Problem


def load(path: Path) -> tuple[Deviation, ...]:
    """Read accepted deviations from a TOML file of ``[[deviation]]`` tables.

    Raises:
        DataError: it cannot be read, or is not of this form; all that is wrong is listed.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not TOML: {error}") from error
    rows = data.pop("deviation", [])
    problems = [f"unknown key {key!r}; there are only [[deviation]] tables" for key in data]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        problems.append("deviation is no list of tables; write [[deviation]]")
        rows = []
    for number, row in enumerate(rows, 1):
        problems += [f"deviation {row.get('id', number)!r}: {what}" for what in _mistakes(row)]
    ids = [row["id"] for row in rows if "id" in row]
    twice = [one for one in dict.fromkeys(map(str, ids)) if list(map(str, ids)).count(one) > 1]
    problems += [f"deviation {one!r}: more than one has this id" for one in twice]
    if problems:
        raise DataError(f"{path}: {'; '.join(problems)}")
    return tuple(Deviation(**row) for row in rows)


def judge(
    report: Report, deviations: Iterable[Deviation], test: str, today: date
) -> tuple[list[Accepted], list[Problem]]:
    """Return what is wrong with a report and accepted, and what is wrong and not; the text of the latter says why.

    Args:
        report: the report.
        deviations: those that may apply.
        test: id of the test that made the report.
        today: the date against which they expire.
    """
    covering = [deviation for deviation in deviations if matches(deviation.test, test)]
    accepted, refused = [], []
    for problem in problems_of(report):
        candidates = [one for one in covering if _is_of(one, problem)]
        reasons = [_refusal(one, problem, today) for one in candidates]
        if "" in reasons:
            accepted.append(Accepted(candidates[reasons.index("")], problem))
        else:
            text = "; ".join([problem.text, *reasons])
            refused.append(Problem(problem.name, text, problem.amount))
    return accepted, refused


def problems_of(report: Report) -> Iterator[Problem]:
    """Yield what makes a report fail; one that compared nothing has a problem of its own, which nothing covers."""
    if not report.steps and not any(tensor.decides for tensor in report.tensors):
        yield Problem("", "nothing was compared", math.inf)
    for tensor in report.tensors:
        if not tensor.ok:
            yield Problem(tensor.name, _tensor_text(tensor), amount(tensor))
    for step in report.steps:
        if not step.ok:
            yield Problem(f"step {step.mode} {step.kind}", _step_text(step), step.max_rel)
    for finding in report.findings:
        if finding.level == "error":
            yield Problem(finding.rule, finding_text(finding))


def amount(tensor: Tensor) -> float:
    """Return the relative error that a tensor fails with: of float64 if that fails, of float32 if that does.

    Where neither does alone (rounding that is amplified), the larger; infinite where shapes or dtypes differ.
    """
    errors = [error.max_rel for error in _failing(tensor).values()]
    return max((math.inf if math.isnan(error) else error for error in errors), default=math.inf)


def _failing(tensor: Tensor) -> dict[str, Error]:
    """Return the errors by the precisions that fail; all that there are, if none does by itself."""
    wide, narrow = tensor.float64, tensor.float32
    failing = {"float64": wide} if wide and not wide.max_rel <= tolerances.FLOAT64_RTOL else {}
    if narrow and tensor.limit is not None and not narrow.max_abs <= tensor.limit:
        failing["float32"] = narrow
    return failing or {dtype: error for dtype, error in (("float64", wide), ("float32", narrow)) if error}


def matches(pattern: str, text: str) -> bool:
    """Return whether a text fits a pattern, in which only * and ? have a meaning: the ids of tests have brackets."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def finding_text(finding: Finding) -> str:
    """Return a finding in a line: where, what, and what to do."""
    where = finding.torch_path or finding.jax_path
    fix = f"; {finding.fix}" if finding.fix else ""
    return f"{finding.rule}{f' at {where}' if where else ''}: {finding.message}{fix}"


def _is_of(deviation: Deviation, problem: Problem) -> bool:
    pattern = deviation.finding if problem.amount is None else deviation.tensor
    return bool(pattern and problem.name) and matches(pattern, problem.name)


def _refusal(deviation: Deviation, problem: Problem, today: date) -> str:
    """Say why a deviation does not cover a problem; "" if it does."""
    name = f"the accepted deviation {deviation.id!r} ({deviation.reason})"
    if today > deviation.expires:
        return f"{name} expired on {deviation.expires}"
    if problem.amount is not None and not problem.amount <= deviation.max_rel:
        return f"{name} allows {deviation.max_rel:.1e}, and this is {problem.amount:.1e}"
    return ""


def _tensor_text(tensor: Tensor) -> str:
    place = tensor.name + (f" (JAX: {tensor.jax_path})" if tensor.jax_path != tensor.torch_path else "")
    if tensor.note and amount(tensor) == math.inf:
        return f"{place} is {tensor.verdict}: {tensor.note}"
    # float64 decides: what float32 is then says nothing more.
    numbers = [
        f"{dtype} {error.max_rel:.1e} at {list(error.index)}: {error.ours:.7g} for {error.theirs:.7g}"
        for dtype, error in list(_failing(tensor).items())[:1]
    ]
    numbers += [f"shape {tensor.jax_shape} for {tensor.torch_shape}"] if not numbers else []
    return f"{place} is {tensor.verdict}: {', '.join(numbers)}{f' ({tensor.note})' if tensor.note else ''}"


def _step_text(step: Step) -> str:
    place = f"{step.kind} after step {step.number} ({step.mode})"
    return f"{place}: {step.max_rel:.1e}, may be {step.limit:.1e}, worst {step.worst or step.kind}"


def _mistakes(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with one table."""
    yield from (f"unknown key {key!r}, known are {', '.join(_FIELDS)}" for key in row if key not in _FIELDS)
    yield from (f"{key} is missing" for key in (*_TEXTS, "expires") if key not in row)
    texts: Sequence[str] = (*_TEXTS, "tensor", "finding")
    wrong = [key for key in texts if key in row and not (isinstance(row[key], str) and row[key].strip())]
    yield from (f"{key} = {row[key]!r} is no text" for key in wrong)
    expires = row.get("expires")
    if "expires" in row and (not isinstance(expires, date) or isinstance(expires, datetime)):
        yield f"expires = {expires!r} is no date; write it without quotes, as 2030-12-31"
    if ("tensor" in row) == ("finding" in row):
        yield "one of tensor and finding is needed"
    limit = row.get("max_rel")
    number = isinstance(limit, int | float) and not isinstance(limit, bool) and 0.0 < limit < math.inf
    if "tensor" in row and not number:
        yield f"max_rel = {limit!r}; a positive number is needed, the largest relative error that is accepted"
    if "finding" in row and limit is not None:
        yield "max_rel says nothing of a finding"
