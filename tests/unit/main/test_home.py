from __future__ import annotations

import os
from pathlib import Path

import pytest

from insula.base.errors import Conflict, HostFailure
from insula.main import home
from insula.protocol.service_record import read_record, record_path, write_record


def test_folders_are_closed_to_others_but_let_machines_through(tmp_path: Path) -> None:
    place = tmp_path / "home"
    home.prepare(place)
    home.prepare(place)
    modes = {name: (place / name).stat().st_mode & 0o777 for name in ("", "control", "log", "run", "node")}
    assert modes == {"": 0o711, "control": 0o700, "log": 0o700, "run": 0o711, "node": 0o711}


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostFailure) as caught:
        home.prepare(tmp_path / "file" / "home")
    assert "INSULA_HOME" in caught.value.todo
    assert str(tmp_path / "file") in caught.value.what


def test_a_second_service_is_refused_and_told_who_has_the_home(tmp_path: Path) -> None:
    home.prepare(tmp_path)
    with home.locked(tmp_path):
        write_record(tmp_path, "127.0.0.1:7780", "0.1.0")
        with pytest.raises(Conflict) as caught, home.locked(tmp_path):
            pass
        assert f"Process {os.getpid()}" in caught.value.why
        assert read_record(tmp_path) is not None, "the refused one must leave the record of the first"
    with home.locked(tmp_path):
        assert read_record(tmp_path) is None


def test_a_record_left_by_a_killed_service_is_removed(tmp_path: Path) -> None:
    home.prepare(tmp_path)
    record_path(tmp_path).write_text('{"pid": 1, "start_ticks": 0, "listen": "x", "version": "x"}')
    with home.locked(tmp_path):
        assert not record_path(tmp_path).exists()
