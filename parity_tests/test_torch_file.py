"""PyTorch's weight files: bits survive both ways, anything but a state dict is refused, and no code in a file runs."""

import pickle
from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from jaxport.errors import WeightsError
from jaxport.interop import convert, load_file, load_torch, save_file, save_torch

torch = pytest.importorskip("torch")

FLOAT4 = torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
NAMES = ["float64", "float32", "float16", "bfloat16", "complex64", "complex128", "bool"]
NAMES += ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NAMES += ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]


def random_bits(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
    rng = np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    size = int(np.prod(shape)) * dtype.itemsize
    return rng.integers(0, 256, size, dtype=np.uint8).view(dtype).reshape(shape)


def assert_same_bits(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def torch_bytes(tensor) -> bytes:
    return bytes(tensor.contiguous().clone().untyped_storage())


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl"])
@pytest.mark.parametrize("name", NAMES)
def test_every_dtype_survives_to_the_bit(tmp_path, name, suffix):
    mapping = {str(shape): random_bits(name, shape, seed=len(shape)) for shape in [(), (0,), (0, 3), (5,), (2, 3, 5)]}
    save_file(mapping, tmp_path / f"w{suffix}")
    assert_same_bits(load_file(tmp_path / f"w{suffix}"), mapping)
    for key, tensor in torch.load(tmp_path / f"w{suffix}", weights_only=True).items():
        assert (tensor.dtype, tuple(tensor.shape)) == (getattr(torch, name), mapping[key].shape)
        assert torch_bytes(tensor) == mapping[key].tobytes()


def test_order_of_the_names_is_kept(tmp_path):
    names = ["z.weight", "a.weight", "m.10.bias", "m.2.bias"]
    save_torch({name: np.ones(i + 1, np.int64) for i, name in enumerate(names)}, tmp_path / "w.pt")
    assert list(torch.load(tmp_path / "w.pt", weights_only=True)) == names
    assert list(load_torch(tmp_path / "w.pt")) == names


@pytest.mark.parametrize("old_format", [False, True])
def test_a_module_state_dict_loads(tmp_path, old_format):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 2), torch.nn.BatchNorm2d(5), torch.nn.LSTM(4, 3))
    torch.save(module.state_dict(), tmp_path / "any.name", _use_new_zipfile_serialization=not old_format)
    loaded = load_torch(tmp_path / "any.name")
    assert list(loaded) == list(module.state_dict())
    assert_same_bits(loaded, {name: tensor.numpy() for name, tensor in module.state_dict().items()})
    assert loaded["1.num_batches_tracked"].shape == ()


def test_views_parameters_and_tied_tensors_become_plain_arrays(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    parameter = torch.nn.Parameter(base.clone())
    complex_ = torch.complex(base, base + 1)
    tensors = OrderedDict(
        transposed=base.T, slice=base[1:3, ::2], expanded=base[:1].expand(3, 6), parameter=parameter, tied=parameter,
        conjugate=complex_.conj(), negative=(complex_ + 1).conj().imag, scalar=base[2, 3],
    )  # fmt: skip
    assert tensors["negative"].is_neg()
    assert tensors["conjugate"].is_conj()
    torch.save(tensors, tmp_path / "w.pt")
    loaded = load_torch(tmp_path / "w.pt")
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(loaded[name], tensor.detach().resolve_conj().resolve_neg().numpy())
    loaded["tied"][:] = -1
    assert loaded["parameter"][0, 0] == 0
    assert loaded["parameter"][0, 5] == 5


def test_save_takes_any_memory_layout(tmp_path):
    base = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    frozen = base.astype(ml_dtypes.bfloat16)
    base.flags.writeable = frozen.flags.writeable = False
    mapping = {
        "whole": base,
        "t": base.T,
        "r": base[::-1, ::2],
        "b": frozen.T,
        "s": base[1, 2],
        "0": np.asfortranarray(base),
    }
    save_torch(mapping, tmp_path / "w.pt")
    assert_same_bits(load_torch(tmp_path / "w.pt"), mapping)
    save_torch({"big": base.astype(">f4")}, tmp_path / "w.pt")
    assert_same_bits(load_torch(tmp_path / "w.pt"), {"big": base})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "holds a list; a state dict is needed"),
        (torch.ones(2), "holds a Tensor; a state dict is needed"),
        (3, "holds a int; a state dict is needed"),
        ({"model": {"w": torch.ones(2)}, "epoch": 3}, r"holds 'model' \(dict\), 'epoch' \(int\)\. A state dict seems"),
        (
            {"model": {"w": torch.ones(2)}, "epoch": 3},
            r"under 'model': torch\.save\(torch\.load\(.*\)\['model'\],",
        ),
        ({"g": {"w": torch.ones(2)}, "d": {"w": torch.ones(2)}}, "A state dict seems to lie under 'g' and 'd': torch"),
        ({"w": torch.ones(2), "epoch": 3, "lr": 0.1}, r"holds 'epoch' \(int\), 'lr' \(float\)\. A state dict holds"),
        ({"opt": {"state": {0: torch.ones(2)}}, "e": {}}, r"holds 'opt' \(dict\), 'e' \(dict\)\. A state dict holds"),
        ({0: torch.ones(2)}, r"no flat state dict; it holds 0 \(Tensor\)"),
        ({"w": None}, r"holds 'w' \(NoneType\)"),
        ({"ok": torch.ones(2), "s": torch.eye(2).to_sparse()}, r"'s' is sparse or nested \(torch\.sparse_coo\)"),
        ({"m": torch.empty(2, device="meta")}, "'m' is on the meta device, without data"),
        (
            {"f": FLOAT4},
            r"'f' is of dtype torch\.float4_e2m1fn_x2: save it as another",
        ),
        (
            {"f": FLOAT4, "m": torch.empty(2, device="meta")},
            r"'f' is of dtype torch\.float4_e2m1fn_x2.*; 'm' is on the meta",
        ),
    ],
)
def test_anything_but_a_flat_state_dict_is_explained(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=message):
        load_torch(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:TypedStorage is deprecated")
def test_quantised_tensors_are_named(tmp_path):
    torch.save({"q": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"'q' is quantised \(torch\.qint8\): save its \.dequantize"):
        load_torch(tmp_path / "w.pt")


def test_a_whole_module_is_refused_by_name(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"holds torch\.nn\.modules\.linear\.Linear, which is code.*not run"):
        load_torch(tmp_path / "w.pt")


class Malicious:
    """On unpickling, creates the file `trace`."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: {"w": torch.ones(2), "m": m}], ids=["alone", "among tensors"])
@pytest.mark.parametrize("protocol", ["zip", 2, 3, 4, 5])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, monkeypatch, wrap, protocol):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    trace, path = tmp_path / "trace", tmp_path / "w.pkl"
    content = wrap(Malicious(trace))
    if protocol == "zip":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(WeightsError, match=r"w\.pkl' (holds [\w.]+, which is code|is damaged or was not written)"):
        load_file(path)
    with pytest.raises(WeightsError):
        convert(path, tmp_path / "w.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["w.pkl"]
    pickle.loads(pickle.dumps(Malicious(trace)))  # the trap itself works
    assert trace.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"hello",
        lambda data: data[:100],
        lambda data: data[:-30],
        lambda data: data[: len(data) // 2],
        lambda data: b"PK\x03\x04" + bytes(100),
        lambda data: bytes(1000),
    ],
    ids=["empty", "text", "start only", "end cut", "half", "zip header only", "zeros"],
)
@pytest.mark.parametrize("old_format", [False, True])
def test_damaged_files_are_refused(tmp_path, damage, old_format):
    torch.save({"w": torch.ones(500)}, tmp_path / "w.pt", _use_new_zipfile_serialization=not old_format)
    (tmp_path / "w.pt").write_bytes(damage((tmp_path / "w.pt").read_bytes()))
    with pytest.raises(WeightsError, match=r"w\.pt' is (not a whole PyTorch file: .+|damaged or was not written)"):
        load_torch(tmp_path / "w.pt")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(WeightsError, match=r"w\.pt' cannot be read: No such file"):
        load_torch(tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
        load_torch(tmp_path)
    with pytest.raises(WeightsError, match=r"w\.pt' cannot be written: No such file"):
        save_torch({}, tmp_path / "none" / "w.pt")


def test_save_refuses_what_pytorch_lacks_and_keeps_the_old_file(tmp_path, monkeypatch):
    save_torch({"a": np.ones(2)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"a PyTorch file cannot hold 'b', whose dtype is <U1"):
        save_torch({"a": np.zeros(2), "b": np.array("x")}, tmp_path / "w.pt")

    def fill_the_disk(*args):
        raise RuntimeError("unexpected pos 704 vs 598")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(WeightsError, match="could not be written whole: unexpected pos"):
        save_torch({"a": np.zeros(2)}, tmp_path / "w.pt")
    assert_same_bits(load_torch(tmp_path / "w.pt"), {"a": np.ones(2)})
    assert [p.name for p in tmp_path.iterdir()] == ["w.pt"]


def test_convert_there_and_back(tmp_path):
    mapping = {name: random_bits(name, (2, 3), seed=i) for i, name in enumerate(NAMES) if name != "complex128"}
    save_torch(mapping, tmp_path / "a.pth")
    assert convert(tmp_path / "a.pth", tmp_path / "b.safetensors") == len(mapping)
    assert convert(str(tmp_path / "b.safetensors"), str(tmp_path / "c.pt")) == len(mapping)
    assert_same_bits(load_torch(tmp_path / "c.pt"), mapping)


def test_convert_names_a_dtype_that_the_target_lacks(tmp_path):
    save_torch({"z": np.ones(2, np.complex128)}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"a \.safetensors file cannot hold 'z', whose dtype is complex128"):
        convert(tmp_path / "a.pt", tmp_path / "b.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
