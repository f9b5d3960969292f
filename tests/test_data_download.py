"""Downloads from a server of our own: resumed, checked, whole or not there; and what is said without a connection."""

import hashlib
import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_server import CONTENT, Server
from image_files import tar_bytes

from jaxport import cli
from jaxport.data import download as module
from jaxport.data import sources as tables
from jaxport.data.download import download
from jaxport.data.sources import Source
from jaxport.errors import DataError

PARTLY = 400_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    publish(monkeypatch, server)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def publish(monkeypatch: pytest.MonkeyPatch, server: Server, **changes: Any) -> None:
    """Make set `mnist` the one file of the server."""
    known = {"url": f"{server.root}set.bin", "size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    source = Source(**{**known, "file": "set.bin", **changes})
    monkeypatch.setattr(tables, "SOURCES", {"mnist": (source,), "imdb": (source,)})
    monkeypatch.setattr(tables, "_tensorflow_datasets", lambda name: [])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_download(server: Server, tmp_path: Path) -> None:
    for _ in range(2):  # fetched, then found
        (path,) = download("mnist", tmp_path / "new")
        assert path == tmp_path / "new" / "set.bin"
        assert path.read_bytes() == CONTENT
        assert names(tmp_path / "new") == ["set.bin"]
        assert server.requests == [None]


def test_resumed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(CONTENT[:PARTLY])
    assert download("mnist", tmp_path)[0].read_bytes() == CONTENT
    assert server.requests == [f"bytes={PARTLY}-"]
    assert names(tmp_path) == ["set.bin"]


def test_whole_part(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(CONTENT)
    assert download("mnist", tmp_path)[0].read_bytes() == CONTENT
    assert server.requests == []


def test_part_that_is_too_long(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(CONTENT + b"x")
    assert download("mnist", tmp_path)[0].read_bytes() == CONTENT


def test_without_ranges_it_starts_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "set.bin.part").write_bytes(b"?" * PARTLY)
    assert download("mnist", tmp_path)[0].read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_made_again(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.breaks, server.ranges = 3, ranges
    assert download("mnist", tmp_path)[0].read_bytes() == CONTENT
    assert len(server.requests) == 4


def test_a_connection_that_always_breaks(server: Server, tmp_path: Path) -> None:
    server.breaks, server.ranges = 1_000, False
    with pytest.raises(
        DataError, match=r"set\.bin: cannot be fetched .* after 500000 of 1000000 bytes, which are kept"
    ):
        download("mnist", tmp_path)
    assert (tmp_path / "set.bin.part").read_bytes() == CONTENT[:500_000]
    server.breaks = 0
    assert download("mnist", tmp_path)[0].read_bytes() == CONTENT


def test_the_hosts_file_became_shorter(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(CONTENT[:PARTLY])
    server.files["set.bin"] = CONTENT[:100]
    with pytest.raises(DataError, match="the host's file ends before byte 400000; what was here is thrown away"):
        download("mnist", tmp_path)
    assert names(tmp_path) == []


WRONG: dict[str, tuple[dict[str, Any], bytes, bool, str]] = {
    "sum": (
        {"sha256": "0" * 64},
        CONTENT,
        True,
        "has sha256 [0-9a-f]{64}; the published file has 0{64}; it was thrown",
    ),
    "longer": ({}, CONTENT + b"x", True, "the host offers 1000001 bytes; 1000000 were published"),
    "shorter": ({}, CONTENT[:-1], True, "the host offers 999999 bytes"),
    "longer, not said": ({}, CONTENT + b"x", False, "more than the 1000000 bytes come"),
    "shorter, not said": ({}, CONTENT[:-1], False, "ends before byte 999999"),
    "nothing": ({}, b"", False, "the connection ended 4 times without a new byte"),
}


@pytest.mark.parametrize(("changes", "content", "says_length", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_files(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    content: bytes,
    says_length: bool,
    message: str,
) -> None:
    publish(monkeypatch, server, **changes)
    server.files["set.bin"], server.says_length = content, says_length
    with pytest.raises(DataError, match=message):
        download("mnist", tmp_path)
    assert "set.bin" not in names(tmp_path)
    if message.startswith(("has", "more")):
        assert names(tmp_path) == []


def test_a_wrong_part_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(b"?" * PARTLY)
    with pytest.raises(DataError, match="it was thrown away: try again later"):
        download("mnist", tmp_path)
    assert download("mnist", tmp_path)[0].read_bytes() == CONTENT


def test_another_file_of_the_name_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"set\.bin: has 4 bytes; the published file has 1000000; move it away"):
        download("mnist", tmp_path)
    assert (tmp_path / "set.bin").read_bytes() == b"mine"


def test_a_host_that_refuses(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DataError, match=r"cannot be fetched \(status 404, Not Found\); run this again"):
        download("mnist", tmp_path / "new")
    assert names(tmp_path) == []
    assert len(server.requests) == 1


def test_a_host_that_is_silent(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.05)
    server.slow = 0.3
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    with pytest.raises(DataError, match=r"cannot be fetched \(timed out\)"):
        download("mnist", tmp_path)


class Full(io.FileIO):
    def write(self, data: Any) -> int:
        if self.tell() + len(data) > PARTLY:
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_a_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode="r", *rest: Full(path, mode) if mode in ("wb", "ab") else right(path, mode, *rest),
    )
    with pytest.raises(DataError, match=r"set\.bin: cannot be written \(No space left on device\); make room"):
        download("mnist", tmp_path)
    assert names(tmp_path) == []


def test_a_folder_that_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        download("mnist", tmp_path / "file")


def test_an_archive_is_unpacked(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = server.files["set.bin"] = tar_bytes({"aclImdb/train/pos/0_9.txt": b"good"})
    publish(monkeypatch, server, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    assert download("imdb", tmp_path) == [tmp_path / "set.bin", tmp_path / "aclImdb"]
    assert (tmp_path / "aclImdb/train/pos/0_9.txt").read_bytes() == b"good"
    assert names(tmp_path) == ["aclImdb", "set.bin"]
    assert download("imdb", tmp_path) == [tmp_path / "set.bin"]


def test_without_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    server = Server()
    server.server_close()  # nobody listens there any more
    publish(monkeypatch, server)
    assert cli.main(["data", "mnist", "--data", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{server.root}set.bin: cannot be fetched (" in err
    assert f"or put set.bin from {server.root} in {tmp_path / 'mnist'}" in err
    assert len(err.splitlines()) == 2
    assert names(tmp_path) == []


def test_the_command(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("JAXPORT_DATA", str(tmp_path))
    assert cli.main(["data", "mnist"]) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'mnist' / 'set.bin'}\n", "")


def test_ctrl_c_keeps_what_came(server: Server, tmp_path: Path) -> None:
    server.slow = 0.1
    code = (
        "import sys\n"
        "from jaxport import cli\n"
        "from jaxport.data import sources\n"
        f"source = sources.Source({server.root + 'set.bin'!r}, {len(CONTENT)}, '', 'set.bin')\n"
        "sources.SOURCES['mnist'] = (source,)\n"
        "sources._tensorflow_datasets = lambda name: []\n"
        f"sys.exit(cli.main(['data', 'mnist', '--data', {str(tmp_path)!r}]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    part = tmp_path / "mnist" / "set.bin.part"
    for _ in range(3_000):
        if part.exists() and part.stat().st_size:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert 0 < part.stat().st_size < len(CONTENT)
    assert CONTENT.startswith(part.read_bytes())
    server.slow = 0
    assert download("mnist", part.parent)[0].read_bytes() == CONTENT
    assert server.requests[-1] != "bytes=0-"
