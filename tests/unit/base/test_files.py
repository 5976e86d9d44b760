from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from insula.base.errors import DiskFull
from insula.base.files import remove_drafts, write_atomic


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old and longer")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match=r"state\.json"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_drafts_of_a_killed_process_go(tmp_path: Path) -> None:
    write_atomic(tmp_path / "spec.json", b"whole")
    (tmp_path / ".spec.json.0011aabb.tmp").write_bytes(b"ha")
    remove_drafts(tmp_path)
    assert [place.name for place in tmp_path.iterdir()] == ["spec.json"]
