"""What needs room on a host's disk that has none: it fails and says so, leaves nothing, and harms no source."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from insula.base.errors import DiskFull, InsulaError
from insula.control.nodes.bounded import BoundedNode
from insula.domain.backup import StoreKind, StorePlace
from insula.domain.ids import Kind, new_id
from insula.domain.volume import FileSystem
from insula.node.agent import Node
from insula.protocol.backups import DiskSource, StoreSecret, StoreSpec
from insula.protocol.node import InstanceSpec, Power, VolumeSpec
from tests.connected import alone

from .life import Life, emulated_node
from .test_fork import booted, child_of
from .test_full_disk import report, shell, small_disk, until

__all__ = ["small_disk"]

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.timeout(900)]

_IGNORED = frozenset({"qemu.log", "console.log", "pid"})
_FILL = "mkdir /srv; head -c 5000000 /dev/urandom > /srv/data; md5sum /srv/data > /srv/sum; sync"
_IS_SAME = "sh -c 'echo 3 > /proc/sys/vm/drop_caches; md5sum -c /srv/sum'"
Verb = Callable[[], Awaitable[object]]


def quiet(message: str, percent: int = -1) -> None:
    """Progress that nobody watches."""


def files_of(folder: Path) -> set[str]:
    """What lies below a folder, but for what is written all the time."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name not in _IGNORED}


def fill(place: Path) -> list[Path]:
    """Take all the room there is."""
    ballast = []
    for number, size in enumerate((64 << 20, 1 << 20, 1 << 12)):
        path = place / f"ballast-{number}"
        with suppress(OSError), path.open("wb", buffering=0) as file:
            while file.write(bytes(size)) == size:
                pass
        ballast.append(path)
    return ballast


async def test_each_verb_leaves_its_source_as_it_was(small_disk: Path, tmp_path: Path) -> None:
    home = small_disk
    stores = tuple(
        StoreSpec(new_id(Kind.STORE), StorePlace(StoreKind.FOLDER, str(path)))
        for path in (tmp_path / "room", home / "full")
    )
    async with await emulated_node(home) as node:
        await node.prepare_image("tiny", quiet)
        for store in stores:
            Path(store.place.path).mkdir()
            await node.open_store(store, StoreSecret())
        try:
            await fails_and_works_again(
                node, home, replace(Life(home, 0).spec, nics=(alone("52:54:00:12:34:56"),)), stores
            )
        finally:
            for path in home.glob("ballast-*"):
                path.unlink()
            for one in await node.observe():
                await node.forget(one.id)


async def fails_and_works_again(node: Node, home: Path, spec: InstanceSpec, stores: tuple[StoreSpec, ...]) -> None:
    room, full = (store.id for store in stores)
    bounded = BoundedNode("local", node)
    await booted(node, spec)
    await shell(node, spec, _FILL)
    snapshot, backup = new_id(Kind.SNAPSHOT), new_id(Kind.BACKUP)
    await node.take_snapshot(spec.id, snapshot, False)
    await node.make_backup(spec.id, backup, room, quiet)
    ballast = fill(home)
    before = files_of(home / "node")
    for name, verb in verbs(bounded, spec, snapshot, backup, (room, full)).items():
        with pytest.raises(InsulaError) as caught:
            await verb()
        assert isinstance(caught.value, DiskFull), f"{name}: {caught.value!r}"
        assert files_of(home / "node") == before, name
        assert (await report(node)).power in {Power.ON, Power.PAUSED}, name  # it stands still when it writes
    for path in ballast:
        path.unlink()
    await until(node, Power.ON)
    assert "OK" in await shell(node, spec, _IS_SAME)
    assert (await node.check_store(room, True)).is_whole
    assert await node.stored_backups(full) == []
    for name, verb in verbs(bounded, spec, snapshot, backup, (room, full)).items():
        try:
            await verb()
        except InsulaError as error:
            raise AssertionError(f"{name} with room again") from error
    await node.stop(spec.id, 30)
    await node.start(spec.id)


def verbs(
    node: BoundedNode, spec: InstanceSpec, snapshot: str, backup: str, stores: tuple[str, str]
) -> dict[str, Verb]:
    """Everything that takes room, each for something new."""
    room, full = stores
    child = [child_of(spec, number) for number in range(1, 4)]
    volume = [VolumeSpec(new_id(Kind.VOLUME), spec.project, f"v{number}", 5, FileSystem.EXT4) for number in range(2)]

    async def from_snapshot() -> None:
        await node.configure(child[0])
        await node.make_disk_from_snapshot(child[0], snapshot, False)

    async def restore() -> None:
        await node.configure(child[1])
        await node.make_disk_from_backup(child[1], room, backup, quiet)

    async def create() -> None:
        await node.configure(child[2])
        await node.make_disk(child[2])

    return {
        "snapshot": lambda: node.take_snapshot(spec.id, new_id(Kind.SNAPSHOT), False),
        "snapshot with memory": lambda: node.take_snapshot(spec.id, new_id(Kind.SNAPSHOT), True),
        "fork": lambda: node.fork(spec.id, new_id(Kind.OPERATION), False),
        "backup": lambda: node.make_backup(spec.id, new_id(Kind.BACKUP), room, quiet),
        "backup to a full store": lambda: node.make_backup(spec.id, new_id(Kind.BACKUP), full, quiet),
        "instance": create,
        "instance from a snapshot": from_snapshot,
        "restore": restore,
        "restore to a volume": lambda: node.make_volume_from_backup(volume[0], DiskSource(room, backup), quiet),
        "volume": lambda: node.make_volume(volume[1]),
        "image": lambda: node.publish_image(new_id(Kind.IMAGE), "mine", snapshot, quiet),
    }
