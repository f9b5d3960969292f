"""The chapters of data, TensorBoard, devices and files: each runs, prints what it should, and can fail."""

import dataclasses
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chapters_b_names import CHAPTERS_B

from jaxport import data
from jaxport.engine.sharding import Placement

pytest.importorskip("matplotlib")
EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = {
    "datasets": {"augmented.png", "clothes.png"},
    "tensorboard": {"scalars.png", "histograms.png", "figure.png", "logs"},
    "devices": {"samples.png", "history.png", "weights.safetensors"},
    "save_load": {"weights.safetensors", "model.jaxport", "run.safetensors"},
}
WITH_TORCH = {"weights.pt", "weights.pth"}
SAID = {
    "datasets": (
        "Subset (8, 4) float32",
        "120 + 30 = 150 (ConcatDataset)",
        "{'0_airplane': 0, '1_automobile': 1}",
        "(50, 3, 32, 32) (50, 1)",
        "features (64, 1, 28, 28) from -1 to 1, labels (64, 10), resized (64, 1, 160, 160)",
        "40 pictures; of the first, (3, 28, 28)",
        "300 files, 15 batches",
        # PyTorch 2.13, torch.manual_seed(0)
        "[36, 29, 48, 1, 32, 31, 49, 9, 23, 46]\n[8, 44, 28, 21, 7, 15, 26, 12, 3, 5]\n"
        "[30, 11, 35, 41, 27, 17, 19, 37, 13, 2]\n[38, 45, 34, 18, 33, 39, 6, 20, 42, 10]\n",
        "from {'seed': 0, 'epoch': 1, 'position': 1} on",
        "a stream: [[0, 0, 0], [1, 1, 1]]",
    ),
    "tensorboard": (
        "Total params: 54,273",
        "y = 0.0000; x = 1.0000",
        "{'x': 500, 'y': 500, 'w': 20, 'image': 1, 'image_grid': 1, 'images': 1, 'figure': 1}",
        "'linear2.bias': 2, 'loss': 1, 'auc': 1, 'lr': 1, 'seconds': 1}",
    ),
    "save_load": (
        "['linear1.weight', 'linear1.bias', 'linear2.weight', 'linear2.bias', 'linear3.weight', 'linear3.bias']",
    ),
    "devices": ("there is no accelerator", "x is deleted: True", "saved layers.0.weight, layers.0.bias, "),
}


def load(name: str) -> ModuleType:
    if name == "tensorboard":
        pytest.importorskip("tensorboardX")
    spec = importlib.util.spec_from_file_location(f"chapters_b_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CHAPTERS_B)
def test_importing_a_chapter_does_nothing(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    load(name)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["datasets", "tensorboard", "save_load"])
def test_smoke(name, tmp_path, capsys):
    """The score of a smoke run does not count, but it is met; and one that is not met is exit status 1."""
    example, kept = load(name), {}

    def run(options):
        kept.update(example.main.run(options))
        return kept

    out = tmp_path / "new" / "folder"
    assert dataclasses.replace(example.main, run=run)(["--smoke", "--out", str(out)]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert [text for text in SAID[name] if text not in output.out] == []
    assert {path.name for path in out.iterdir()} - WITH_TORCH == FILES[name]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.glob("*.png"))
    again = dataclasses.replace(example.main, run=lambda options: kept)
    assert again(["--out", str(out)]) == 0
    impossible = dict.fromkeys(kept, (2e9, 3e9))
    assert dataclasses.replace(again, expected=impossible)(["--out", str(out)]) == 1
    assert capsys.readouterr().err.count("missed: ") == len(kept) == len(example.main.expected)


def test_what_the_data_chapter_must_find_wrong(tmp_path, monkeypatch, capsys):
    """Pictures whose files differ by a bit, files in another order, a loader that does not go on."""
    example = load("datasets")
    splits = data.DATASETS["fashion_mnist"].synthetic(200, np.random.default_rng(0))
    assert example.csv_images(splits, tmp_path / "right") == 0
    write = example.write_picture
    monkeypatch.setattr(example, "write_picture", lambda path, image: write(path, image ^ 1))
    assert example.csv_images(splits, tmp_path / "wrong") == 40 * 28 * 28
    assert example.reviews(["a b\n", "b c\n"], [0, 1], tmp_path / "reviews") == 0
    monkeypatch.setattr(
        example.ImdbDataset, "__init__", lambda self, folder: vars(self).update(paths=_reversed(folder))
    )
    assert example.reviews(["a b\n", "b c\n"], [0, 1], tmp_path / "reversed") > 0
    assert example.loader_options() == 0
    monkeypatch.setattr(data.DataLoader, "load_state_dict", lambda self, state: None)
    assert example.loader_options() == 1


def _reversed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), reverse=True)


def test_the_grid_has_its_pictures_and_black_lines():
    images = np.arange(1, 10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 5), np.uint8)
    grid = load("tensorboard").make_grid(images)
    assert grid.shape == (3, 2 * 6 + 2, 8 * 7 + 2)
    assert grid[0, 2, 2::7].tolist() == [*range(1, 9)]  # eight in a row, and the ninth below
    assert grid[0, 8, 2::7].tolist() == [9, 0, 0, 0, 0, 0, 0, 0]
    assert not grid[:, [0, 1, 6, 7, 12, 13]].any()
    assert not grid[:, :, [0, 1, 7, 8, -2, -1]].any()


def test_devices_after_jax_has_started(capsys, monkeypatch):
    """The CPU stays whole, which is said; on it a product is right, and a wrong one is found."""
    example, (cpu,) = load("devices"), jax.devices("cpu")[:1]
    with monkeypatch.context() as patch:
        patch.setattr(jax.config, "update", _refuse)
        assert example.start() == [cpu]
    assert capsys.readouterr().out.startswith("JAX had started before")
    assert example.product(100, cpu) < 1e-6
    monkeypatch.setattr(jnp, "matmul", lambda a, b, precision: 1.001 * (a @ b))
    assert example.product(100, cpu) > 1e-5


@pytest.mark.parametrize(("devices", "waits"), [(2, 1), (1, 0), (0, 0)])
def test_calls_wait_where_devices_share_a_cpu(devices, waits, monkeypatch):
    """XLA's few threads can all end up waiting for each other's sums if calls run ahead; seen with four devices."""
    waited = []
    monkeypatch.setattr(jax, "block_until_ready", lambda results: waited.append(results) or results)
    mesh = SimpleNamespace(local_devices=jax.devices("cpu")[:1] * devices) if devices else None
    assert Placement(mesh=mesh).settled("results") == "results"
    assert waited == ["results"] * waits


def _refuse(name: str, value: object) -> None:
    raise RuntimeError(name, value)


@pytest.mark.slow
def test_four_devices(tmp_path):
    """A program of its own, because the number of devices is fixed when JAX starts."""
    cache = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or ""}
    environment = {**os.environ, **cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "MPLBACKEND": "Agg"}
    command = [sys.executable, EXAMPLES / "devices.py", "--smoke", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert [text for text in SAID["devices"] if text not in done.stdout] == []
    assert "[('cpu:0', (2, 3)), ('cpu:1', (2, 3)), ('cpu:2', (2, 3)), ('cpu:3', (2, 3))]" in done.stdout
    losses = re.search(r"loss ([\d.]+), of the clone on one device ([\d.]+)", done.stdout)
    assert losses is not None
    assert float(losses[1]) == pytest.approx(float(losses[2]), rel=1e-5)
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES["devices"]
