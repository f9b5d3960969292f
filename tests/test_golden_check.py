"""Goldens without PyTorch: files that are whole and files that are not, and JAX checked against what they hold."""

import json
from hashlib import sha256
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxport.errors import DataError, UsageError
from jaxport.interop import load_file
from jaxport.parity import golden, golden_file
from jaxport.parity.golden import Golden
from jaxport.parity.golden_check import check
from jaxport.parity.golden_compare import Run, compare
from jaxport.parity.result import Report, Verdict

RNG = np.random.default_rng(0)
X = RNG.normal(0.3, 1.0, (4, 3)).astype(np.float32)
STATE = {
    "fc.weight": RNG.normal(size=(5, 3)).astype(np.float32),
    "fc.bias": RNG.normal(size=5).astype(np.float32),
    "free": RNG.normal(size=2).astype(np.float32),
}
COTANGENT = RNG.normal(size=(4, 5)).astype(np.float32)


def net(params: dict, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return tanh(x Wᵀ + b), and the linear part."""
    linear = x @ params["fc.weight"].T + params["fc.bias"]
    return jnp.tanh(linear), linear


def jax_run(dtype: str, model=net) -> Run:
    """Run a JAX model on the golden's inputs, forward and backward."""
    with jax.enable_x64(dtype == "float64"):
        params = {key: jnp.asarray(value, dtype) for key, value in STATE.items()}
        out, linear = model(params, jnp.asarray(X, dtype))
        of_params, of_x = jax.grad(lambda p, x: (model(p, x)[0] * COTANGENT.astype(dtype)).sum(), (0, 1))(
            params, jnp.asarray(X, dtype)
        )
        return Run({"": out, "fc": linear}, of_params, [of_x])


def written(path: Path, **changes: object) -> Path:
    """Write the golden of `net` by hand, in NumPy; `changes` replace arrays."""
    arrays: dict[str, np.ndarray] = {"input/0": X, "eval/cotangent/0": COTANGENT}
    arrays |= {f"state/{key}": value for key, value in STATE.items()}
    for dtype in golden.DTYPES:
        wide = {key: value.astype(dtype) for key, value in {**STATE, "x": X, "c": COTANGENT}.items()}
        linear = wide["x"] @ wide["fc.weight"].T + wide["fc.bias"]
        back = wide["c"] * (1 - np.tanh(linear) ** 2)
        arrays |= {
            f"eval/{dtype}/{name}": value
            for name, value in {
                "argument/": wide["x"],
                "argument/fc": wide["x"],
                "output/": np.tanh(linear),
                "output/fc": linear,
                "gradient/fc.weight": back.T @ wide["x"],
                "gradient/fc.bias": back.sum(0),
                "input_gradient/0": back @ wide["fc.weight"],
            }.items()
        }
    manifest = {
        "title": "net",
        "environment": {"torch": "2.13.0"},
        "seed": 0,
        "draws": 0,
        "modes": ["eval"],
        "dtypes": list(golden.DTYPES),
        "state": list(STATE),
        "flatten": {},
        "modules": [
            {"path": "", "kind": "my.Net", "settings": {}, "arrays": ["free"], "children": True},
            {"path": "fc", "kind": "torch.nn.Linear", "settings": {"size": [5, 3]}, "arrays": ["weight", "bias"],
             "children": False},
        ],
        "passes": {
            "eval": {
                "calls": [["", 0, 1, 1], ["fc", 0, 1, 1]],
                "ended": [["fc", 0], ["", 0]],
                "gradients": ["free", "fc.weight", "fc.bias"],
                "input_gradients": 1,
                "activation_gradients": [],
                "buffers": [],
            }
        },
    }  # fmt: skip
    golden_file.write(path, {**arrays, **changes}, manifest)  # type: ignore[dict-item]
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("golden") / "net.safetensors")


@pytest.fixture
def net_golden(path: Path) -> Golden:
    return golden.read(path)


def verdicts(report: Report) -> dict[str, Verdict]:
    return {tensor.name: tensor.verdict for tensor in report.tensors if not tensor.ok}


def test_a_golden_is_read(net_golden: Golden, path: Path) -> None:
    assert (net_golden.title, net_golden.modes, net_golden.dtypes) == ("net", ("eval",), ("float64", "float32"))
    np.testing.assert_array_equal(net_golden.inputs[0], X)
    np.testing.assert_array_equal(net_golden.state["fc.bias"], STATE["fc.bias"])
    assert list(net_golden.outputs()) == ["fc", ""]
    assert net_golden.outputs()[""].dtype == np.float64
    assert net_golden.outputs(dtype="float32")[""].dtype == np.float32
    assert net_golden.layers["fc"].settings == {"size": (5, 3)}
    assert list(net_golden.layers["fc"].arrays) == ["weight", "bias"]
    assert list(net_golden.layers[""].arrays) == ["free"]
    assert net_golden.seen().gradients["free"] is None
    assert not net_golden.inputs[0].flags.writeable
    loaded = load_file(path)  # any reader of the format sees it, with equal arrays stored once
    assert "eval/float64/argument/fc" not in loaded


def test_what_was_not_recorded_is_said(net_golden: Golden) -> None:
    with pytest.raises(UsageError, match="mode='train' was not recorded, only eval"):
        net_golden.outputs("train")
    with pytest.raises(UsageError, match="dtype='float16' was not recorded, only float64 and float32"):
        net_golden.outputs(dtype="float16")
    with pytest.raises(UsageError, match="one of float64 and float32"):
        compare(net_golden, {})


def test_the_same_model_passes(net_golden: Golden) -> None:
    runs = {dtype: jax_run(dtype) for dtype in ("float64", "float32")}
    report = compare(net_golden, runs)
    assert report.ok, verdicts(report)
    names = ["output fc", "output model", "gradient fc.bias", "gradient fc.weight", "input_gradient input 0"]
    assert [tensor.name for tensor in report.tensors] == names
    assert report.environment["torch"] == "2.13.0"
    for dtype, run in runs.items():
        one = net_golden.compare(run.outputs, run.gradients, dtype)
        assert one.ok, verdicts(one)
        assert all((tensor.float64 is None) == (dtype == "float32") for tensor in one.tensors)


# A mistake → what is found, first.
MISTAKES = {
    "bias": (lambda p, x: net({**p, "fc.bias": 0 * p["fc.bias"]}, x), "output fc"),
    "tanh": (lambda p, x: (net(p, x)[1], net(p, x)[1]), "output model"),
    "gradient": (lambda p, x: (net({**p, "fc.bias": jax.lax.stop_gradient(p["fc.bias"])}, x)), "gradient fc.bias"),
    "uses": (lambda p, x: (net(p, x)[0] + (p["free"] - jax.lax.stop_gradient(p["free"])).sum(), net(p, x)[1]),
             "gradient free"),
    "input": (lambda p, x: net(p, jax.lax.stop_gradient(x)), "input_gradient input 0"),
    "shape": (lambda p, x: (net(p, x)[0], net(p, x)[1][:3]), "output fc"),
    "small": (lambda p, x: (net(p, x)[0] * (1 + 1e-9), net(p, x)[1]), "output model"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_found(net_golden: Golden, name: str) -> None:
    model, first = MISTAKES[name]
    report = compare(net_golden, {"float64": jax_run("float64", model)})
    assert not report.ok
    assert report.first_divergence is not None
    assert report.first_divergence.name == first
    assert report.first_divergence.verdict is Verdict.DIFFERENT


def test_float32_is_judged_by_pytorchs_rounding(net_golden: Golden) -> None:
    run = jax_run("float32")
    worse = Run({**run.outputs, "fc": np.asarray(run.outputs["fc"]) * np.float32(1 + 3e-6)})
    report = compare(net_golden, {"float64": jax_run("float64"), "float32": worse})
    assert verdicts(report)["output fc"] is Verdict.SUSPICIOUS
    assert "output model" not in verdicts(report)
    assert verdicts(report)["gradient fc.bias"] is Verdict.DIFFERENT  # it has no float32 run


def test_what_is_missing_or_unknown_is_said(net_golden: Golden) -> None:
    run = jax_run("float64")
    report = net_golden.compare({"": run.outputs[""]})
    assert report.ok
    assert [f.message for f in report.findings] == ["1 of 2 recorded outputs were not compared, the first is fc"]
    report = net_golden.compare({"fc": run.outputs["fc"]})
    assert verdicts(report) == {"output model": Verdict.DIFFERENT}
    assert report.tensors[1].note == "no output in JAX"
    report = net_golden.compare(run.outputs, {**run.gradients, "other": np.ones(2)})
    assert [(f.rule, f.level) for f in report.findings] == [("golden/unknown", "error")]
    report = net_golden.compare({**run.outputs, "layer": np.ones(2)})
    assert "PyTorch recorded no output 'layer'" in report.findings[0].message
    assert not report.ok
    report = net_golden.compare(run.outputs, {"fc.weight": run.gradients["fc.weight"]})
    assert verdicts(report) == {"gradient fc.bias": Verdict.DIFFERENT}


def test_axes_are_found_or_given(net_golden: Golden) -> None:
    run = jax_run("float64")
    turned = {**run.outputs, "fc": np.asarray(run.outputs["fc"]).T}
    found = net_golden.compare(turned)
    assert found.ok
    assert found.tensors[0].axes == (1, 0)
    given = net_golden.compare(turned, axes={"fc": (1, 0)}, jax_paths={"fc": "dense"})
    assert given.ok
    assert given.tensors[0].jax_path == "dense"
    with pytest.raises(UsageError, match="axes: nothing that is compared is called 'dense'"):
        net_golden.compare(turned, axes={"dense": (1, 0)})


def test_pictures_with_channels_last_are_found(tmp_path: Path) -> None:
    picture = RNG.normal(size=(2, 3, 5, 5))
    file = written(tmp_path / "a.safetensors", **{"eval/float64/output/fc": picture})
    outputs = {"": jax_run("float64").outputs[""], "fc": picture.transpose(0, 2, 3, 1)}
    report = golden.read(file).compare(outputs)
    assert report.ok
    assert report.tensors[0].axes == (0, 2, 3, 1)


class Net(nnx.Module):
    """The same model in Flax; `slope` is right at 1."""

    def __init__(self, slope: float = 1.0) -> None:
        rngs = nnx.Rngs(0)
        self.free = nnx.Param(jnp.zeros(2))
        self.fc = nnx.Linear(3, 5, rngs=rngs)
        self.slope = slope

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.tanh(self.fc(x) * self.slope)


def test_a_flax_model_is_checked(net_golden: Golden) -> None:
    report = check(Net(), net_golden)
    assert report.ok, [finding.message for finding in report.findings]
    assert {tensor.name for tensor in report.tensors} >= {"output fc", "output model", "gradient fc.weight"}
    assert report.tensors[0].jax_path == "fc"
    assert report.environment["recorded"] == {"torch": "2.13.0"}
    assert report.environment["jax"] == jax.__version__
    wrong = check(Net(1.01), net_golden, dtypes=["float64"])
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.name == "output model"
    with pytest.raises(UsageError, match="mode='train' was not recorded"):
        check(Net(), net_golden, modes=["train"])


def test_a_model_that_does_not_take_the_inputs_is_said(net_golden: Golden) -> None:
    net = Net()
    net.fc = nnx.Linear(4, 5, rngs=nnx.Rngs(0))
    with pytest.raises(UsageError):
        check(net, net_golden, dtypes=["float64"])


def test_the_same_arrays_give_the_same_file(path: Path, tmp_path: Path) -> None:
    assert written(tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("size", [0, 7, 8, 100, 2000, -1])
def test_files_that_are_cut_short_are_refused(path: Path, tmp_path: Path, size: int) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"cut\.safetensors' (is cut short|is damaged)"):
        golden.read(cut)


def test_a_file_with_more_behind_it_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "more.safetensors").write_bytes(path.read_bytes() + b"more")
    with pytest.raises(DataError, match=r"more\.safetensors' is cut short or damaged: \d+ bytes, its header says"):
        golden.read(tmp_path / "more.safetensors")


def test_a_flipped_bit_is_found_wherever_it_is(path: Path, tmp_path: Path) -> None:
    data, file = path.read_bytes(), tmp_path / "damaged.safetensors"
    whole, spread, found = golden.read(path), range(0, len(data), 37), 0
    for position in spread:
        changed = bytearray(data)
        changed[position] ^= 1 << (position % 7)
        file.write_bytes(changed)
        try:
            again = golden.read(file)
        except DataError:
            found += 1
            continue
        # Blanks of the header say nothing.
        assert again.manifest == whole.manifest
        assert all(np.array_equal(again.arrays[name], whole.arrays[name]) for name in whole.arrays)
    assert found > 0.9 * len(spread) > 90


def changed_header(path: Path, target: Path, change) -> Path:
    """Write a copy whose manifest was changed, with its hash."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = change(header["__metadata__"])
    text = json.dumps(header).encode()
    target.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    return target


def of_format(number: int):
    def change(metadata: dict) -> dict:
        text = json.dumps({**json.loads(metadata["jaxport_golden"]), "format": number})
        return {"jaxport_golden": text, "jaxport_golden_sha256": sha256(text.encode()).hexdigest()}

    return change


def test_other_files_and_versions_are_refused(path: Path, tmp_path: Path) -> None:
    other = changed_header(path, tmp_path / "new.safetensors", of_format(2))
    with pytest.raises(DataError, match="is a golden of format 2, and this version of jaxport reads 1"):
        golden.read(other)
    weights = changed_header(path, tmp_path / "weights.safetensors", lambda metadata: {"format": "pt"})
    with pytest.raises(DataError, match="is no golden: it has no manifest"):
        golden.read(weights)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        golden.read(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("x" * 100)
    with pytest.raises(DataError, match=r"no \.safetensors file"):
        golden.read(tmp_path / "text.safetensors")


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.safetensors"):
        golden_file.write(tmp_path / "a.npz", {}, {})
    with pytest.raises(UsageError, match="cannot hold z: complex128"):
        golden_file.write(tmp_path / "a.safetensors", {"z": np.zeros(2, np.complex128)}, {})
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_any_form_come_back(tmp_path: Path) -> None:
    arrays = {
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.asarray(2.5),
        "turned": np.arange(6, dtype=np.int64).reshape(2, 3).T,
        "bools": np.asarray([True, False, True]),
        "big": np.arange(3, dtype=">f8"),
        **{
            f"zeros {i}": np.zeros(*form)
            for i, form in enumerate([((2, 3), "f4"), ((3, 2), "f4"), (3, "i8"), (3, "f8")])
        },
    }
    golden_file.write(tmp_path / "a.safetensors", arrays, {"note": "as it is"})
    manifest, found = golden_file.read(tmp_path / "a.safetensors")
    assert manifest["note"] == "as it is"
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape
