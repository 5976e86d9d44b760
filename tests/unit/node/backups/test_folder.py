"""A store in a folder whose disk comes and goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.base.errors import HostFailure
from insula.node.backups.folder import FolderTarget


async def test_what_is_away_is_neither_deleted_nor_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "store"
    place.mkdir()
    target = FolderTarget(place)
    await target.put("packs/00/one", b"1")
    place.rename(tmp_path / "away")
    with pytest.raises(HostFailure, match="is not there"):
        await target.delete("packs/00/one")
    # It goes after it was looked for, and before the first folder in it is made.
    monkeypatch.setattr(target, "_require_folder", lambda: None)
    with pytest.raises(HostFailure, match="could not be written"):
        await target.put("packs/00/two", b"2")
    assert not place.exists()
    monkeypatch.undo()
    (tmp_path / "away").rename(place)
    await target.delete("packs/00/one")
    await target.delete("packs/00/one")
    assert [stored.name async for stored in target.list("")] == []
