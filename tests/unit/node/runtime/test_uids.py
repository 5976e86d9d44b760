from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from insula.base.errors import CapacityExceeded
from insula.node.runtime.uids import UidRange


def _folders(root: Path, *names: str) -> list[Path]:
    folders = [root / name for name in names]
    for folder in folders:
        folder.mkdir()
    return folders


def test_a_claim_lasts_until_it_is_released_and_is_never_shared(tmp_path: Path) -> None:
    one, two = _folders(tmp_path, "one", "two")
    uids = UidRange(tmp_path / "register", first=5000, count=2)
    first, second = uids.claim(one), uids.claim(two)
    assert {first, second} == {5000, 5001}
    assert uids.claim(one) == first
    assert UidRange(tmp_path / "register", first=5000, count=2).claim(two) == second
    (three,) = _folders(tmp_path, "three")
    with pytest.raises(CapacityExceeded, match="All 2 ids"):
        uids.claim(three)
    uids.release(one)
    uids.release(one)
    assert uids.claim(three) == first


def test_an_interrupted_claim_and_a_deleted_folder_are_free_again(tmp_path: Path) -> None:
    one, two = _folders(tmp_path, "one", "two")
    register = tmp_path / "register"
    register.mkdir()
    (register / "5000").write_text(str(one))  # the process died before the folder got its file
    uids = UidRange(register, first=5000, count=1)
    assert uids.claim(two) == 5000
    shutil.rmtree(two)
    assert uids.claim(one) == 5000


def test_a_copied_folder_does_not_share_its_original_id(tmp_path: Path) -> None:
    (one,) = _folders(tmp_path, "one")
    uids = UidRange(tmp_path / "register", first=5000, count=10)
    first = uids.claim(one)
    shutil.copytree(one, tmp_path / "copy")
    assert uids.claim(tmp_path / "copy") != first
