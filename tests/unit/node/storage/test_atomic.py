from __future__ import annotations

import errno
from pathlib import Path

import pytest

from insula.base.errors import DiskFull
from insula.node.storage.atomic import disk_full_explained, replacing


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def fail_halfway() -> None:
        with replacing(target, mode=0o600) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".file.making").write_bytes(b"left")
    with replacing(tmp_path / "file", mode=0o644) as temporary:
        assert not temporary.exists()
        temporary.write_bytes(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_one(number: int) -> None:
    with pytest.raises(DiskFull, match="Free space"), disk_full_explained("Making x"):
        raise OSError(number, "No space left on device", "x")


def test_other_troubles_of_the_system_pass_unchanged() -> None:
    with pytest.raises(PermissionError), disk_full_explained("Making x"):
        raise PermissionError(errno.EACCES, "no")
