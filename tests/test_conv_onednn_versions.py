"""The versions of jaxlib whose oneDNN is used; no test here is skipped where it is not."""

import platform
import sys

import pytest

from jaxport.nn import conv_onednn


@pytest.mark.parametrize(
    ("version", "wanted", "found"),
    [
        ("0.10.2", "", True), ("0.11.0", "", True), ("0.11.2", "", True), ("0.10.1", "", False), ("0.11.3", "", False),
        ("0.12.0", "", False), ("0.12.0", "1", True), ("0.10.2", "0", False),
    ],
)  # fmt: skip
def test_versions_and_the_variable_that_decides(version, wanted, found, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("jaxlib.version.__version__", version)
    monkeypatch.setenv("JAXPORT_ONEDNN", wanted)
    assert conv_onednn.is_built_in.__wrapped__() is found


@pytest.mark.parametrize(("system", "machine"), [("linux", "aarch64"), ("darwin", "arm64"), ("win32", "x86_64")])
def test_other_machines_are_left_alone(system, machine, monkeypatch):
    monkeypatch.setattr("jaxlib.version.__version__", "0.10.2")
    monkeypatch.setenv("JAXPORT_ONEDNN", "1")
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert conv_onednn.is_built_in.__wrapped__() is False
