"""benchmarks/results.py: what is run, what is kept, and the page that is written from it."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from jaxport import ports

ROOT = Path(__file__).parents[1]


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("results_script", ROOT / "benchmarks" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STORE", tmp_path / "results.json")
    monkeypatch.setattr(module, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(module, "machine", lambda: {"jax": "1.2.3"})
    return module


def call(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["results.py", *arguments])
    return module.main()


def numbers(name, seed, data):
    return {"loss": 1.0, "val_loss": 8.25 + seed, "val_mae": 0.5, "seconds": 2.0, "compile": 0.5}


def test_every_port_and_variant_has_what_the_tutorial_printed(results):
    assert set(results.PRINTED) == set(ports.names(variants=True)) - results.LONG
    assert set(ports.names(variants=True)) >= results.LONG


def test_runs_are_kept_and_not_repeated(results, monkeypatch):
    calls = []
    monkeypatch.setattr(results, "run_jax", lambda *a: calls.append(("jax", *a)) or numbers(*a))
    monkeypatch.setattr(results, "run_torch", lambda *a: calls.append(("torch", *a)) or numbers(*a))
    options = ("--only", "linreg_matrix", "--seeds", "2", "--torch-seeds", "1", "--data", "D")
    assert call(results, monkeypatch, *options) == 0
    assert calls == [(side, "linreg_matrix", seed, "D") for side, seed in (("jax", 0), ("jax", 1), ("torch", 0))]
    assert call(results, monkeypatch, *options) == 0
    assert len(calls) == 3
    assert call(results, monkeypatch, *options, "--again") == 0
    assert len(calls) == 6
    page = results.PAGE.read_text(encoding="utf-8")
    assert "jax 1.2.3" in page
    row = "| `linreg_matrix` | sum of squares 8.2430 | val_loss | 8.2 to 8.26 | 8.2500 | 8.2500, 9.2500 | 2 | 2 | 0.5 |"
    assert row in page
    assert "Not run: `digits`, " in page


def test_a_failed_run_keeps_the_ones_before_it(results, monkeypatch, capsys):
    def run(command):
        raise results.UsageError("linreg_matrix 0 failed: no memory")

    monkeypatch.setattr(results, "run_jax", numbers)
    monkeypatch.setattr(results, "run", run)
    assert call(results, monkeypatch, "--only", "linreg_matrix", "--seeds", "1") == 2
    assert capsys.readouterr().err == "error: linreg_matrix 0 failed: no memory\n"
    assert list(json.loads(results.STORE.read_text())["runs"]["linreg_matrix"]) == ["jax"]


def test_an_interrupt_keeps_what_was_run(results, monkeypatch, capsys):
    def interrupted(name, seed, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "run_jax", numbers)
    monkeypatch.setattr(results, "run_torch", interrupted)
    assert call(results, monkeypatch, "--only", "linreg_matrix", "--seeds", "1") == 130
    assert "is kept in docs/results.json" in capsys.readouterr().err
    assert "8.25" in results.PAGE.read_text(encoding="utf-8")


def test_an_unknown_port_is_exit_status_2(results, monkeypatch, capsys):
    assert call(results, monkeypatch, "--only", "linreg_matrx") == 2
    assert "did you mean 'linreg_matrix'" in capsys.readouterr().err
    assert not results.STORE.exists()


def test_the_page_is_that_of_the_stored_runs(results):
    state = json.loads((ROOT / "docs" / "results.json").read_text(encoding="utf-8"))
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == results.page(state)
