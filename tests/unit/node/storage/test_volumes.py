from __future__ import annotations

import os
from pathlib import Path

import pytest

from insula.base.errors import DataCorrupt, InvalidInput, NotFound
from insula.domain.ids import Kind, new_id
from insula.domain.volume import FileSystem
from insula.node.storage.volumes import VolumeStore
from insula.protocol.node import VolumeSpec


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    return VolumeStore(tmp_path / "volumes")


def new_spec() -> VolumeSpec:
    return VolumeSpec(new_id(Kind.VOLUME), "default", "data", 3, FileSystem.XFS, disk_iops=5)


def test_a_record_is_read_as_it_was_written(store: VolumeStore) -> None:
    assert store.ids() == []
    one, two = sorted((new_spec(), new_spec()), key=lambda spec: spec.id)
    store.save(one)
    store.save(two)
    assert (store.load(one.id), store.load(two.id)) == (one, two)
    assert store.ids() == sorted((one.id, two.id))
    for _ in range(2):
        store.remove(one.id)
    assert store.ids() == [two.id]
    with pytest.raises(NotFound):
        store.load(one.id)


def test_only_ids_name_folders(store: VolumeStore) -> None:
    for text in ("../instances", "", new_id(Kind.INSTANCE)):
        with pytest.raises(InvalidInput):
            store.folder_of(text)


def test_a_damaged_record_is_told_by_name(store: VolumeStore) -> None:
    spec = new_spec()
    store.save(spec)
    record = store.folder_of(spec.id) / "volume.json"
    record.write_text("{")
    with pytest.raises(DataCorrupt, match="volume"):
        store.load(spec.id)


def test_nobody_else_may_look_into_it(store: VolumeStore) -> None:
    spec = new_spec()
    store.save(spec)
    store.disk_of(spec.id).write_text("data")
    store.lend(spec.id, None)
    assert store.folder_of(spec.id).stat().st_mode & 0o777 == 0o700
    assert store.disk_of(spec.id).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="needs other users")
def test_it_belongs_to_who_has_it(store: VolumeStore) -> None:
    spec = new_spec()
    store.save(spec)
    disk = store.disk_of(spec.id)
    disk.write_text("data")
    for _ in range(2):
        store.lend(spec.id, 54_321)
    folder = store.folder_of(spec.id).stat()
    assert (disk.stat().st_uid, folder.st_uid, folder.st_gid, folder.st_mode & 0o777) == (54_321, 0, 54_321, 0o710)
    assert (store.lent_to(54_321), store.lent_to(54_322), store.lent_to(None)) == ([spec.id], [], [])
    for _ in range(2):
        store.take_back(spec.id)
    folder = store.folder_of(spec.id).stat()
    assert (disk.stat().st_uid, folder.st_gid, folder.st_mode & 0o777) == (0, os.getegid(), 0o700)
    assert store.lent_to(54_321) == []
    disk.unlink()
    store.take_back(spec.id)
    store.remove(spec.id)
    store.take_back(spec.id)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs other users")
def test_a_link_in_its_place_gives_nothing_away(store: VolumeStore, tmp_path: Path) -> None:
    spec, secret = new_spec(), tmp_path / "secret"
    store.save(spec)
    secret.write_text("secret")
    store.disk_of(spec.id).symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        store.lend(spec.id, 54_321)
    assert secret.stat().st_uid == 0
