"""Rows of a file: chosen, refused when damaged, and streamed in constant memory from files far larger than it."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from jaxport.data.array_file import ArrayFile
from jaxport.errors import DataError

X = np.arange(23 * 2, dtype=np.uint8).reshape(23, 2)


def test_rows_of_a_file(tmp_path):
    np.save(tmp_path / "x.npy", X)
    file = ArrayFile(tmp_path / "x.npy")
    assert (file.shape, file.dtype, len(file), file.nbytes) == ((23, 2), np.uint8, 23, 46)
    for index in (3, [4, 5, 6, 2, 2], np.arange(23)[::-1], np.zeros((0,), int), [[1, 2], [3, 0]]):
        np.testing.assert_array_equal(file[index], X[index])
    with pytest.raises(IndexError, match="rows 0 to 22"):
        file[23]


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda data: data[:-1], "ends after 173 bytes"),
        (lambda data: b"PK" + data[2:], "not a .npy file"),
        (lambda data: b"", "not a .npy file"),
        (lambda data: data.replace(b"'fortran_order': False", b"'fortran_order': True "), "in C order"),
        (lambda data: data.replace(b"|u1", b"|O1"), "not a .npy file|plain numbers"),
    ],
)
def test_damaged_files_of_rows(tmp_path, damage, match):
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").write_bytes(damage((tmp_path / "x.npy").read_bytes()))
    with pytest.raises(DataError, match=match):
        ArrayFile(tmp_path / "x.npy")


FAR_LARGER = """
import resource, sys
import numpy as np
from jaxport.data.array_file import ArrayFile
from jaxport.data.dataset import ArrayDataset
from jaxport.data.loader import DataLoader
loader = DataLoader(ArrayDataset(ArrayFile(sys.argv[1])), 256, shuffle=True, seed=0, num_workers=2, to_device=False)
list(zip(range(5), loader))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
rows = sum(len(x) for _, (x,) in zip(range(200), loader))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_file_far_larger_than_memory_is_read_in_constant_memory(tmp_path):
    rows, width = 5_000_000, 4096  # 20 GB, of which the disk holds next to nothing
    with open(tmp_path / "x.npy", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + rows * width)
    done = subprocess.run(
        [sys.executable, "-c", FAR_LARGER, tmp_path / "x.npy"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    read, grown = map(int, done.stdout.split())
    assert read == 200 * 256
    assert grown * 1024 < 200 << 20, f"memory grew by {grown} KiB"
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] != 1 << 30  # this process was left as it is
