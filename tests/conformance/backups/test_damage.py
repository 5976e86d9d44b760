"""A store in which one object has a flipped bit, one is gone and one was cut: each is named, all else is restored."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from insula.base import settings
from insula.base.errors import DataCorrupt
from insula.domain.backup import StoreKind, StorePlace
from insula.domain.ids import Kind, new_id
from insula.domain.instance import Resources
from insula.domain.volume import FileSystem
from insula.node.agent import Node, assemble
from insula.node.storage.disks import Disks
from insula.protocol.backups import DiskSource, StoreFindings, StoreSecret, StoreSpec
from insula.protocol.node import InstanceSpec, VolumeSpec
from tests.unit.node.agent.conftest import quiet

_MIB = 1 << 20
_GIB = 1 << 30


@pytest.fixture
def top() -> Iterator[Path]:
    """Short, and where other users can reach it."""
    with tempfile.TemporaryDirectory(prefix="insula-", dir="/var/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@asynccontextmanager
async def emulated(home: Path) -> AsyncIterator[Node]:
    home.mkdir(mode=0o711)
    environment = {"INSULA_HOME": str(home), "INSULA_DRIVER": "qemu", "INSULA_TEMPLATES": "asked"}
    async with await assemble(settings.load(environment)) as node:
        yield node


async def off(node: Node, top: Path, name: str, data: bytes) -> InstanceSpec:
    """An instance that was never started, whose image has this content."""
    image = top / f"{name}.qcow2"
    async with Disks().filled(image, _GIB) as disk:
        for at in range(0, len(data), _MIB):
            await disk.write(at, data[at : at + _MIB])
    await node.import_image(name, str(image), "qcow2", quiet)
    resources = Resources(vcpus=1, memory_mib=64, disk_gib=1, cpu_percent=100)
    spec = InstanceSpec(new_id(Kind.INSTANCE), "p", name, name, name, resources)
    await node.configure(spec)
    await node.make_disk(spec, cold=True)
    return spec


def packs_of(place: Path, before: set[Path]) -> list[Path]:
    """Those that came since, the largest first."""
    new = {path for path in (place / "packs").rglob("*") if path.is_file()} - before
    return sorted(new, key=lambda path: -path.stat().st_size)


async def restored(node: Node, source: DiskSource) -> tuple[bytes, list[tuple[int, int]]]:
    """The begin of a volume that is restored, and what of it is lost."""
    volume = VolumeSpec(new_id(Kind.VOLUME), "p", "data", 1, FileSystem.NONE)
    lost = await node.make_volume_from_backup(volume, source, quiet)
    async with Disks().opened(node._volumes.store.disk_of(volume.id)) as disk:
        content = b"".join([await disk.read(at, _MIB) for at in range(0, 48 * _MIB, _MIB)])
    return content, list(lost)


async def test_each_damage_is_named_and_all_else_is_restored(top: Path) -> None:
    place = top / "store"
    place.mkdir()
    store = StoreSpec(new_id(Kind.STORE), StorePlace(StoreKind.FOLDER, str(place)))
    contents = {name: os.urandom(48 * _MIB) for name in ("flipped", "gone", "cut", "whole")}
    backups: dict[str, str] = {}
    packs: dict[str, list[Path]] = {}
    async with emulated(top / "home") as node:
        await node.open_store(store, StoreSecret())
        for name, data in contents.items():
            before = {path for path in (place / "packs").rglob("*") if path.is_file()}
            spec = await off(node, top, name, data)
            backups[name] = new_id(Kind.BACKUP)
            await node.make_backup(spec.id, backups[name], store.id, quiet)
            packs[name] = packs_of(place, before)
            await node.forget(spec.id)
        damage(packs)
        found = await node.check_store(store.id, True)
        assert {each.name.rpartition("/")[2] for each in found.objects} == {
            packs[name][0].name for name in ("flipped", "gone", "cut")
        }
        assert {each.id for each in found.backups} == {backups[name] for name in ("flipped", "gone", "cut")}
        content, lost = await restored(node, DiskSource(store.id, backups["whole"]))
        assert content == contents["whole"]
        assert lost == []
        for name in ("flipped", "gone", "cut"):
            with pytest.raises(DataCorrupt):
                await restored(node, DiskSource(store.id, backups[name]))
            content, lost = await restored(node, DiskSource(store.id, backups[name], damaged=True))
            assert lost == ranges(found, backups[name])
            assert content == with_zeros(contents[name], lost)
            assert 0 < sum(end - begin for begin, end in lost) < 48 * _MIB
        assert sum(end - begin for begin, end in ranges(found, backups["flipped"])) == 64 << 10


def damage(packs: dict[str, list[Path]]) -> None:
    """To the largest object of each."""
    flipped = bytearray(packs["flipped"][0].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    packs["flipped"][0].write_bytes(flipped)
    packs["gone"][0].unlink()
    os.truncate(packs["cut"][0], packs["cut"][0].stat().st_size // 2)


def ranges(found: StoreFindings, backup: str) -> list[tuple[int, int]]:
    return [part for each in found.backups if each.id == backup for part in each.ranges]


def with_zeros(data: bytes, lost: list[tuple[int, int]]) -> bytes:
    content = bytearray(data)
    for begin, end in lost:
        content[begin:end] = bytes(end - begin)
    return bytes(content)
