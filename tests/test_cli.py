"""The command line: what each verb prints and writes, and that wrong input ends in one or two lines and status 2."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxport
from jaxport import cli, ports


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, without data, and leave the user's compilation cache alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXPORT_DATA", raising=False)
    monkeypatch.setattr(cli, "_use_compilation_cache", lambda: None)


def test_list_names_every_port(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert status == 0
    assert list(rows) == ports.names()
    assert rows["titanic"]["parameters"] == 651
    assert rows["mnist_cnn"]["parameters"] == 53_994
    assert rows["digits"]["data"] == "embedded"
    assert not rows["mnist_cnn"]["available"]


def test_list_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "list")
    assert status == 0
    assert all(name in out for name in ports.names())
    assert "53,994" in out


def test_list_finds_the_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "sets" / "titanic"
    folder.mkdir(parents=True)
    (folder / "train.csv").touch()
    (folder / "test.csv").touch()
    _, out, _ = run(capsys, "list", "--json", "--data", str(tmp_path / "sets"))
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["titanic"]["data"] == str(folder)


def test_run_writes_everything(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, err = run(capsys, "run", "linreg_matrix", "--out", "here", "--epochs", "300", "--json")
    result = json.loads(out)
    assert (status, err) == (0, "")
    wanted = {"name", "epochs", "steps", "parameters", "train", "val", "seconds", "device", "data"}
    assert wanted <= result.keys()
    assert (result["epochs"], result["steps"], result["parameters"]) == (300, 300, 2)
    assert result["train"].keys() == result["val"].keys() == {"loss", "mae"}
    assert result["seconds"].keys() == {"compile", "train"}
    assert json.loads(Path("here/result.json").read_text()) == result
    with Path("here/history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    assert list(rows[0]) == ["epoch", "loss", "mae", "val_loss", "val_mae", "lr", "seconds"]
    assert float(rows[-1]["val_loss"]) == result["val"]["loss"]
    weights = jaxport.load_file("here/weights.safetensors")
    assert {key: value.shape for key, value in weights.items()} == {"w": (2,)}
    if "history.png" in result["files"]:
        assert Path("here/history.png").read_bytes().startswith(b"\x89PNG")


def test_run_is_the_same_for_the_same_seed(capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run(capsys, "run", "linreg_matrix", "--out", name, "--epochs", "50", "--seed", seed)
    a, b, c = (jaxport.load_file(f"{name}/weights.safetensors")["w"] for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_run_chooses_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "run", "linreg_matrix", "--epochs", "10")
    assert status == 0
    (folder,) = Path("runs/linreg_matrix").iterdir()
    assert (folder / "result.json").exists()
    assert str(folder) in out


def test_without_matplotlib_all_but_the_picture_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.ticker", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    status, _, err = run(capsys, "run", "linreg_matrix", "--out", "here", "--epochs", "10")
    assert status == 0
    assert "viz" in err
    assert {path.name for path in Path("here").iterdir()} == {"weights.safetensors", "history.csv", "result.json"}


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "summary", "titanic")
    assert status == 0
    rows = [line.split() for line in out.splitlines() if line.split()[-1:] and "-" in line.split()[0][1:]]
    layers = [(row[0], row[-1]) for row in rows if row[0][0].isalpha() and row[0][-1].isdigit()]
    assert layers == [
        ("Linear-1", "320"),
        ("ReLU-2", "0"),
        ("Linear-3", "315"),
        ("ReLU-4", "0"),
        ("Linear-5", "16"),
        ("Sigmoid-6", "0"),
    ]
    # The tutorial's own figures.
    for line in (
        "Total params: 651",
        "Input size (MB): 0.000057",
        "Forward/backward pass size (MB): 0.000549",
        "Params size (MB): 0.002483",
        "Estimated Total Size (MB): 0.003090",
    ):
        assert line in out.splitlines()


def test_convert_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    jaxport.save_file(jaxport.state_dict(ports.get("titanic").build(0)), "a.safetensors")
    assert run(capsys, "convert", "a.safetensors", "b.pt")[:2] == (0, "wrote 6 tensors to b.pt\n")
    assert run(capsys, "convert", "b.pt", "c.safetensors")[0] == 0
    assert Path("a.safetensors").read_bytes() == Path("c.safetensors").read_bytes()


def _damaged(folder: Path) -> None:
    folder.mkdir()
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        (folder / name).write_bytes(b"\x00\x00\x08\x03\x00\x00")


WRONG: list[tuple[list[str], str]] = [
    (["run", "mnist_cn"], "did you mean 'mnist_cnn'"),
    (["summary", "digit"], "did you mean 'digits'"),
    (["parity", "titanik"], "did you mean 'titanic'"),
    (["bench", "fashion"], "did you mean 'fashion_mnist'"),
    (["run", "mnist_cnn"], "jaxport run digits"),
    (["run", "mnist_cnn", "--data", "nowhere"], "nowhere"),
    (["run", "mnist_cnn", "--data", "damaged"], "train-images-idx3-ubyte"),
    (["run", "digits", "--out", "file/below"], "--out"),
    (["run", "digits", "--epochs", "0"], "--epochs"),
    (["run", "digits", "--epochs", "many"], "--epochs"),
    (["run", "digits", "--seed", "-1"], "--seed"),
    (["data", "minst"], "can be fetched are mnist, fashion_mnist, cifar10, imdb"),
    (["data", "mnist"], "--data DIR"),
    (["data", "points"], "needs no files"),
    (["convert", "missing.safetensors", "x.pt"], "missing.safetensors"),
    (["convert", "file", "x.pt"], "file"),
    (["bench", "--frameworks", "jax,tensorflow"], "tensorflow"),
    (["train"], "train"),
    ([], "COMMAND"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_input_ends_in_status_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("not a folder")
    _damaged(Path("damaged"))
    before = sorted(Path().rglob("*"))
    try:
        status = cli.main(arguments)
    except SystemExit as exit:  # argparse
        status = exit.code
    captured = capsys.readouterr()
    assert status == 2
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert sorted(Path().rglob("*")) == before
    if "usage:" not in captured.err:
        assert len(captured.err.strip().splitlines()) <= 2


@pytest.mark.parametrize("verb", ["parity", "bench"])
def test_without_torch_the_extra_is_named(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, _, err = run(capsys, verb, "titanic")
    assert status == 2
    assert f"jaxport[{verb}]" in err


def test_importing_loads_nothing_heavy() -> None:
    heavy = ("jax", "flax", "torch", "pandas", "matplotlib", "sklearn", "tensorflow_datasets")
    for statement in ("import jaxport", "import jaxport.cli; jaxport.cli._parser().parse_args(['run', 'digits'])"):
        code = f"import sys; {statement}; print([name for name in {heavy} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


def test_ports_load_no_torch_pandas_or_matplotlib() -> None:
    code = (
        "import sys, jaxport.ports, jaxport.interop, jaxport.viz\n"
        "print([name for name in ('torch', 'pandas', 'matplotlib', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ctrl_c_saves_what_was_learnt(tmp_path: Path) -> None:
    """An endless run is stopped once its log says that it trains: status 130, weights saved and said, no traceback."""
    code = (
        "import sys\n"
        "from jaxport import cli, engine, run\n"
        "right = engine.fit\n"
        "def fit(*args, on_progress, **kwargs):\n"
        "    def told(progress):\n"
        "        print('training', flush=True)\n"
        "        on_progress(progress)\n"
        "    return right(*args, on_progress=told, **kwargs)\n"
        "engine.fit = fit\n"
        "sys.exit(cli.main(['run', 'digits', '--epochs', '100000', '--out', 'here']))\n"
    )
    environment: dict[str, Any] = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "training" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "saved in here" in err
    assert "Traceback" not in err + out
    result = json.loads((tmp_path / "here/result.json").read_text())
    assert result["interrupted"]
    assert result["steps"] >= 1
    start = jaxport.state_dict(ports.get("digits").build(0))
    weights = jaxport.load_file(tmp_path / "here/weights.safetensors")
    assert weights.keys() == start.keys()
    assert not np.array_equal(weights["conv1.weight"], start["conv1.weight"])
