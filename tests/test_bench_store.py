"""Results as files: they come back as they were, by the schema; a damaged one is refused; what changed is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import bench_rows
import pytest

from jaxport import bench, cli
from jaxport.bench import compare, limits, runner, store
from jaxport.bench.machine import Machine, this_machine, versions
from jaxport.errors import UsageError

SCHEMA = Path(__file__).parents[1] / "docs" / "benchmarks.schema.json"


def test_a_result_comes_back_as_it_was(tmp_path):
    result = bench_rows.result(*bench_rows.rows(**bench_rows.LONG, versions={"jax": "0.10.2"}))
    store.write(result, tmp_path / "r.json")
    assert store.read(tmp_path / "r.json") == result
    assert list(tmp_path.iterdir()) == [tmp_path / "r.json"]


def test_what_is_kept_is_what_the_schema_says(tmp_path, capsys):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    row = schema["$defs"]["row"]
    assert row["required"] == list(row["properties"]) == [*bench.Row.__dataclass_fields__]
    store.write(bench_rows.result(limits=bench_rows.LIMITS.to_json()), tmp_path / "r.json")
    validator.validate(json.loads((tmp_path / "r.json").read_text()))
    assert cli.main(["bench", "--from", str(tmp_path / "r.json"), "--compare", str(tmp_path / "r.json"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    validator.validate(printed)
    assert len(printed["changes"]) == len(printed["rows"]) == 9
    printed["rows"][0]["task"] = "steps"
    assert not validator.is_valid(printed)


def test_numbers_that_json_lacks_become_null(tmp_path):
    store.write(bench_rows.result(bench_rows.row("digits", "jax", float("nan"))), tmp_path / "r.json")
    text = (tmp_path / "r.json").read_text()
    assert "NaN" not in text
    assert store.read(tmp_path / "r.json").rows[0].ms_per_step is None


def spoilt(**changes):
    return {**bench_rows.result().as_dict(), **changes}


def spoilt_row(**changes):
    return spoilt(rows=[{**bench_rows.result().as_dict()["rows"][0], **changes}])


REFUSED = {
    "no JSON": ("ms per step: 3", "no JSON"),
    "cut off": (json.dumps(spoilt())[:-40], "no JSON"),
    "not text": (b"\xff\xfe\x00", "no JSON"),
    "deep": ("[" * 100_000, "no JSON"),
    "a list": ([1, 2], "no result of `jaxport bench --out`"),
    "another file": ({"what": "else"}, "no result of `jaxport bench --out`"),
    "newer": (spoilt(schema=2), "has schema 2; this version of jaxport reads 1"),
    "no rows": ({k: v for k, v in spoilt().items() if k != "rows"}, "damaged result .*'rows' is missing"),
    "rows no list": (spoilt(rows={}), "damaged result .*rows is {}"),
    "a row no object": (spoilt(rows=[3]), "damaged result .*a row is 3"),
    "ms is text": (spoilt_row(ms_per_step="4"), "damaged result .*ms_per_step of a row is '4'"),
    "ms is negative": (spoilt_row(min_ms=-1.0), "damaged result .*min_ms of a row is -1.0"),
    "batch is true": (spoilt_row(batch=True), "damaged result .*batch of a row is True"),
    "limits are text": (spoilt(limits="fast"), "damaged result .*"),
    "limits lack one": (spoilt(limits={"flops": {}}), "damaged result .*'bandwidth' is missing"),
    "judged is half": (spoilt_row(judged=2.5), "damaged result .*judged of a row is 2.5"),
    "port is null": (spoilt_row(port=None), "damaged result .*port of a row is None"),
    "machine is text": (spoilt(machine="a computer"), "damaged result .*machine is 'a computer'"),
    "cores are text": (spoilt(machine={"cpu": "x", "cores": "2"}), "damaged result .*cores of the machine is '2'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_result_is_refused_in_a_line(name, tmp_path):
    content, message = REFUSED[name]
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    path = tmp_path / "r.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=message) as error:
        store.read(path)
    assert "\n" not in str(error.value)


def test_unknown_fields_are_left_out(tmp_path):
    content = spoilt_row(colour="red")
    (tmp_path / "r.json").write_text(json.dumps({**content, "weather": "rain"}))
    assert store.read(tmp_path / "r.json").rows == bench_rows.result().rows[:1]


def test_this_machine_is_named():
    machine = this_machine()
    assert machine.cpu
    assert machine.cores >= 1
    assert f"{machine.cores} core" in machine.text()
    assert {"python", "jaxport", "jax", "numpy"} <= set(versions())
    assert Machine("x", 1).text() == "x; 1 core; no GPU"
    assert bench_rows.MACHINE.text() == (
        "AMD EPYC; 2 cores; avx2, avx512f; 24 GB of memory; no GPU; Linux 6.1; load average 0.4 before the run"
    )


# ------------------------------------------------------------------------------------------------------------ compare

row = bench_rows.row
# Old, new, verdict. The spread of each is 10 %: 100 ± 10 and 120 ± 12 overlap up to 22.
VERDICTS = {
    "no change": (row("digits", "jax", 100.0), row("digits", "jax", 100.0), "same"),
    "within both spreads": (row("digits", "jax", 100.0), row("digits", "jax", 121.0), "same"),
    "slower": (row("digits", "jax", 100.0), row("digits", "jax", 125.0), "slower"),
    "faster": (row("digits", "jax", 125.0), row("digits", "jax", 100.0), "faster"),
    "one round": (row("digits", "jax", 1.0, rounds=1), row("digits", "jax", 9.0), "one round has no spread"),
    "no fastest": (row("digits", "jax", 1.0, min_ms=None), row("digits", "jax", 9.0), "one round has no spread"),
    "another batch": (
        row("digits", "jax", 1.0),
        replace(row("digits", "jax", 9.0), batch=64),
        "another problem: 30 steps of 32 then, 30 steps of 64 now",
    ),
    "failed now": (row("digits", "jax", 1.0), row("digits", "jax", None), "nothing was measured now"),
    "failed then": (row("digits", "jax", None), row("digits", "jax", 1.0), "nothing was measured then"),
    "failed both": (row("digits", "jax", None), row("digits", "jax", None), "nothing was measured either time"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_what_changed(name):
    old, new, verdict = VERDICTS[name]
    (change,) = compare.compare(bench_rows.result(old), bench_rows.result(new))
    assert change.verdict == verdict
    assert (change.old_ms, change.new_ms) == (old.ms_per_step, new.ms_per_step)
    if old.ms_per_step and new.ms_per_step:
        assert change.ratio == old.ms_per_step / new.ms_per_step


def test_rows_of_one_side_alone_are_said():
    old = bench_rows.result(row("digits", "jax", 1.0), row("digits", "torch", 1.0), row("imdb", "jax", 1.0))
    new = bench_rows.result(row("digits", "jax", 1.0), row("digits", "jax", 1.0, dtype="bfloat16"))
    changes = compare.compare(old, new)
    assert [(c.framework, c.dtype, c.verdict) for c in changes] == [
        ("jax", "float32", "same"), ("jax", "bfloat16", "new"), ("torch", "float32", "not measured now"),
    ]  # fmt: skip
    assert compare.unmeasured(old, new) == ["imdb"]


def test_a_ratio_that_came_or_went_is_said():
    with_ratio, without = row("digits", "jax", 1.0, 2.0), row("digits", "jax", 1.0, reason="the losses differ")
    (lost,) = compare.compare(bench_rows.result(with_ratio), bench_rows.result(without))
    (won,) = compare.compare(bench_rows.result(without), bench_rows.result(with_ratio))
    assert lost.gate == "no ratio any more: the losses differ"
    assert won.gate == "has a ratio now"
    assert "| same; no ratio any more: the losses differ |" in compare.to_markdown([lost])


def test_another_machine_version_or_setting_is_said():
    old = bench_rows.result()
    other = replace(old.machine, cpu="Arm", cores=8, gpu="H100", features=(), load=3.5)
    settings = {**old.settings, "rounds": 3, "frameworks": ["jax"]}
    new = replace(old, machine=other, versions={**old.versions, "jax": "0.11", "keras": "3.15"}, settings=settings)
    assert compare.differences(old, old) == []
    assert compare.differences(old, new) == [
        "cpu: AMD EPYC then, Arm now",
        "cores: 2 then, 8 now",
        "features: avx2,avx512f then, none now",
        "gpu: none then, H100 now",
        "jax: 0.10.2 then, 0.11 now",
        "keras: none then, 3.15 now",
        "--frameworks: the default then, jax now",
        "--rounds: 7 then, 3 now",
        "busy machine: load average 0.4 before the run then, 3.5 now",
    ]


# ------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Let `bench.run` answer at once, and say what it was asked for; "imdb" is interrupted."""
    asked = []

    def run(names, frameworks=None, **choices):
        asked.append((tuple(names), frameworks, choices["tasks"], choices["dtypes"], choices["rounds"]))
        choices["on_progress"](runner.Progress(0, 3, "starting"))
        if names == ["imdb"]:
            raise KeyboardInterrupt
        return [row(names[0], "jax", 1.0, task=task) for task in choices["tasks"]]

    def measure(seconds):
        asked.append("limits")
        return bench_rows.LIMITS

    monkeypatch.setattr(bench, "run", run)
    monkeypatch.setattr(limits, "measure", measure)
    monkeypatch.chdir(tmp_path)
    return asked


JAX = ["--frameworks", "jax"]


def test_an_interrupted_run_keeps_what_it_had_and_goes_on(measured, capsys, monkeypatch):
    arguments = ["bench", "digits", "imdb", "titanic", *JAX, "--out", "r.json"]
    assert cli.main(arguments) == 130
    assert [row.port for row in store.read("r.json").rows] == ["digits"]
    before = Path("r.json").read_bytes()
    assert cli.main(arguments) == 2
    assert "r.json is there already: --resume goes on with it" in capsys.readouterr().err
    assert Path("r.json").read_bytes() == before
    measured.clear()
    assert cli.main([*arguments[:2], "titanic", *arguments[4:], "--resume"]) == 0
    assert [names for names, *_ in measured] == [("titanic",)]
    kept = store.read("r.json")
    assert [row.port for row in kept.rows] == ["digits", "titanic"]
    assert kept.command == "jaxport bench digits imdb titanic --frameworks jax --out r.json"
    captured = capsys.readouterr()
    assert captured.err == ""  # progress is for terminals
    assert "titanic" in captured.out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--rounds", "3"], "--rounds: 7 then, 3 now"),
        (["--frameworks", "jax,keras"], "--frameworks: jax then, jax,keras now"),
        (["--steps", "5"], "--steps: the default then, 5 now"),
    ],
)
def test_what_was_measured_otherwise_is_not_gone_on_with(change, message, measured, capsys):
    assert cli.main(["bench", "digits", *JAX, "--out", "r.json"]) == 0
    assert cli.main(["bench", "titanic", *JAX, "--out", "r.json", "--resume", *change]) == 2
    assert message in capsys.readouterr().err


def test_further_tasks_join_a_kept_result(measured, capsys):
    assert cli.main(["bench", "digits", "titanic", *JAX, "--out", "r.json"]) == 0
    measured.clear()
    wider = ["--task", "infer-1,step", "--dtype", "float32", "--out", "r.json", "--resume"]
    assert cli.main(["bench", "digits", *JAX, *wider]) == 0
    assert [(names, tasks) for names, _, tasks, *_ in measured] == [(("digits",), ["infer-1"])]
    kept = store.read("r.json")
    assert [(r.port, r.task) for r in kept.rows] == [("digits", "step"), ("digits", "infer-1"), ("titanic", "step")]
    assert kept.settings["tasks"] == ["step", "infer-1"]
    first, second = kept.command.split("; ")
    assert "titanic" in first
    assert "infer-1" in second
    assert cli.main(["bench", "digits", *JAX, *wider]) == 0  # nothing is left to do
    assert store.read("r.json").command == kept.command


def test_another_machine_does_not_go_on(measured, capsys):
    assert cli.main(["bench", "digits", *JAX, "--out", "r.json"]) == 0
    kept = store.read("r.json")
    store.write(replace(kept, machine=replace(kept.machine, cpu="abacus")), "r.json")
    assert cli.main(["bench", "titanic", *JAX, "--out", "r.json", "--resume"]) == 2
    assert "cpu: abacus then" in capsys.readouterr().err


def test_what_is_asked_for_arrives(measured, capsys):
    wide = ["--task", "all", "--dtype", "bfloat16,float32", "--rounds", "3"]
    assert cli.main(["bench", "digits", *JAX, *wide]) == 0
    pieces = [([task], [dtype]) for task in bench.TASKS for dtype in ("bfloat16", "float32")]
    assert measured == ["limits", *((("digits",), ["jax"], *piece, 3) for piece in pieces)]


def test_limits_are_measured_once_and_only_where_there_is_a_floor(measured, capsys):
    assert cli.main(["bench", "digits", *JAX, "--out", "r.json"]) == 0
    assert store.read("r.json").limits == bench_rows.LIMITS.to_json()
    assert cli.main(["bench", "digits", "titanic", *JAX, "--out", "r.json", "--resume"]) == 0
    assert store.read("r.json").limits == bench_rows.LIMITS.to_json()
    for other in (["--task", "epoch"], ["--dtype", "bfloat16"]):
        assert cli.main(["bench", "digits", *JAX, *other, "--out", f"{other[1]}.json"]) == 0
        assert store.read(f"{other[1]}.json").limits is None
    assert measured.count("limits") == 1


def test_results_from_before_there_were_limits_are_read(tmp_path):
    content = bench_rows.result(limits=bench_rows.LIMITS.to_json()).as_dict()
    del content["limits"]
    for old in content["rows"]:
        del old["judged"], old["floor_ms"], old["times_floor"]
    (tmp_path / "r.json").write_text(json.dumps(content))
    assert store.read(tmp_path / "r.json") == bench_rows.result()


def test_compare_prints_what_changed_and_ends_in_0(measured, capsys):
    store.write(bench_rows.result(row("digits", "jax", 2.0), row("imdb", "jax", 2.0)), "old.json")
    assert cli.main(["bench", "digits", *JAX, "--compare", "old.json"]) == 0
    out = capsys.readouterr().out
    assert "faster" in out
    assert "compared with old.json of 2026-01-02T03:04:05+00:00" in out
    assert "differs: --frameworks: the default then, jax now" in out
    assert "not measured now: imdb" in out


WRONG = [
    (["--compare", "missing.json"], "missing.json cannot be read"),
    (["--compare", "text"], "text is no result of `jaxport bench --out`"),
    (["--from", "text"], "text is no result of `jaxport bench --out`"),
    (["--from", "r.json", "--out", "s.json"], "--out with --from means nothing"),
    (["--from", "r.json", "--rounds", "3"], "--rounds with --from means nothing"),
    (["--from", "r.json", "--task", "epoch"], "r.json has no epoch; it has step"),
    (["--from", "r.json", "unet"], "r.json has no unet; it has digits, resnet, titanic"),
    (["--out", "nowhere/r.json"], "there is no folder nowhere"),
    (["--picture", "r.jpg"], "must end in .png"),
    (["--task", "train"], "unknown 'train'; choose from step,epoch,infer-1,infer-256"),
    (["--dtype", "float16"], "unknown 'float16'; choose from float32,bfloat16"),
    (["--frameworks", "jax,caffe"], "unknown 'caffe'; choose from jax,torch"),
    (["--rounds", "0"], "must be a positive integer"),
    (["--json", "--markdown"], "not allowed with argument"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: value if isinstance(value, str) else None)
def test_mistakes_are_said_before_anything_is_measured(arguments, message, measured, capsys):
    Path("text").write_text("no result")
    store.write(bench_rows.result(), "r.json")
    before = sorted(Path().iterdir())
    framework = [] if "--frameworks" in arguments or "--from" in arguments else JAX
    try:
        status = cli.main(["bench", *framework, *arguments])
    except SystemExit as exit:  # argparse
        status = exit.code
    captured = capsys.readouterr()
    assert (status, measured, captured.out) == (2, [], "")
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert sorted(Path().iterdir()) == before


def test_the_names_that_the_parser_knows_are_the_benchmarks():
    from jaxport import cli_bench

    for name in ("FRAMEWORKS", "TASKS", "DTYPES"):
        assert getattr(cli_bench, name) == getattr(bench, name)
