from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from insula.base.errors import Conflict, from_dict
from insula.main.readiness import Readiness


def test_the_starter_hears_ready_and_then_the_end_of_the_pipe() -> None:
    readable, writable = os.pipe()
    os.set_inheritable(writable, True)
    readiness = Readiness(writable)
    assert not os.get_inheritable(writable), "a machine must not keep the starter waiting"
    readiness.ready()
    readiness.failed(Conflict("too late to matter"))
    assert os.read(readable, 100) == b"ready"
    assert os.read(readable, 100) == b""
    os.close(readable)


def test_the_starter_hears_the_very_error() -> None:
    readable, writable = os.pipe()
    Readiness(writable).failed(Conflict("Port 1 is taken", why="x", todo="y", code="port-taken"))
    error = from_dict(json.loads(os.read(readable, 1000)))
    assert isinstance(error, Conflict)
    assert error.code == "port-taken"
    os.close(readable)


def test_a_starter_that_left_does_not_matter() -> None:
    readable, writable = os.pipe()
    os.close(readable)
    Readiness(writable).ready()


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        Readiness().ready()
        assert systemd.recv(100) == b"READY=1"
    assert "NOTIFY_SOCKET" not in os.environ, "programs that we start must not speak for us"
