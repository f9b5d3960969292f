"""jaxport compare, parity record and parity check, as a user calls them; and the guide's snippets."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from jaxport.cli import main
from jaxport.parity.result import from_json

GUIDE = (Path(__file__).parents[1] / "docs" / "parity.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
MODELS = next(block for block in BLOCKS if block.startswith("# models.py"))
MENDED = (
    MODELS.replace("strides=2, rngs", "strides=2, padding=1, rngs")
    .replace("LayerNorm(12, rngs", "LayerNorm(12, epsilon=1e-5, rngs")
    .replace("nnx.gelu(self.up(self.ln(x)))", "nnx.gelu(self.up(self.ln(x)), approximate=False)")
)
INPUT = ["--input", "7,3,8,10"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user's own, with the guide's models and the mended ones."""
    (tmp_path / "guide_models.py").write_text(MODELS)
    (tmp_path / "mended_models.py").write_text(MENDED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("guide_models", "mended_models", "models"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_the_guides_mistakes_are_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert MENDED.count("epsilon=1e-5") == MENDED.count("approximate=False") == MENDED.count("padding=1, rngs") == 1
    arguments = ["compare", "guide_models:FlaxNet", "guide_models:TorchNet", *INPUT]
    assert main([*arguments, "--json", "--html", "page.html", "--repro", "repro"]) == 1
    report = from_json(capsys.readouterr().out)
    first = report.first_divergence
    assert first is not None
    assert (first.kind, first.torch_path, first.jax_path) == ("output", "patches", "embed")
    causes = {(f.rule, f.torch_path) for f in report.findings if f.rule.startswith("cause/")}
    assert causes == {("cause/padding", "patches"), ("cause/eps", "norm"), ("cause/gelu-tanh", "mlp.2")}
    assert (here / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert (here / "repro" / "patches.py").exists()


def test_the_mended_port_is_the_same(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "mended_models:FlaxNet", "mended_models:TorchNet", *INPUT]) == 0
    assert re.search(r"SAME .*27 tensors compared, all agree", capsys.readouterr().out)


def test_a_golden_is_recorded_and_checked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", "record", "mended_models:TorchNet", "golden.safetensors", *INPUT]) == 0
    assert main(["parity", "check", "mended_models:FlaxNet", "golden.safetensors", "--json"]) == 0
    out = capsys.readouterr().out
    assert from_json(out[out.index("{") :]).ok
    assert main(["parity", "check", "guide_models:FlaxNet", "golden.safetensors"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["guide_models:FlaxNet", "guide_models:TorchNet"], "--input: one for each argument"),
        (["guide_models:FlaxNet", "guide_models:Nothing", *INPUT], "guide_models has no 'Nothing'"),
        (["nowhere:FlaxNet", "guide_models:TorchNet", *INPUT], "No module named 'nowhere'"),
        (["guide_models", "guide_models:TorchNet", *INPUT], "package.module:Name is needed"),
        (["guide_models:FlaxNet", "guide_models:TorchNet", "--input", "7,x"], "'7,x' is no shape"),
        (["guide_models:FlaxNet", "guide_models:TorchNet", "--input", "7@word"], "'word' is no kind"),
        (["guide_models:FlaxNet", "guide_models:TorchNet", "--input", "7,4,8,10"], "torch_model: it does not take"),
        (["guide_models:FlaxNet", "guide_models:TorchNet", *INPUT, "--torch-args", "[1]"], "a JSON object is needed"),
        (["guide_models:FlaxNet", "guide_models:TorchNet", *INPUT, "--jax-args", '{"a": 1}'], "cannot be made"),
        (["guide_models:FlaxNet", "guide_models:TorchNet", *INPUT, "--torch-weights", "no.pt"], "no.pt"),
        (["guide_models:FlaxNet", "guide_models:TorchNet", *INPUT, "--map", "no.yaml"], "no.yaml"),
    ],
    ids=lambda value: None if isinstance(value, list) else value[:20],
)
def test_what_is_wrong_is_said_in_a_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["compare", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert len(error.splitlines()) <= 2
    assert "Traceback" not in error


def test_the_guides_other_snippets_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "models.py").write_text(MENDED)
    sys.path.insert(0, str(here))
    others = [block for block in BLOCKS if not block.startswith("# models.py")]
    assert len(others) == 2
    for block in others:
        exec(compile(block, "guide", "exec"), {})
        assert capsys.readouterr().out.startswith("True"), block


def test_json_is_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "mended_models:FlaxNet", "mended_models:TorchNet", *INPUT, "--json", "--no-gradients"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
