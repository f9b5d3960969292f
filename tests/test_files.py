"""Weight files: bits survive, damage is named, nothing half-written stays."""

import importlib
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import jaxport
from jaxport.errors import WeightsError
from jaxport.interop import convert, files, load_file, save_file

DTYPES = list(files.SAFETENSORS_DTYPES.values())
SHAPES = [(), (1,), (0,), (0, 3), (3, 0, 2), (5,), (2, 3, 5)]


def random_bits(dtype: np.dtype, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Any bits at all: NaN payloads, infinities, negative zeros and subnormals among them."""
    rng = np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    size = int(np.prod(shape)) * dtype.itemsize
    return rng.integers(0, 256, size, dtype=np.uint8).view(dtype).reshape(shape)


def assert_same_bits(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_shape_survives_to_the_bit(tmp_path, dtype):
    mapping = {f"layer.{i}": random_bits(dtype, shape, seed=i) for i, shape in enumerate(SHAPES)}
    save_file(mapping, tmp_path / "w.safetensors")
    assert_same_bits(load_file(tmp_path / "w.safetensors"), mapping)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, ml_dtypes.bfloat16])
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[::2, 1::3],
        lambda a: a[::-1],
        lambda a: np.asfortranarray(a),
        lambda a: np.broadcast_to(a[0], (4, 8)),
        lambda a: a[2, 3:4].reshape(()),
        lambda a: a[2, 3],
    ],
    ids=["transposed", "strided", "reversed", "fortran", "broadcast", "0-d", "scalar"],
)
def test_memory_layout_does_not_matter(tmp_path, dtype, view):
    array = view(random_bits(np.dtype(dtype), (6, 8), seed=1))
    save_file({"a": array}, tmp_path / "w.safetensors")
    assert_same_bits(load_file(tmp_path / "w.safetensors"), {"a": array})


@pytest.mark.parametrize("dtype", [">f4", ">i8", ">c8"])
def test_foreign_byte_order_keeps_its_values(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    save_file({"a": array}, tmp_path / "w.safetensors")
    assert_same_bits(load_file(tmp_path / "w.safetensors"), {"a": array.astype(array.dtype.newbyteorder("="))})


def test_empty_mapping_and_odd_names(tmp_path):
    save_file({}, tmp_path / "none.safetensors")
    assert load_file(tmp_path / "none.safetensors") == {}
    named = {"": np.ones(2), "层.weight": np.zeros(3), 'quote"\n': np.arange(3)}
    save_file(named, tmp_path / "w.SAFETENSORS")
    assert_same_bits(load_file(str(tmp_path / "w.SAFETENSORS")), named)


def test_loaded_arrays_are_writable_and_separate(tmp_path):
    one = np.ones(4, np.float32)
    save_file({"a": one, "b": one}, tmp_path / "w.safetensors")
    loaded = load_file(tmp_path / "w.safetensors")
    loaded["a"][:] = 7
    assert loaded["b"].tolist() == [1, 1, 1, 1]
    assert load_file(tmp_path / "w.safetensors")["a"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"ok": np.ones(2), "z": np.ones(2, np.complex128)}, r"'z', whose dtype is complex128\. It holds .*float64"),
        ({"s": np.array(["a"])}, r"'s', whose dtype is <U1"),
        ({"o": np.array([None])}, r"'o', whose dtype is object"),
        ({"i": np.ones(2, ml_dtypes.int4)}, r"'i', whose dtype is int4"),
        ({"l": [1.0, 2.0]}, r"'l', which is a list \(np\.asarray"),
        ({3: np.ones(2)}, r"the name 3, which is a int"),
        ({"__metadata__": np.ones(2)}, r"'__metadata__', which the \.safetensors format reserves"),
        ({"x": [1.0], "y": np.array("a")}, r"'x', which is a list.*; 'y', whose dtype"),
    ],
)
def test_what_cannot_be_stored_is_named_and_nothing_is_written(tmp_path, mapping, message):
    path = tmp_path / "w.safetensors"
    save_file({"before": np.ones(3)}, path)
    with pytest.raises(WeightsError, match=message):
        save_file(mapping, path)
    assert_same_bits(load_file(path), {"before": np.ones(3)})
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def whole_file(tmp_path) -> bytes:
    save_file({"a": np.arange(5.0)}, tmp_path / "whole.safetensors")
    return (tmp_path / "whole.safetensors").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:40],
        lambda data: data[:-3],
        lambda data: data + b"more",
        lambda data: data[:8] + b"#" + data[9:],
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: b"PK\x03\x04" + bytes(200),
    ],
    ids=["empty", "length cut", "header cut", "data cut", "longer", "no JSON", "huge header", "another format"],
)
def test_damaged_files_are_refused(tmp_path, damage):
    (tmp_path / "w.safetensors").write_bytes(damage(whole_file(tmp_path)))
    with pytest.raises(WeightsError, match=r"w\.safetensors' is not a whole \.safetensors file \(.+\)"):
        load_file(tmp_path / "w.safetensors")


def test_a_dtype_that_numpy_lacks_is_named(tmp_path):
    header = b'{"half a byte":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}'
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\x00")
    with pytest.raises(WeightsError, match="'half a byte' has dtype F4, which no NumPy array can hold"):
        load_file(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["w.npz", "w", "w.safetensors.gz", "w.bin"])
def test_unknown_suffixes_are_refused_by_all(tmp_path, name):
    message = r"has the suffix '.*'; one of \.safetensors, \.pt, \.pth, \.pkl is needed"
    with pytest.raises(WeightsError, match=message):
        save_file({}, tmp_path / name)
    with pytest.raises(WeightsError, match=message):
        load_file(tmp_path / name)
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "w.safetensors", tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_missing_files_and_folders(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(WeightsError, match=r"none\.safetensors' cannot be read: No such file"):
        load_file(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match=r"folder\.safetensors' cannot be read: Is a directory"):
        load_file(tmp_path / "folder.safetensors")
    with pytest.raises(WeightsError, match=r"w\.safetensors' cannot be written: No such file.*writable folder"):
        save_file({}, tmp_path / "none" / "w.safetensors")
    with pytest.raises(WeightsError, match=r"folder\.safetensors' cannot be written: Is a directory"):
        save_file({}, tmp_path / "folder.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["folder.safetensors"]


@pytest.mark.parametrize("broken", ["to_safetensors", "os.fsync", "os.replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, broken):
    def fail(*args):
        raise OSError(28, "No space left on device")

    path = tmp_path / "w.safetensors"
    save_file({"a": np.zeros(3)}, path)
    monkeypatch.setattr(f"jaxport.interop.files.{broken}", fail)
    with pytest.raises(WeightsError, match="cannot be written: No space left"):
        save_file({"a": np.ones(3)}, path)
    assert_same_bits(load_file(path), {"a": np.zeros(3)})
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_the_file_gets_the_permissions_of_any_other_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    save_file({"a": np.ones(2)}, tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_convert_copies_a_safetensors_file(tmp_path):
    mapping = {str(i): random_bits(dtype, (2, 3), seed=i) for i, dtype in enumerate(DTYPES)}
    save_file(mapping, tmp_path / "a.safetensors")
    assert convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors") == len(DTYPES)
    assert_same_bits(load_file(tmp_path / "b.safetensors"), mapping)


@pytest.mark.parametrize("dst", ["a.safetensors", "folder/../a.safetensors", "link.safetensors", "hard.safetensors"])
def test_convert_refuses_its_own_source(tmp_path, dst):
    save_file({"a": np.ones(2)}, tmp_path / "a.safetensors")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "a.safetensors")
    (tmp_path / "hard.safetensors").hardlink_to(tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"dst='.*' is the same file as src"):
        convert(tmp_path / "a.safetensors", tmp_path / dst)


def test_convert_writes_nothing_when_the_source_fails(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"a\.safetensors' is not a whole"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {"a": t["a"], "b": np.nextafter(t["b"], 1)},
        lambda t: {"a": t["a"], "b": t["b"].reshape(3, 1)},
        lambda t: {"a": t["a"], "b": t["b"].view(np.int64)},
        lambda t: {"a": t["a"]},
        lambda t: {**t, "b2": t["b"]},
        lambda t: {"a": t["a"], "b": -t["b"]},
    ],
    ids=["value", "shape", "dtype", "missing", "added", "sign of zero"],
)
def test_convert_notices_what_reads_back_differently(tmp_path, monkeypatch, change):
    tensors = {"a": np.ones(2), "b": np.zeros(3)}
    save_file(tensors, tmp_path / "a.safetensors")
    module = importlib.import_module("jaxport.interop.convert")  # the function of that name hides it
    monkeypatch.setattr(module, "write", lambda mapping, path: files.write(change(mapping), path))
    with pytest.raises(WeightsError, match=r"reads back differently, dst is unchanged: \['b2?'\]"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_without_torch_its_files_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for call in (lambda: load_file(tmp_path / "w.pt"), lambda: save_file({"a": np.ones(2)}, tmp_path / "w.pth")):
        with pytest.raises(WeightsError, match=r"pip install 'jaxport\[parity\]', or use \.safetensors"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_importing_the_package_does_not_import_torch():
    code = "import sys, jaxport.interop; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(jaxport.__file__).parents[1])
