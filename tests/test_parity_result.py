"""Reports as data: what counts as the same, and their JSON form."""

import json
import math
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import parity_reports
import pytest

from jaxport.parity.result import Error, Finding, Module, Report, Step, Tensor, Verdict, from_json

SCHEMA = Path(__file__).parents[1] / "docs" / "parity_report.schema.json"


def same(a: object, b: object) -> bool:
    """Whether two values are the same, NaN being like NaN."""
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("name", ["passing", "planted", "training", "hostile", "everything"])
def test_a_report_comes_back_from_json_as_it_was(name: str) -> None:
    report = getattr(parity_reports, name)()
    back = from_json(report.to_json())
    for field in ("title", "tensors", "findings", "modules", "steps"):
        assert same(getattr(back, field), getattr(report, field)), field
    assert back.environment == report.environment
    assert back.seconds == report.seconds
    assert back.ok is report.ok


def test_json_has_no_numbers_that_json_lacks() -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    data = json.loads(parity_reports.everything().to_json(), parse_constant=refuse)
    odd = data["tensors"][-2]
    assert odd["float64"] == {"max_abs": "inf", "max_rel": "nan", "index": [0, 1], "ours": "-inf", "theirs": "nan"}
    assert odd["magnitudes"] == [[0.0, "-inf"], ["nan", 1.0]]
    assert data["tensors"][-1]["floor"] is None


def test_names_that_read_like_numbers_stay_names() -> None:
    odd = from_json(parity_reports.everything().to_json()).tensors[-2]
    assert (odd.jax_path, odd.torch_path, odd.note) == ("nan", "inf", "nan")


@pytest.mark.parametrize("name", ["passing", "planted", "training", "hostile", "everything"])
def test_json_is_what_the_schema_says(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    data = json.loads(getattr(parity_reports, name)().to_json())
    jsonschema.Draft202012Validator(schema).validate(data)


def test_the_schema_refuses_what_is_not_a_report() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    good = json.loads(parity_reports.everything().to_json())
    for change in ({"schema": 2}, {"ok": "yes"}, {"extra": 1}, {"tensors": [{}]}, {"seconds": {"all": "long"}}):
        assert not validator.is_valid(good | change), change
    for path, value in (("kind", "bias"), ("verdict", "fine"), ("floor", "big"), ("axes", [-1]), ("note", None)):
        assert not validator.is_valid(good | {"tensors": [good["tensors"][0] | {path: value}]}), path


def test_the_schema_names_every_field() -> None:
    """It needs no package: a field that is added to a class and not to the schema is found."""
    schema = json.loads(SCHEMA.read_text())
    described = {name: set(part["properties"]) for name, part in schema["$defs"].items() if "properties" in part}
    classes = {"error": Error, "tensor": Tensor, "finding": Finding, "module": Module, "step": Step}
    assert described == {name: {f.name for f in fields(part)} for name, part in classes.items()}
    assert set(schema["properties"]) == {"schema", "ok"} | {f.name for f in fields(Report)}
    assert set(schema["$defs"]["tensor"]["properties"]["verdict"]["enum"]) == set(Verdict)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"schema": 2}', "not json", '{"schema": 1}', '{"schema": 1, "tensors": [{}]}']
)
def test_what_is_not_a_report_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        from_json(text)


def test_a_field_of_another_version_is_refused() -> None:
    data = json.loads(parity_reports.passing().to_json())
    data["tensors"][0]["colour"] = "red"
    with pytest.raises(ValueError, match=r"not a report of schema 1: .*colour"):
        from_json(json.dumps(data))


def test_what_counts_as_the_same() -> None:
    passing = parity_reports.passing()
    assert passing.ok
    assert passing.first_divergence is None
    assert not Report("nothing").ok
    assert not parity_reports.planted().ok
    assert parity_reports.training(parts_at=99).ok
    assert not parity_reports.training().ok
    assert not passing.with_findings([Finding("guard/x", "error", "x")]).ok
    assert passing.with_findings([Finding("guard/x", "warning", "x")]).ok
    aside = replace(parity_reports.planted().tensors[3], decides=False)
    assert replace(passing, tensors=(*passing.tensors, aside)).ok
    assert not replace(passing, tensors=(aside,)).ok


def test_the_first_divergence_is_the_first_in_the_order_of_execution() -> None:
    first = parity_reports.planted().first_divergence
    assert first is not None
    assert first.name == "output features.conv2"
    assert [t.torch_path for t in parity_reports.planted().of("buffer")] == ["features.norm1.running_var"]


def test_a_step_whose_error_is_nan_does_not_pass() -> None:
    assert not Step(1, "free", "loss", math.nan, "", 1e-10).ok
    assert Step(1, "free", "loss", 1e-10, "", 1e-10).ok
