"""Archives: what is in them comes out, and nothing that a hostile or damaged one asks for is done."""

import gzip
import re
import tarfile
from pathlib import Path

import pytest
from image_files import special, tar_bytes, zip_bytes

from jaxport.data import archives
from jaxport.data.archives import extract, read_members
from jaxport.errors import DataError

FILES = {"set/a.bin": b"a" * 5_000, "set/deep/b.bin": b"", "c.bin": bytes(range(256)) * 40}
GOOD = {
    "tar.gz": tar_bytes({".": special(".", tarfile.DIRTYPE), "set": special("set", tarfile.DIRTYPE), **FILES}),
    "tar": tar_bytes(FILES, compress=False),
    "zip": zip_bytes(FILES),
    "long names": tar_bytes({f"{'x' * 200}/{name}": content for name, content in FILES.items()}),
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_archives(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "archive"
    path.write_bytes(GOOD[kind])
    assert read_members(path, ["a.bin", "c.bin"]) == {"a.bin": FILES["set/a.bin"], "c.bin": FILES["c.bin"]}
    folder = extract(path, tmp_path / "new" / "out")
    top = folder / ("x" * 200) if kind == "long names" else folder
    found = {str(file.relative_to(top)): file.read_bytes() for file in top.rglob("*") if file.is_file()}
    assert found == FILES
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["out"]
    with pytest.raises(DataError, match=r"target is .*out', which is there already"):
        extract(path, folder)


A = b"hello"
HUGE = special("huge", tarfile.REGTYPE)
HUGE.size = 1 << 40
REFUSED = {
    "absolute": (tar_bytes({"/etc/x": A}), "holds '/etc/x'; a path must lie below"),
    "parent": (tar_bytes({"../x": A}), "holds '../x'; a path must lie below"),
    "parent inside": (tar_bytes({"a/../../x": A}), "must lie below"),
    "parent of Windows": (tar_bytes({"a\\..\\x": A}), "must lie below"),
    "drive": (tar_bytes({"C:\\x": A}), "must lie below"),
    "symbolic link": (tar_bytes({"x": special("x", tarfile.SYMTYPE, "/etc")}), "'x', which is a link or a device"),
    "hard link": (tar_bytes({"x": special("x", tarfile.LNKTYPE, "/etc/passwd")}), "which is a link or a device"),
    "device": (tar_bytes({"x": special("x", tarfile.CHRTYPE)}), "which is a link or a device"),
    "pipe": (tar_bytes({"x": special("x", tarfile.FIFOTYPE)}), "which is a link or a device"),
    "sparse": (tar_bytes({"x": special("x", tarfile.GNUTYPE_SPARSE)}), "which is a link or a device"),
    "twice": (tar_bytes({"x": A, "./x": A}), "has 'x' more than once"),
    "file as a folder": (tar_bytes({"x": A, "x/y": A}), "cannot be written"),
    "huge": (tar_bytes({"huge": HUGE}), r"expands to more than 100000 bytes \(max_bytes\)"),
    "bomb": (tar_bytes({"x": bytes(200_000)}), "expands to more than 100000 bytes"),
    "many files": (tar_bytes({f"{n}": b"" for n in range(300)}), "expands to more than 100000 bytes"),
    "zeros behind the end": (gzip.compress(bytes(1 << 20)), "expands to more than 100000 bytes"),
    "no archive": (b"hello" * 300, "archive ends too early or is damaged"),
    "empty": (b"", "archive ends too early or is damaged"),
    "gzip of nothing": (gzip.compress(b""), "archive ends too early or is damaged"),
    "zip, absolute": (zip_bytes({"/x": A}), "must lie below"),
    "zip, parent": (zip_bytes({"a/../../x": A}), "must lie below"),
    "zip, link": (zip_bytes({"x": A}, {"x": 0o120777}), "which is a link or a device"),
    "zip, bomb": (zip_bytes({"x": bytes(200_000)}), "expands to more than 100000 bytes"),
    "zip, encrypted": (
        zip_bytes({"x": A}).replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"),
        "which is encrypted",
    ),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "in" / "archive"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        extract(path, tmp_path / "out", max_bytes=100_000)
    assert [file.name for file in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip"])
def test_no_prefix_is_taken(tmp_path: Path, kind: str) -> None:
    path, whole = tmp_path / "archive", GOOD[kind]
    needed = 512 * 27 if kind == "tar" else len(whole)  # two blocks of zeros end a tar; one is enough
    step = 1 if len(whole) < 3_000 else 97
    for length in [*range(0, needed, step), needed - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=re.escape(str(path))):
            read_members(path, ["c.bin"])


def test_missing_members(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    with pytest.raises(DataError, match=re.escape(str(path)) + ": no such file"):
        extract(path, tmp_path / "out")
    path.write_bytes(tar_bytes({"a/x": A, "b/x": A}))
    with pytest.raises(DataError, match="has no y, z; get the archive again"):
        read_members(path, ["y", "z"])
    with pytest.raises(DataError, match="has x more than once"):
        read_members(path, ["x"])


def test_a_full_disk(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "archive"
    path.write_bytes(GOOD["tar.gz"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"a\.bin: cannot be written \(File too large\); make room"):
            extract(path, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [file.name for file in tmp_path.iterdir()] == ["archive"]


def test_large_reads_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long-name header may claim any length for the name."""
    path = tmp_path / "archive"
    path.write_bytes(GOOD["long names"])
    monkeypatch.setattr(archives, "MAX_READ", 600)
    with pytest.raises(DataError, match=r"a header asks for [0-9]+ bytes; at most 600 are read at once"):
        read_members(path, ["a.bin"])
